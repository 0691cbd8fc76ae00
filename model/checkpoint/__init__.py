"""Checkpoints that survive a kill and hold everything a run needs to go on exactly."""
