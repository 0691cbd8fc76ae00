"""C++ made at run time: compiled once, kept in the user's cache, loaded with ctypes. Without a compiler there is none
of it.

The cache is trusted only where it is this user's alone, and a file in it only with the checksum that stands beside it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from model.user_cache import cache_folder, is_private, temporary_folder

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
    for folder in (cache_folder, temporary_folder):
        try:
            return _loaded(source, flags, folder() / f"{key}.so")
        except subprocess.CalledProcessError:
            return None
        except OSError:  # a folder that is full, or whose files may not be loaded
            continue
    return None


def _loaded(source: str, flags: tuple[str, ...], path: Path) -> ctypes.CDLL:
    if not _intact(path):
        _compile(source, flags, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError:  # made with the libraries of another system that shares this folder
        _compile(source, flags, path)
        return ctypes.CDLL(str(path))


def _compile(source: str, flags: tuple[str, ...], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        code, made, checksum = (Path(folder) / name for name in ("kernel.cpp", "kernel.so", "kernel.sha256"))
        code.write_text(source)
        try:
            _call(*flags, PARALLEL, "-shared", code, "-o", made)
        except subprocess.CalledProcessError:  # a compiler without OpenMP: one thread
            _call(*flags, "-shared", code, "-o", made)
        checksum.write_bytes(_checksum(made))
        for file in (made, checksum):
            file.chmod(0o700)
        # Whole or not at all, whoever else is compiling it; a checksum of another build makes the next process build it
        # again.
        checksum.replace(_checksum_file(path))
        made.replace(path)


def _checksum_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _checksum(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).hexdigest().encode()


def _intact(path: Path) -> bool:
    """Whether a file is there, is this user's alone, and is what was written."""
    checksum = _checksum_file(path)
    return (
        path.is_file()
        and checksum.is_file()
        and is_private(path)
        and is_private(checksum)
        and checksum.read_bytes() == _checksum(path)
    )


def _call(*arguments: object) -> None:
    subprocess.run([compiler(), *map(str, arguments)], check=True, capture_output=True)


@cache
def _processor() -> str:
    """What -march=native depends on."""
    info = Path("/proc/cpuinfo")
    flags = (
        [line for line in info.read_text().splitlines() if line.startswith(("flags", "Features", "model name"))][:2]
        if info.exists()
        else []
    )
    return "|".join([platform.machine(), platform.processor(), *flags])
