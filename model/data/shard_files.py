"""Shards that this process has opened for reading."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO

from model.data.picture_cache_file import FileStamp
from model.data.pictures import NotAccessible, NotReadable
from model.data.shard_samples import Shard, read_bytes

# The most shards that are open at a time.
MOST_OPEN = 16


class OpenShards:
    """Keeps the shards open that were read last. Threads and forked processes may share an object, because every read
    states its position. A pickled object has no open shard.
    """

    def __init__(self) -> None:
        self._descriptors: OrderedDict[Shard, int] = OrderedDict()
        self._lock, self._process = threading.Lock(), os.getpid()

    def __reduce__(self) -> tuple[type[OpenShards], tuple[()]]:
        return OpenShards, ()

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)

    @contextmanager
    def part(self, shard: Shard, offset: int, size: int) -> Iterator[BinaryIO]:
        """Opens a part of a shard. Raises NotReadable, which NotAccessible is too, if that is not possible."""
        if size == 0:
            raise NotReadable("is empty")
        if self._process != os.getpid():  # a thread of the parent may have had the lock
            self._lock, self._process = threading.Lock(), os.getpid()
        with self._lock:
            content = read_bytes(self._descriptor(shard), offset, size)
        yield BytesIO(content)

    def _descriptor(self, shard: Shard) -> int:
        """Returns the descriptor of a shard. Raises OSError, and NotAccessible for a shard that has changed."""
        if shard in self._descriptors:
            self._descriptors.move_to_end(shard)
            return self._descriptors[shard]
        descriptor = os.open(shard.path, os.O_RDONLY)
        status = os.fstat(descriptor)
        if FileStamp(status.st_size, status.st_mtime_ns) != shard.stamp:
            os.close(descriptor)
            raise NotAccessible("lies in a shard that was changed after it was read first")
        self._descriptors[shard] = descriptor
        if len(self._descriptors) > MOST_OPEN:
            os.close(self._descriptors.popitem(last=False)[1])
        return descriptor
