"""Old name of `train.py` with `model=clip loss=pairwise`."""

from model.legacy._replaced import ReplacedModule


class BaselineLightningCLIPModule(ReplacedModule):
    """Cannot be constructed: a call raises ConfigError with the command line that replaces it."""

    script = "trainclip_v53_baseline"
