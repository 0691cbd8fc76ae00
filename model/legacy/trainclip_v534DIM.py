"""Old name of `train.py` with `model=v534dim`."""

from model.legacy._replaced import ReplacedModule


class LightningCLIPModule(ReplacedModule):
    """Cannot be constructed: a call raises ConfigError with the command line that replaces it."""

    script = "trainclip_v534DIM"
