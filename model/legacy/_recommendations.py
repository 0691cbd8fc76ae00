"""Which activation function helps against which problem, and the setting that chooses it."""

from __future__ import annotations

from model.errors import one_of

# Problem -> (function, reason, value of backbone.activation; None if the function is not a value of this key).
TABLE: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "vanishing": (
        ("GELU", "it is smooth and has a gradient on both sides of 0", "gelu"),
        ("SiLU", "it is smooth and its slope approaches 1 for large inputs", "silu"),
        ("Leaky ReLU or ELU", "the slope below 0 is small but not 0", "leaky_relu"),
        ("Mish", "it is smooth and passes small negative values", "mish"),
    ),
    "exploding": (
        (
            "Normalisation before the activation",
            "it bounds what the activation gets, and is worth trying first; backbone.translator_norm=pre",
            None,
        ),
        ("Tanh", "its outputs stay between -1 and 1", "tanh"),
        ("Sigmoid", "its outputs stay between 0 and 1", "sigmoid"),
        ("Hard swish", "it is 0 below -3, which bounds one side at little cost", "hardswish"),
    ),
    "dead_neurons": (
        ("Leaky ReLU", "a unit below 0 still gets a gradient and can recover", "leaky_relu"),
        ("ELU", "its outputs have a mean near 0; use torch.nn.ELU in a module of your own", None),
        ("SELU", "it keeps mean and variance of its inputs; use torch.nn.SELU in a module of your own", None),
        ("GELU", "it has no side on which the gradient is exactly 0", "gelu"),
    ),
}


def recommendations(layer_type: str, problem: str) -> list[str]:
    """Returns one sentence for each function of `TABLE` that helps against `problem` in a layer of this type. Raises
    ConfigError for another problem.
    """
    one_of("problem", problem, tuple(TABLE))
    return [sentence(layer_type, *entry) for entry in TABLE[problem]]


def sentence(layer_type: str, function: str, reason: str, setting: str | None) -> str:
    """Returns the recommendation, its reason, and the keys that choose the function in the CLIP towers and in the
    encoder-decoder.
    """
    keys = (
        f"; backbone.activation={setting}, in the encoder-decoder backbone.translator_activation={setting}"
        if setting
        else ""
    )
    return f"{function} for a layer of type {layer_type}: {reason}{keys}"
