"""Checks of what compiled code is called with: shapes, dtypes, devices and contiguity, before an address leaves
Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor


def address(tensor: Tensor, shape: Sequence[int], dtype: torch.dtype) -> int:
    """The address of a tensor's memory, which the tensor must outlive.

    Raises ValueError unless the tensor is what the native code takes it for, which would read and write elsewhere
    otherwise.
    """
    if not (tensor.shape == tuple(shape) and tensor.dtype is dtype and tensor.is_cpu and tensor.is_contiguous()):
        given = (
            f"{tensor.dtype} {tuple(tensor.shape)} on "
            f"{tensor.device}{'' if tensor.is_contiguous() else ', not contiguous'}"
        )
        raise ValueError(f"native code was given {given}; accepted: {dtype} {tuple(shape)} on cpu, contiguous")
    return tensor.data_ptr()


def addresses(tensors: Sequence[Tensor], count: int, shape: Sequence[int], dtype: torch.dtype) -> ctypes.Array:
    """The addresses of `count` tensors of one shape and dtype, as C's array of pointers. Raises ValueError as `address`
    does.
    """
    if len(tensors) != count:
        raise ValueError(f"native code was given {len(tensors)} tensors; accepted: {count}")
    return (ctypes.c_void_p * count)(*(address(tensor, shape, dtype) for tensor in tensors))


def entry(calls: Mapping[torch.dtype, Callable[..., None]], dtype: torch.dtype) -> Callable[..., None]:
    """The call for tensors of a dtype. Raises ValueError where there is none."""
    if dtype not in calls:
        raise ValueError(f"native code was given {dtype}; accepted: {', '.join(map(str, calls))}")
    return calls[dtype]


def match_range(first: int, rows: int, size: int) -> int:
    """`first`, the candidate that matches the first of `rows` rows. Raises ValueError unless every row has its match
    among `size` candidates.
    """
    if not 0 <= first <= size - rows:
        raise ValueError(f"native code was given the matches {first} to {first + rows - 1}; accepted: 0 to {size - 1}")
    return first
