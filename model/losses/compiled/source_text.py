"""Assembles the C++ of a kernel: the fixed files of this folder, and the definitions of one formula between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

FOLDER = Path(__file__).parent


# The C++ type of the elements of a tensor.
ELEMENTS = {torch.float32: "float", torch.float64: "double"}


def source_text(
    shared: Sequence[str], definitions: Mapping[str, object], kernel: str, dtype: torch.dtype = torch.float64
) -> str:
    """Returns the text of the shared files, the definitions as macros, and the text of the kernel, which uses them.

    The text is complete, so that a cache by its content notices changes of every file.
    """
    definitions = {"ELEMENT": ELEMENTS[dtype], **definitions}
    macros = [f"#define {name} {_continued(str(value))}" for name, value in definitions.items()]
    return "\n".join([*map(_file, shared), *macros, _file(kernel)])


def _continued(lines: str) -> str:
    return lines.replace("\n", " \\\n    ")


def _file(name: str) -> str:
    """Returns the text of a file, preceded by what lets the compiler name it in messages."""
    return f'#line 1 "{name}"\n{(FOLDER / name).read_text(encoding="utf-8")}'
