"""The meta-upscale head (paper §3.2, Eqs. 4–7): a perceptron predicts each output pixel's kernel.

For an output pixel at offsets (oy, ox) from its source pixel a two-layer perceptron
`(oy, ox, 1/sy, 1/sx) → 256 → C·3·3` gives the kernel that is applied to the 3×3 feature patch around the
source. Three exact forms of one function, chosen by cost:

* `reference` builds every kernel. Slow and large; the measure of the others.
* `polyphase` serves grids where few offsets recur: one kernel a phase, strided convolutions, an interleave.
* `reassociated` serves any real scale. The perceptron's last layer is linear, so
  `Σ_k (W₂h + b₂)_k f_k = Σ_j h_j (W₂ᵀf)_j + b₂·f`: convolutions C → 256 and C → 1 at low resolution,
  then a product with the hidden vectors.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..grid import Axis, Sources
from ..kernels import conv3x3

Table = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]
Offsets = npt.NDArray[np.float64]

Coordinates = Literal["nearest", "below", "corner"]
"""Centred with the offset from the nearest pixel or from the one below, or corner-aligned as Eq. (5)."""

Form = Literal["reference", "polyphase", "reassociated"]

MAX_PHASES = 1600
"""Distinct kernels (phases over both axes) up to which the polyphase form is the cheaper one."""

STEEPNESS = 4.0
"""Largest slope of a hidden value along an offset, at the start of training."""
CHANGING = 0.33
"""Variance of the part of a kernel that changes with the offset then, against that of the part that does not."""

BAND_BYTES = 64 << 20
"""Responses held at a time by the reassociated form outside training."""


class Run(NamedTuple):
    """Consecutive outputs of one axis over which offsets recur: `phases` outputs for every `stride` inputs."""

    start: int
    stop: int
    phases: int
    stride: int


def sources(axis: Axis, coordinates: Coordinates) -> Sources:
    """Source pixel and offset of every output of an axis, in the given convention."""
    return {"nearest": axis.nearest, "below": axis.below, "corner": axis.corner}[coordinates]()


def reach(coordinates: Coordinates) -> int:
    """Features to each side of the nearest pixel that decide an output: 3×3 about a source, which may lie one before."""
    return 1 if coordinates == "nearest" else 2


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


class MetaHead(nn.Module):
    """Features at low resolution to one channel on any grid.

    Args:
        features: C, channels of the feature map.
        hidden: width of the perceptron.
        coordinates: where offsets are counted from.
    """

    def __init__(self, features: int = 64, hidden: int = 256, coordinates: Coordinates = "nearest") -> None:
        super().__init__()
        self.features = features
        self.coordinates: Coordinates = coordinates
        self.inner = nn.Linear(4, hidden)
        self.outer = nn.Linear(hidden, features * 9)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Kernels that depend on the offset from the start, and are small.

        Each hidden value is a ramp whose foot passes through a point of the square of offsets drawn at random, steep
        enough to tell its sides apart. PyTorch's own beginning puts most feet outside: kernels then hardly change
        over a pixel, and learn to at its border last, where the ties of 1.5, 2.5 and 3.5 lie.
        """
        hidden = self.inner.out_features
        first = -0.5 if self.coordinates == "nearest" else 0.0
        points = torch.cat([first + torch.rand(hidden, 2), 0.25 + 0.75 * torch.rand(hidden, 2)], dim=1)
        nn.init.uniform_(self.inner.weight[:, :2], -STEEPNESS, STEEPNESS)
        nn.init.uniform_(self.inner.weight[:, 2:], -1.0, 1.0)
        self.inner.bias.copy_(-(self.inner.weight * points).sum(dim=1))
        # A tenth of unit gain: the head begins near silence, the skip carries the image. A hidden value's mean square is 1.
        bound = 0.1 * math.sqrt(3.0 / (9 * self.features))
        changing = bound * math.sqrt(CHANGING / hidden)
        nn.init.uniform_(self.outer.weight, -changing, changing)
        nn.init.uniform_(self.outer.bias, -bound, bound)

    def forward(self, features: Tensor, rows: Axis, columns: Axis, form: Form | None = None) -> Tensor:
        """(N, C, H, W) → (N, 1, H', W') float32 by the cheapest exact form, or by `form`."""
        down, across = sources(rows, self.coordinates), sources(columns, self.coordinates)
        if form is None:
            form = self._cheapest(rows, columns, down, across)
        device = features.device.type
        if torch.is_autocast_enabled(device):
            features = features.to(torch.get_autocast_dtype(device))
        with torch.autocast(device, enabled=False):
            if form == "reference":
                return self._reference(features.float(), rows, columns, down, across)
            if form == "polyphase":
                return self._polyphase(features, rows, columns, down, across)
            return self._reassociated(features, rows, columns, down, across)

    def _cheapest(self, rows: Axis, columns: Axis, down: Sources, across: Sources) -> Form:
        if torch.is_grad_enabled() and self.inner.weight.requires_grad:
            return "reassociated"
        phases = rows.step.denominator * columns.step.denominator
        pieces = len(runs(rows, down)) * len(runs(columns, across))
        whole = rows.size_out * columns.size_out
        return "polyphase" if phases <= min(MAX_PHASES, whole // 16) and pieces <= 16 else "reassociated"

    def _hidden(self, rows: Axis, columns: Axis, oy: Offsets, ox: Offsets) -> Tensor:
        """Hidden vectors for offsets oy (A,) × ox (B,) → (A, B, hidden) float32: separable before the ReLU."""
        first, second = self._halves(rows, columns, oy, ox)
        return torch.relu(first[:, None] + second[None])

    def _halves(self, rows: Axis, columns: Axis, oy: Offsets, ox: Offsets) -> tuple[Tensor, Tensor]:
        """What rows (A, hidden) and columns (B, hidden) add to the hidden vectors before the ReLU."""
        weight = self.inner.weight
        constant = self.inner.bias + float(rows.step) * weight[:, 2] + float(columns.step) * weight[:, 3]
        first = self._tensor(oy)[:, None] * weight[:, 0] + constant
        return first, self._tensor(ox)[:, None] * weight[:, 1]

    def _tensor(self, values: Offsets) -> Tensor:
        return torch.from_numpy(values).to(self.inner.weight)

    def _reference(
        self, features: Tensor, rows: Axis, columns: Axis, down: Sources, across: Sources
    ) -> Tensor:
        batch, _, _, width = features.shape
        patches = F.unfold(features, 3, padding=1)
        source_columns = torch.from_numpy(across.pixel).to(features.device)
        result = features.new_empty(batch, 1, rows.size_out, columns.size_out)
        for q, i in enumerate(down.pixel.tolist()):
            hidden = self._hidden(rows, columns, down.offset[q : q + 1], across.offset)[0]
            kernels = self.outer(hidden)
            taken = patches[:, :, i * width + source_columns]
            result[:, 0, q] = torch.einsum("nkp,pk->np", taken, kernels)
        return result

    def _polyphase(
        self, features: Tensor, rows: Axis, columns: Axis, down: Sources, across: Sources
    ) -> Tensor:
        batch, channels = features.shape[:2]
        padded = F.pad(features, (1, 1, 1, 1))
        result = torch.empty(
            batch, 1, rows.size_out, columns.size_out, dtype=torch.float32, device=features.device
        )
        for vertical in _phase_groups(runs(rows, down), down):
            for horizontal in _phase_groups(runs(columns, across), across):
                kernels = self.outer(self._hidden(rows, columns, vertical.offsets, horizontal.offsets))
                kernels = kernels.view(-1, channels, 3, 3).to(features.dtype)
                window = padded[..., vertical.window, horizontal.window]
                maps = F.conv2d(window, kernels, stride=(vertical.stride, horizontal.stride)).float()
                maps = maps.view(batch, len(vertical.outputs), len(horizontal.outputs), *maps.shape[2:])
                for a, into_rows in enumerate(vertical.outputs):
                    for b, into_columns in enumerate(horizontal.outputs):
                        place = result[:, 0, into_rows, into_columns]
                        place.copy_(maps[:, a, b, : place.shape[1], : place.shape[2]])
        return result

    def _reassociated(
        self, features: Tensor, rows: Axis, columns: Axis, down: Sources, across: Sources
    ) -> Tensor:
        height, width = features.shape[2:]
        weight = self.outer.weight.T.view(-1, self.features, 3, 3).to(features.dtype)
        constant = self.outer.bias.view(1, self.features, 3, 3).to(features.dtype)
        horizontal = _table(across, width)
        into_columns = torch.from_numpy(across.pixel * horizontal.shape[1] + _rank(across, horizontal))
        if torch.is_grad_enabled():
            vertical = _table(down, height)
            products = self._products(
                _responses(features, weight, constant), rows, columns, down, across, vertical, horizontal
            )
            into_rows = torch.from_numpy(down.pixel * vertical.shape[1] + _rank(down, vertical))
            products = products[:, into_rows.to(products.device)]
        else:
            products = self._row_by_row(features, weight, constant, rows, columns, down, across, horizontal)
        return products[:, :, into_columns.to(products.device)][:, None]

    def _row_by_row(
        self,
        features: Tensor,
        weight: Tensor,
        constant: Tensor,
        rows: Axis,
        columns: Axis,
        down: Sources,
        across: Sources,
        horizontal: Table,
    ) -> Tensor:
        """The same products an output row at a time, whose hidden vectors stay in the processor's cache.

        Returns:
            (N, H', W·Kx) float32.
        """
        batch, width, per_column = features.shape[0], features.shape[3], horizontal.shape[1]
        first, second = self._halves(rows, columns, down.offset, across.offset[horizontal.ravel()])
        result = first.new_empty(rows.size_out, width * per_column, batch)
        hidden = torch.empty_like(second)
        band = max(1, BAND_BYTES // (4 * batch * width * weight.shape[0]))
        top = bottom = 0
        for q, pixel in enumerate(down.pixel.tolist()):
            if pixel >= bottom:
                top, bottom = pixel, min(features.shape[2], pixel + band)
                vectors, constants = (
                    one.float() for one in _responses(features, weight, constant, top, bottom)
                )
            torch.add(second, first[q], out=hidden).relu_()
            products = torch.baddbmm(
                constants[pixel - top], hidden.view(width, per_column, -1), vectors[pixel - top]
            )
            result[q] = products.view(width * per_column, batch)
        return result.permute(2, 0, 1)

    def _products(
        self,
        responses: tuple[Tensor, Tensor],
        rows: Axis,
        columns: Axis,
        down: Sources,
        across: Sources,
        vertical: Table,
        horizontal: Table,
    ) -> Tensor:
        """One product per input pixel, [outputs of the pixel × hidden] · [hidden × batch].

        Args:
            responses: (h, W, hidden, N) and (h, W, 1, N).
            vertical: (h, Ky) output rows of every input row, the last one repeated to fill.
            horizontal: (W, Kx) likewise.

        Returns:
            (N, h·Ky, W·Kx) float32.
        """
        vectors, constants = (one.flatten(0, 1) for one in responses)
        (height, per_row), (width, per_column) = vertical.shape, horizontal.shape
        hidden = self._hidden(rows, columns, down.offset[vertical.ravel()], across.offset[horizontal.ravel()])
        hidden = hidden.view(height, per_row, width, per_column, -1).transpose(1, 2)
        hidden = hidden.reshape(height * width, per_row * per_column, -1)
        products = torch.baddbmm(constants, hidden.to(vectors.dtype), vectors).float()
        products = products.view(height, width, per_row, per_column, -1).permute(4, 0, 2, 1, 3)
        return products.reshape(-1, height * per_row, width * per_column)


def _responses(
    features: Tensor, weight: Tensor, constant: Tensor, top: int = 0, bottom: int | None = None
) -> tuple[Tensor, Tensor]:
    """What each hidden value (h, W, hidden, N), and the constant (h, W, 1, N), adds around rows top…bottom."""
    height = features.shape[2]
    bottom = height if bottom is None else bottom
    first = max(0, top - 1)
    band = features[:, :, first : min(height, bottom + 1)]
    kept = slice(top - first, bottom - first)
    each, alone = conv3x3(band, weight)[:, :, kept], F.conv2d(band, constant, padding=1)[:, :, kept]
    return each.permute(2, 3, 1, 0).contiguous(), alone.permute(2, 3, 1, 0).contiguous()


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
