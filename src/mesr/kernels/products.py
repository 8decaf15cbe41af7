"""The last step of the head's forms, each as one loop: `products.c` on tensors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from . import winograd
from .library import functions

Indices = npt.NDArray[np.int64]


def suits(features: Tensor, hidden: Tensor) -> bool:
    """Whether the loop serves here: on a processor with the compiled kernels, where no gradient is asked for.

    Args:
        features: (N, C, H, W).
        hidden: (…, hidden), whose width must be a multiple of 16.
    """
    return (
        not torch.is_grad_enabled()
        and type(features) is Tensor
        and features.device.type == "cpu"
        and hidden.shape[1] % winograd.LANES == 0
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and winograd.available()
    )


def multiply(
    vectors: Tensor,
    constants: Tensor,
    first: Tensor,
    second: Tensor,
    rows: Indices,
    columns: Indices,
    into: Tensor,
) -> None:
    """Σ relu(first + second) · vectors + constants for every output pixel.

    Args:
        vectors: (hidden, h, W) float32, a pixel's values side by side (channels last).
        constants: (h, W) float32.
        first, second: (A, hidden) and (B, hidden) float32.
        rows, columns: (A,) and (B,) source pixels within h and W.
        into: (A, B) float32, filled.
    """
    hidden, _, width = vectors.shape
    by_pixel = vectors.permute(1, 2, 0)
    if by_pixel.stride()[1:] != (hidden, 1):
        by_pixel = by_pixel.contiguous()
    first, second, constants = first.contiguous(), second.contiguous(), constants.contiguous()
    rows, columns = np.ascontiguousarray(rows), np.ascontiguousarray(columns)
    assert into.stride(1) == 1
    functions().head_products(
        by_pixel.data_ptr(), by_pixel.stride(0), constants.data_ptr(), width,
        first.data_ptr(), second.data_ptr(), rows.ctypes.data, columns.ctypes.data,
        into.data_ptr(), into.stride(0), len(rows), len(columns), hidden, torch.get_num_threads(),
    )  # fmt: skip


def interleave(maps: Tensor, rows: Indices, columns: Indices, into: Tensor) -> None:
    """into[n, q, p] = maps[n] at rows[q] + columns[p], counted in elements; for float32 on a processor with the kernels.

    Args:
        maps: (N, …), each n dense.
        rows, columns: (A,) and (B,).
        into: (N, A, B), filled.
    """
    rows, columns = np.ascontiguousarray(rows), np.ascontiguousarray(columns)
    assert maps.dtype is into.dtype is torch.float32
    assert into.stride(2) == 1
    for one, image in zip(maps, into, strict=True):
        functions().head_interleave(
            one.data_ptr(), rows.ctypes.data, columns.ctypes.data, image.data_ptr(), image.stride(0),
            len(rows), len(columns), torch.get_num_threads(),
        )  # fmt: skip
