"""The meta-upscale head (paper §3.2, Eqs. 4–7): a perceptron predicts each output pixel's kernel.

For an output pixel at offsets (oy, ox) from its source pixel a two-layer perceptron
`(oy, ox, 1/sy, 1/sx) → 256 → C·3·3` gives the kernel that is applied to the 3×3 feature patch around the
source. Three exact forms of one function, chosen by cost:

* `reference` builds every kernel. Slow and large; the measure of the others.
* `polyphase` serves grids where few offsets recur: one kernel a phase, convolutions, an interleave.
* `reassociated` serves any real scale: the perceptron's last layer is applied to the features first.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..grid import Axis, Sources
from . import reassociated
from .polyphase import Offsets, polyphase, runs

Coordinates = Literal["nearest", "below", "corner"]
"""Centred with the offset from the nearest pixel or from the one below, or corner-aligned as Eq. (5)."""

Form = Literal["reference", "polyphase", "reassociated"]

MAX_PHASES = 1600
"""Distinct kernels (phases over both axes) up to which the polyphase form is the cheaper one."""

MOST_KEPT = 64
"""Sets of kernels kept: a scale has up to some twenty, of at most 15 MB together and far less for common ones."""

STEEPNESS = 4.0
"""Largest slope of a hidden value along an offset, at the start of training."""
CHANGING = 0.33
"""Variance of the part of a kernel that changes with the offset then, against that of the part that does not."""


def sources(axis: Axis, coordinates: Coordinates) -> Sources:
    """Source pixel and offset of every output of an axis, in the given convention."""
    return {"nearest": axis.nearest, "below": axis.below, "corner": axis.corner}[coordinates]()


def reach(coordinates: Coordinates) -> int:
    """Features to each side of the nearest pixel that decide an output: 3×3 about a source, which may lie one before."""
    return 1 if coordinates == "nearest" else 2


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
        self._kept: dict[object, Tensor] = {}
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
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

    def forward(
        self,
        features: Tensor,
        rows: Axis,
        columns: Axis,
        form: Form | None = None,
        made: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """(N, C, H, W) → (N, 1, H', W') float32 by the cheapest exact form, or by `form`; `made` are its `responses`."""
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

                def kernels_of(oy: Offsets, ox: Offsets) -> Tensor:
                    return self._kept_kernels(rows, columns, oy, ox)

                return polyphase(kernels_of, features, rows, columns, down, across)
            first, second = self._halves(rows, columns, down.offset, across.offset)
            last = self.outer.weight, self.outer.bias
            if torch.is_grad_enabled():
                return reassociated.trained(features, *last, first, second, down, across)
            return reassociated.inferred(features, *last, first, second, down, across, made)

    def responses(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What the reassociated form makes of features whatever the scale: (N, hidden, H, W) and (N, 1, H, W)."""
        return reassociated.responses(features, self.outer.weight, self.outer.bias)

    def _cheapest(self, rows: Axis, columns: Axis, down: Sources, across: Sources) -> Form:
        if torch.is_grad_enabled() and self.inner.weight.requires_grad:
            return "reassociated"
        phases = rows.step.denominator * columns.step.denominator
        pieces = len(runs(rows, down)) * len(runs(columns, across))
        whole = rows.size_out * columns.size_out
        return "polyphase" if phases <= min(MAX_PHASES, whole // 16) and pieces <= 16 else "reassociated"

    def _kept_kernels(self, rows: Axis, columns: Axis, oy: Offsets, ox: Offsets) -> Tensor:
        """`kernels`, which the slices and tiles of a volume ask for again and again: the last of them are kept.

        Of a frozen perceptron only: an optimiser changes one without leaving a trace. Another in its place, or where it
        lies, is another key.
        """
        if torch.is_grad_enabled() or any(one.requires_grad for one in self.parameters()):
            return self.kernels(rows, columns, oy, ox)
        state = tuple((one.device, one.data_ptr(), _version(one)) for one in self.parameters())
        key = state, rows.step, columns.step, oy.tobytes(), ox.tobytes()
        kernels = self._kept.pop(key, None)
        if kernels is None:
            kernels = self.kernels(rows, columns, oy, ox)
        self._kept[key] = kernels
        for old in list(self._kept)[:-MOST_KEPT]:
            self._kept.pop(old, None)
        return kernels

    def kernels(self, rows: Axis, columns: Axis, oy: Offsets, ox: Offsets) -> Tensor:
        """The kernels (A·B, C, 3, 3) float32 for offsets oy (A,) of rows × ox (B,) of columns, of a grid's scales."""
        first, second = self._halves(rows, columns, oy, ox)
        hidden = torch.relu(first[:, None] + second[None])
        predicted: Tensor = self.outer(hidden)
        return predicted.view(-1, self.features, 3, 3)

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
            kernels = self.kernels(rows, columns, down.offset[q : q + 1], across.offset).flatten(1)
            taken = patches[:, :, i * width + source_columns]
            result[:, 0, q] = torch.einsum("nkp,pk->np", taken, kernels)
        return result


def _version(parameter: Tensor) -> int:
    """How often it was changed in place; a parameter made in inference mode does not count."""
    return 0 if parameter.is_inference() else parameter._version
