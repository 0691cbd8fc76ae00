"""C++ made at run time: compiled once, kept in the user's cache, loaded with ctypes. Without a compiler there is none of it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from torch import Tensor

# -fno-math-errno and -fno-trapping-math let square roots and choices become vector instructions.
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
# Compilers prefer half of AVX-512's width, which costs the loops over lines a third of their speed.
X86 = ("-mprefer-vector-width=512",)
PARALLEL = "-fopenmp"


@cache
def compiler() -> str | None:
    """The C++ compiler: $CXX, c++, g++ or clang++; None where there is none."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@cache
def library(source: str) -> ctypes.CDLL | None:
    """The compiled source, or None where there is no compiler, or one that cannot compile it."""
    if compiler() is None:
        return None
    flags = (*FLAGS, *X86) if platform.machine() in ("x86_64", "AMD64") else FLAGS
    key = hashlib.sha256("\0".join((source, compiler(), *flags, PARALLEL, _processor())).encode()).hexdigest()[:24]
    path = _folder() / f"{key}.so"
    try:
        if not path.exists():
            _compile(source, flags, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.CalledProcessError):
        return None


def _compile(source: str, flags: tuple[str, ...], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        code, made = (Path(folder) / name for name in ("kernel.cpp", "kernel.so"))
        code.write_text(source)
        try:
            _call(*flags, PARALLEL, "-shared", code, "-o", made)
        except subprocess.CalledProcessError:  # a compiler without OpenMP: one thread
            _call(*flags, "-shared", code, "-o", made)
        made.replace(path)  # whole or not at all, whoever else is compiling it


def _call(*arguments: object) -> None:
    subprocess.run([compiler(), *map(str, arguments)], check=True, capture_output=True)


@cache
def _folder() -> Path:
    """Where compiled kernels are kept; a temporary folder where the user's cache cannot be written."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        folder = base / "nway-clip"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="nway-clip-"))


@cache
def _processor() -> str:
    """What -march=native depends on."""
    info = Path("/proc/cpuinfo")
    flags = [line for line in info.read_text().splitlines() if line.startswith(("flags", "Features", "model name"))][:2] if info.exists() else []
    return "|".join([platform.machine(), platform.processor(), *flags])


def pointers(tensors: Sequence[Tensor]) -> ctypes.Array:
    """Addresses of the tensors' memory, as C's array of pointers. The tensors must outlive its use."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
