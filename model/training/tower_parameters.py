"""The trained parameters of each tower."""

from __future__ import annotations

from torch import nn

from model.views.encoder import ViewEncoder


def tower_parameters(encoder: ViewEncoder) -> dict[str, list[nn.Parameter]]:
    """Returns the trained parameters of `image`, `text`, `translator` and `projection`; without the towers that have
    none.
    """
    towers = encoder.towers
    modules: dict[str, tuple[nn.Module | None, ...]] = {
        "image": (towers.vision, towers.visual_projection),
        "text": (towers.text, towers.text_projection),
        "translator": (encoder.states, encoder.translator),
        "projection": (encoder.projection,),
    }
    trained = {
        name: [p for module in members if module is not None for p in module.parameters() if p.requires_grad]
        for name, members in modules.items()
    }
    return {name: parameters for name, parameters in trained.items() if parameters}
