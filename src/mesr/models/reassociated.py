"""The head at any real scale: the perceptron's last layer is linear, so it is applied to the features first.

`Σ_k (W₂h + b₂)_k f_k = Σ_j h_j (W₂ᵀf)_j + b₂·f`: convolutions C → hidden and C → 1 at low resolution, and for each
output pixel one product with its hidden vector. Hidden vectors are separable before their ReLU, so of them too only
one a row and one a column are kept.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..grid import Sources
from ..kernels import products
from ..kernels.convolution import conv3x3

Table = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]
Pair = tuple[Tensor, Tensor]

BAND_BYTES = 64 << 20
"""Responses held at a time outside training."""


def trained(
    features: Tensor,
    outer: Tensor,
    bias: Tensor,
    first: Tensor,
    second: Tensor,
    down: Sources,
    across: Sources,
) -> Tensor:
    """For training: one batched product, [outputs of an input pixel × hidden] · [hidden × batch].

    Args:
        features: (N, C, H, W) float32 or bfloat16.
        outer, bias: (C·9, hidden) and (C·9,), the perceptron's last layer.
        first, second: (H', hidden) and (W', hidden), what rows and columns add to the hidden vectors before the ReLU.
        down, across: sources of rows and columns.

    Returns:
        (N, 1, H', W') float32.
    """
    height, width = features.shape[2:]
    vertical, horizontal = _table(down, height), _table(across, width)
    vectors, constants = (one.flatten(0, 1) for one in _by_pixel(*responses(features, outer, bias)))
    (_, per_row), (_, per_column) = vertical.shape, horizontal.shape
    hidden = torch.relu(first[vertical.ravel()][:, None] + second[horizontal.ravel()][None])
    hidden = hidden.view(height, per_row, width, per_column, -1).transpose(1, 2)
    hidden = hidden.reshape(height * width, per_row * per_column, -1)
    made = torch.baddbmm(constants, hidden.to(vectors.dtype), vectors).float()
    made = made.view(height, width, per_row, per_column, -1).permute(4, 0, 2, 1, 3)
    made = made.reshape(-1, height * per_row, width * per_column)
    into_rows, into_columns = (
        torch.from_numpy(found.pixel * table.shape[1] + _rank(found, table)).to(made.device)
        for found, table in ((down, vertical), (across, horizontal))
    )
    return made[:, into_rows][:, :, into_columns][:, None]


def inferred(
    features: Tensor,
    outer: Tensor,
    bias: Tensor,
    first: Tensor,
    second: Tensor,
    down: Sources,
    across: Sources,
    made: tuple[Tensor, ...] | None = None,
) -> Tensor:
    """Without gradients: a band of input rows at a time, whose hidden vectors are never stored.

    Arguments as `trained`'s; `made` are the `responses` of all rows, where they were kept.
    """
    batch, _, height, width = features.shape
    result = first.new_empty(batch, 1, len(down.pixel), len(across.pixel))
    multiply = _fused if products.suits(features, first) else _row_by_row
    rows = max(1, BAND_BYTES // (4 * batch * width * outer.shape[1]))
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        into = slice(*(int(np.searchsorted(down.pixel, edge)) for edge in (top, bottom)))
        if into.start < into.stop:
            vectors, constants = (
                responses(features, outer, bias, top, bottom)
                if made is None
                else (one[:, :, top:bottom] for one in made)
            )
            hidden = first[into], second
            multiply((vectors, constants), hidden, down.pixel[into] - top, across, result[:, 0, into])
    return result


def _fused(made: Pair, hidden: Pair, rows: Indices, across: Sources, into: Tensor) -> None:
    for vectors, constants, place in zip(*(one.float() for one in made), into, strict=True):
        products.multiply(vectors, constants[0], *hidden, rows, across.pixel, place)


def _row_by_row(made: Pair, hidden: Pair, rows: Indices, across: Sources, into: Tensor) -> None:
    """An output row at a time, whose hidden vectors stay in the processor's cache."""
    (vectors, constants), (first, second) = made, hidden
    width = vectors.shape[3]
    table = _table(across, width)
    into_columns = torch.from_numpy(across.pixel * table.shape[1] + _rank(across, table)).to(into.device)
    by_pixel, alone = (one.float() for one in _by_pixel(vectors, constants))
    spread = second[table.ravel()]
    held = torch.empty_like(spread)
    for q, row in enumerate(rows.tolist()):
        torch.add(spread, first[q], out=held).relu_()
        answers = torch.baddbmm(alone[row], held.view(width, table.shape[1], -1), by_pixel[row])
        into[:, q] = answers.view(width * table.shape[1], -1)[into_columns].T


def responses(
    features: Tensor, outer: Tensor, bias: Tensor, top: int = 0, bottom: int | None = None
) -> tuple[Tensor, Tensor]:
    """What each hidden value (N, hidden, h, W), and the constant (N, 1, h, W), adds around rows top…bottom."""
    height = features.shape[2]
    bottom = height if bottom is None else bottom
    begin = max(0, top - 1)
    band = features[:, :, begin : min(height, bottom + 1)]
    kept = slice(top - begin, bottom - begin)
    weight = outer.T.view(-1, features.shape[1], 3, 3).to(features.dtype)
    constant = bias.view(1, features.shape[1], 3, 3).to(features.dtype)
    return conv3x3(band, weight)[:, :, kept], F.conv2d(band, constant, padding=1)[:, :, kept]


def _by_pixel(vectors: Tensor, constants: Tensor) -> tuple[Tensor, Tensor]:
    """(N, hidden, h, W) and (N, 1, h, W) as (h, W, hidden, N) and (h, W, 1, N)."""
    return vectors.permute(2, 3, 1, 0).contiguous(), constants.permute(2, 3, 1, 0).contiguous()


def _table(found: Sources, size: int) -> Table:
    """(size, K) outputs of every input pixel, K the most any has; rows are filled with a valid output."""
    counts = np.bincount(found.pixel, minlength=size)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    table: Table = starts[:, None] + np.minimum(np.arange(counts.max()), np.maximum(counts - 1, 0)[:, None])
    return np.minimum(table, len(found.pixel) - 1)


def _rank(found: Sources, table: Table) -> Indices:
    """The place of each output among those of its input pixel."""
    rank: Indices = np.arange(len(found.pixel)) - table[found.pixel, 0]
    return rank
