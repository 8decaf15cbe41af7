"""The head where few offsets recur: one kernel a phase, convolutions, an interleave.

A scale p/q repeats its offsets every p outputs, for every q inputs. So there are p² kernels, and each of them
makes an image of its own, which is a part of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..grid import Axis, Sources
from ..kernels import winograd
from ..kernels.convolution import conv3x3
from ..kernels.products import interleave

Offsets = npt.NDArray[np.float64]
KernelsOf = Callable[[Offsets, Offsets], Tensor]
"""Offsets of rows (A,) and columns (B,) to the kernels (A·B, C, 3, 3), float32."""

LANES = 16
"""Kernels that Winograd's form computes at the least, and in multiples of."""

WASTE = 8.0
"""How many times the outputs that are needed Winograd's form may compute and still be the faster one."""


class Run(NamedTuple):
    """Consecutive outputs of one axis over which offsets recur: `phases` outputs for every `stride` inputs."""

    start: int
    stop: int
    phases: int
    stride: int


def runs(axis: Axis, found: Sources) -> list[Run]:
    """The periodic stretches of an axis: one, or two where ties break towards the centre from both sides."""
    phases, stride = axis.step.denominator, axis.step.numerator
    size = len(found.pixel)
    if phases >= size:
        return [Run(0, size, size, stride)]
    recurs = (found.pixel[phases:] == found.pixel[:-phases] + stride) & (
        found.offset[phases:] == found.offset[:-phases]
    )
    result: list[Run] = []
    start = 0
    while start < size:
        broken = np.flatnonzero(~recurs[start:])
        stop = min(size, start + int(broken[0]) + phases) if len(broken) else size
        result.append(Run(start, stop, min(phases, stop - start), stride))
        start = stop
    return result


def polyphase(
    kernels_of: KernelsOf, features: Tensor, rows: Axis, columns: Axis, down: Sources, across: Sources
) -> Tensor:
    """The head's answer on a grid.

    Args:
        kernels_of: the perceptron.
        features: (N, C, H, W) float32 or bfloat16.
        rows, columns: the axes of the grid.
        down, across: their sources.

    Returns:
        (N, 1, H', W') float32.
    """
    shape = features.shape[0], 1, rows.size_out, columns.size_out
    result = torch.empty(shape, dtype=torch.float32, device=features.device)
    phases = rows.step.denominator * columns.step.denominator
    made = -(-phases // LANES) * LANES * rows.step.numerator * columns.step.numerator
    differentiated = torch.is_grad_enabled() and features.requires_grad
    everywhere = (
        not differentiated
        and made <= WASTE * phases
        and winograd.suits(features, features.new_empty(LANES, features.shape[1], 3, 3))
    )
    if everywhere:
        _everywhere(kernels_of, features, rows, columns, down, across, result[:, 0])
        return result
    for into_rows, into_columns, image in _strided(kernels_of, features, rows, columns, down, across):
        place = result[:, 0, into_rows, into_columns]
        place.copy_(image[:, : place.shape[1], : place.shape[2]])
    return result


def _everywhere(
    kernels_of: KernelsOf,
    features: Tensor,
    rows: Axis,
    columns: Axis,
    down: Sources,
    across: Sources,
    into: Tensor,
) -> None:
    """Every phase's kernel at every input pixel, by Winograd's form, of which each output takes its own.

    Args:
        into: (N, H', W'), filled.
    """
    horizontal = runs(columns, across)
    for a in runs(rows, down):
        for b in horizontal:
            first, second = (np.arange(one.start, one.start + one.phases) for one in (a, b))
            kernels = kernels_of(down.offset[first], across.offset[second])
            filled = kernels.new_zeros(-(-len(kernels) // LANES) * LANES, *kernels.shape[1:])
            filled[: len(kernels)] = kernels
            top, bottom = _span(down, a, features.shape[2])
            left, right = _span(across, b, features.shape[3])
            maps = conv3x3(features[..., top:bottom, left:right], filled)
            pixels = maps.permute(0, 2, 3, 1).contiguous()
            q, p = np.arange(a.start, a.stop), np.arange(b.start, b.stop)
            to_row = (down.pixel[q] - top) * pixels.stride(1) + (q - a.start) % a.phases * b.phases
            to_column = (across.pixel[p] - left) * pixels.stride(2) + (p - b.start) % b.phases
            interleave(pixels, to_row, to_column, into[:, a.start : a.stop, b.start : b.stop])


def _span(found: Sources, run: Run, size: int) -> tuple[int, int]:
    """The input pixels that decide a run: its sources and one to each side, where there is one."""
    pixels = found.pixel[run.start : run.stop]
    return max(0, int(pixels.min()) - 1), min(size, int(pixels.max()) + 2)


def _strided(
    kernels_of: KernelsOf, features: Tensor, rows: Axis, columns: Axis, down: Sources, across: Sources
) -> Iterator[tuple[slice, slice, Tensor]]:
    """The phases that share their source pixels together, by one strided convolution.

    Yields:
        The output rows and columns of a phase, and its image (N, h, w), which may have a row or column too many.
    """
    padded = F.pad(features, (1, 1, 1, 1))
    horizontal = _phase_groups(runs(columns, across), across)
    for a in _phase_groups(runs(rows, down), down):
        for b in horizontal:
            kernels = kernels_of(a.offsets, b.offsets).to(features.dtype)
            maps = F.conv2d(padded[..., a.window, b.window], kernels, stride=(a.stride, b.stride)).float()
            for n, (into_rows, into_columns) in enumerate(product(a.outputs, b.outputs)):
                yield into_rows, into_columns, maps[:, n]


class _PhaseGroup(NamedTuple):
    """Phases of one run that share their source pixels, and so one strided convolution.

    Attributes:
        offsets: (P,) one a phase.
        outputs: for each phase, the slice of output indices it fills.
        window: the stretch of the padded input the convolution reads.
        stride: input pixels between the sources of successive outputs of a phase.
    """

    offsets: Offsets
    outputs: list[slice]
    window: slice
    stride: int


def _phase_groups(found_runs: list[Run], found: Sources) -> list[_PhaseGroup]:
    groups = []
    for run in found_runs:
        first = np.arange(run.start, run.start + run.phases)
        for pixel in np.unique(found.pixel[first]):
            phases = first[found.pixel[first] == pixel]
            outputs = [slice(int(q), run.stop, run.phases) for q in phases]
            repeats = max(len(range(*one.indices(run.stop))) for one in outputs)
            # Pixel i sits at i + 1 of the padded input, so its 3×3 patch begins at i.
            window = slice(int(pixel), int(pixel) + run.stride * (repeats - 1) + 3)
            groups.append(_PhaseGroup(found.offset[phases], outputs, window, run.stride))
    return groups
