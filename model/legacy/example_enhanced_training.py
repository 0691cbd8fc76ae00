"""Old name of `train.py` with `model=v5335dim`, `monitor=watch` and a stable loss."""

from model.legacy._replaced import ReplacedModule


class EnhancedLightningCLIPModule(ReplacedModule):
    """Cannot be constructed: a call raises ConfigError with the command line that replaces it."""

    script = "example_enhanced_training"
