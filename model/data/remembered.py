"""Results that later runs use again: texts in the user's cache folder, found by a digest of all that determines them.

JSON: `digest`, the SHA-256 of the text; and `text`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from model.data.picture_cache_file import remove_old
from model.record.files import write_whole
from model.user_cache import cache_folder, is_private


def remembered(kind: str, inputs: Iterable[str], compute: Callable[[], str]) -> str:
    """Returns what `compute` returns, from the file of an earlier call with equal `inputs` if there is one.

    kind: the name of the files' folder; inputs: all that determines the result, including versions of packages. A file
    that is damaged, or that other users can change, is written again. Errors of the file system are ignored, because
    the next call can compute the result again.
    """
    file = cache_folder() / kind / f"{digest(inputs)}.json"
    known = load(file)
    if known is not None:
        return known
    text = compute()
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(file, json.dumps({"digest": digest([text]), "text": text}))
        remove_old(file.parent)
    return text


def load(file: Path) -> str | None:
    """Returns the text in `file`, and marks the file as used. None if it is missing or must not be used."""
    try:
        if not is_private(file):
            return None
        content = json.loads(file.read_bytes())
        text = content["text"]
        if content["digest"] != digest([text]):
            return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    with contextlib.suppress(OSError):
        os.utime(file)
    return text


def digest(texts: Iterable[str]) -> str:
    """Returns the SHA-256 of a sequence of texts. Each counts with its length, so that another division differs."""
    total = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()
