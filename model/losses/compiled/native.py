"""Compiles C++ at run time, keeps the result in the user's cache, and loads it with ctypes.

A cache folder is used only if it is private to this user, and a file in it only if it has the checksum that was written
with it.
"""

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
from typing import NamedTuple

from model.losses.compiled.source_text import source_text
from model.user_cache import cache_folder, is_private, temporary_folder

# -fno-math-errno and -fno-trapping-math allow square roots and choices to become vector instructions.
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
# Compilers prefer half of AVX-512's width, which costs the loops over lines a third of their speed.
X86 = ("-mprefer-vector-width=512",)
# Rounds each operation, so that a difference of equal products is 0. Without it, the compiler may compute a product and
# a difference in one operation, without rounding the product.
ROUNDED = "-ffp-contract=off"
PARALLEL = "-fopenmp"
NO_COMPILER = "no C++ compiler found (CXX, c++, g++, clang++)"


@cache
def compiler() -> str | None:
    """Returns the path of the C++ compiler: $CXX, c++, g++ or clang++; None if there is none."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((path for name in names if name and (path := shutil.which(name))), None)


class Build(NamedTuple):
    """A loaded library, or None and the reason in one line."""

    library: ctypes.CDLL | None
    problem: str | None = None


def build(source: str, *options: str) -> Build:
    """Compiles and loads C++, or loads it from the cache. options: further options of the compiler."""
    path = compiler()
    if path is None:
        return Build(None, NO_COMPILER)
    parts = source, path, *flags(), *options, PARALLEL, _processor()
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    problem = ""
    for folder in (cache_folder, temporary_folder):
        try:
            return Build(_loaded(source, [path, *flags(), *options], folder() / f"{key}.so"))
        except subprocess.CalledProcessError as error:
            return Build(None, f"{path}: {_first_error(error.stderr)}")
        except OSError as error:  # a folder that is full, or whose files may not be loaded
            problem = " ".join(str(error).split())
    return Build(None, problem)


_build_once = cache(build)


def library(source: str, *options: str) -> ctypes.CDLL | None:
    """Returns the compiled source; None if it cannot be compiled. Each source is tried once. options: further options
    of the compiler.
    """
    return _build_once(source, *options).library


def problem() -> str | None:
    """Returns the reason why C++ cannot be compiled here, in one line; None if it can."""
    return _build_once(source_text(["functions.hpp"], {}, "vectors.hpp")).problem


def flags() -> tuple[str, ...]:
    """Returns the compiler's options on this machine, without PARALLEL."""
    return (*FLAGS, *X86) if platform.machine() in ("x86_64", "AMD64") else FLAGS


def _first_error(output: bytes) -> str:
    """Returns the first error of a compiler's output."""
    lines = output.decode(errors="replace").strip().splitlines() or ["failed without a message"]
    return next((line for line in lines if "error" in line), lines[0]).strip()


def _loaded(source: str, command: Sequence[str], path: Path) -> ctypes.CDLL:
    if not _intact(path):
        _compile(source, command, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError:  # compiled for the libraries of another system that shares this folder
        _compile(source, command, path)
        return ctypes.CDLL(str(path))


def _compile(source: str, command: Sequence[str], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        code, shared, checksum = (Path(folder) / name for name in ("kernel.cpp", "kernel.so", "kernel.sha256"))
        code.write_text(source, encoding="utf-8")
        command = [*command, "-shared", code.name, "-o", shared.name]
        try:
            subprocess.run([*command, PARALLEL], cwd=folder, check=True, capture_output=True)
        except subprocess.CalledProcessError:  # a compiler without OpenMP: one thread
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        checksum.write_bytes(_checksum(shared))
        for file in (shared, checksum):
            file.chmod(0o700)
        # Each file is replaced atomically, because other processes may compile the same source. If the checksum then
        # belongs to the library of another process, the next process compiles again.
        checksum.replace(_checksum_file(path))
        shared.replace(path)


def _checksum_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _checksum(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).hexdigest().encode()


def _intact(path: Path) -> bool:
    """Returns whether a file exists, is private to this user, and has its checksum."""
    checksum = _checksum_file(path)
    return (
        path.is_file()
        and checksum.is_file()
        and is_private(path)
        and is_private(checksum)
        and checksum.read_bytes() == _checksum(path)
    )


@cache
def _processor() -> str:
    """Returns what the result of -march=native depends on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    features = [line for line in lines if line.startswith(("flags", "Features", "model name"))][:2]
    return "|".join([platform.machine(), platform.processor(), *features])
