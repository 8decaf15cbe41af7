"""From a volume and a target to a lazily computed volume: device, precision, tiles, recording.

A slice is computed when it is asked for. Tiles cover the receptive field on both sides, so that a tiled
slice equals a whole one; they are used where a slice would not fit the memory there is.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .computed import ComputedSlices
from .device import Precision, computing, convolutions, named, resolve_device
from .errors import UsageError
from .grid import Axis, Grid, Target
from .intensity import Window, window_for
from .memory import plan_tile, ran_out, smaller
from .models import SuperResolver
from .models.contract import Encoded
from .models.weights import Card
from .recorded import Recorded, records
from .tiling import Tile, tiles
from .volume import INVENTED, Derivation, FloatImage, Volume

REVISION = 6
"""Raised whenever the same inputs give other pixels (`Derivation.revision`)."""

TOGETHER = {"cpu": 1 << 16, "cuda": 1 << 18}
"""Input pixels that fill a device: of smaller slices several are computed at once."""

TOGETHER_OUT = 1 << 22
"""Output pixels that slices computed at once may have."""

PROBES = 4
PROBE = 192
"""How often a part of a slice is computed, and its input pixels along a side, to tell how long a slice takes."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How to compute.

    Attributes:
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: of the body's convolutions; "auto" is bfloat16 where that is faster.
        tile: low-resolution pixels along a tile, without halo; None plans from the free memory.
    """

    device: str = "auto"
    precision: Precision = "auto"
    tile: int | None = None


def arithmetic(model: SuperResolver, precision: Precision, device: torch.device) -> torch.dtype:
    """What a model's convolutions are computed in; an interpolator has none and stays in float32."""
    return convolutions(precision, device) if model.parameter_count else torch.float32


class Upscaler:
    """One model on one grid, ready for slices.

    Args:
        model: in evaluation mode.
        grid: whose slice axis is left alone here.
        window: intensity map to the model's range.
        options: how to compute.
    """

    def __init__(
        self, model: SuperResolver, grid: Grid, window: Window, options: Options = Options()
    ) -> None:
        self.device = resolve_device(options.device)
        self.dtype = arithmetic(model, options.precision, self.device)
        self.model = model
        self.grid = grid
        self.window = window
        self._options = options
        self._recorded: Recorded | None = None
        self._recorded_at = 0
        self._sparing = False
        self.halo = model.receptive_field
        self.tile = options.tile or plan_tile(model, grid, self.device)

    @property
    def precision(self) -> str:
        """What the convolutions are computed in."""
        return named(self.dtype)

    @property
    def together(self) -> int:
        """How many slices fill the device; one where a slice is cut into tiles or memory ran out before."""
        rows, columns = self.grid.rows, self.grid.columns
        if self._sparing or self.tile < max(rows.size_in, columns.size_in):
            return 1
        filled = TOGETHER.get(self.device.type, 1) // (rows.size_in * columns.size_in)
        return max(1, min(filled, TOGETHER_OUT // (rows.size_out * columns.size_out)))

    def compute(self, values: FloatImage) -> FloatImage:
        """A slice in the scan's unit, (H, W), or several, (N, H, W), to (…, H', W') in the same unit, float32.

        Where memory runs out it is done again, first one by one and without recording, then in smaller tiles, at last on
        the processor; so are the slices after it.

        Raises:
            MemoryError: there is not enough for the smallest tile either.
        """
        while True:
            try:
                return self._computed(values)
            except (MemoryError, RuntimeError) as error:
                if not ran_out(error):
                    raise
            # Outside the handler, whose traceback holds on to what did not fit.
            if values.ndim == 3 and len(values) > 1:
                self._sparing = True
                return np.stack([self.compute(one) for one in values])
            if not self._retreat():
                raise MemoryError("the smallest tile does not fit")

    def estimate(self, quick: float = 0.0) -> float:
        """About how many seconds a slice will take, from a part of one that is computed a few times now.

        Args:
            quick: seconds below which an upper bound is enough.
        """
        rows, columns = self.grid.rows, self.grid.columns
        height, width = min(PROBE, rows.size_in), min(PROBE, columns.size_in)
        part = Grid.plane(Axis.scaled(height, rows.scale), Axis.scaled(width, columns.scale))
        probe = Upscaler(self.model, part, self.window, replace(self._options, tile=None))
        noise = np.zeros((height, width), np.float32)
        work = sum(t.high - t.low for t in self._tiles(rows)) * sum(
            t.high - t.low for t in self._tiles(columns)
        )
        seconds = math.inf
        for _ in range(PROBES):  # The first ones allocate.
            began = time.perf_counter()
            probe.compute(noise)
            seconds = min(seconds, (time.perf_counter() - began) * work / (height * width))
            if seconds <= quick:
                break
        return seconds

    def _retreat(self) -> bool:
        """Record nothing, take tiles of half the size, or leave the GPU; False where none is possible."""
        recorded, self._recorded, self._sparing = self._recorded, None, True
        if recorded is not None:
            return True
        self.tile = min(self.tile, max(self.grid.rows.size_in, self.grid.columns.size_in))
        if self.halo is not None and (half := smaller(self.tile)) is not None:
            self.tile = half
        elif self.device.type != "cpu":
            self.device = torch.device("cpu")
            if self.dtype is torch.float16:  # Which processors have no fast form for.
                self.dtype = torch.float32
            self.tile = plan_tile(self.model, self.grid)
        else:
            return False
        self.log_plan("memory ran out, now")
        return True

    def log_plan(self, began: str) -> None:
        """Say what is computed where, and in which tiles."""
        _LOG.info(
            "%s: %s on %s, tiles of %d pixels and a halo of %s",
            began, self.precision, self.device, self.tile, "the whole" if self.halo is None else self.halo,
        )  # fmt: skip

    def _computed(self, values: FloatImage) -> FloatImage:
        rows, columns = self.grid.rows, self.grid.columns
        lr = torch.from_numpy(np.ascontiguousarray(self.window.forward(values))).to(self.device)
        lr = lr.view(-1, 1, rows.size_in, columns.size_in)
        result = torch.empty(len(lr), 1, rows.size_out, columns.size_out, device=self.device)
        self.model.to(self.device)  # Where another volume that shares it may have taken it from.
        with torch.inference_mode(), computing(self.device, self.dtype):
            for down in self._tiles(rows):
                for across in self._tiles(columns):
                    part = lr[..., down.low : down.high, across.low : across.high]
                    sr = self._answer(part, Grid.plane(down.axis, across.axis))
                    result[..., down.start : down.stop, across.start : across.stop] = sr.float()
            result = self.model.finish(lr, result, self.grid)
        whole = result.view(*values.shape[:-2], rows.size_out, columns.size_out)
        return self.window.inverse(whole.cpu().numpy(), in_place=True)

    def _answer(self, part: Tensor, grid: Grid) -> Tensor:
        """A tile's; on a GPU the kernels that make its features are recorded once its shape comes again."""
        if not records(self.device) or self._sparing:
            answer: Tensor = self.model(part, grid)
            return answer
        place = next((one.data_ptr() for one in self.model.parameters()), 0)
        if self._recorded is not None and place == self._recorded_at:
            return self.model.decode(Encoded(part, self._recorded(part)), grid)
        encoded = self.model.encode(part)
        if encoded.features is not None:
            self._recorded, self._recorded_at = Recorded(partial(_features, self.model)), place
        return self.model.decode(encoded, grid)

    def _tiles(self, axis: Axis) -> Iterator[Tile]:
        if self.halo is None:
            return iter([Tile(0, axis.size_out, 0, axis.size_in, axis)])
        return tiles(axis, self.tile, self.halo)


def _features(model: SuperResolver, part: Tensor) -> Tensor:
    features = model.encode(part).features
    assert features is not None
    return features


def upscale_volume(
    volume: Volume,
    target: Target,
    model: SuperResolver,
    card: Card,
    requested: str,
    options: Options = Options(),
) -> Volume:
    """A lazy volume on the target's grid.

    Args:
        volume: source.
        target: scale, spacing or size.
        model, card: from `models.weights.load`.
        requested: the target in the user's words, for the records.

    Raises:
        UsageError: the grid makes no sense for the volume, or the model does not do the scale.
        TooLarge: the result is beyond a limit.
    """
    geometry = volume.geometry
    grid = target.grid(geometry.size, geometry.spacing if geometry.known else None)
    check_scale(model, card, grid)
    window = window_for(volume)
    upscaler = Upscaler(model, grid, window, options)
    upscaler.log_plan("planned")
    derivation = Derivation(
        model=card.name,
        weights_id=card.weights_id,
        grid=grid,
        requested=requested,
        intensity=str(window),
        precision=upscaler.precision,
        revision=REVISION,
        training=training_sentence(card),
    )
    return replace(
        volume,
        geometry=geometry.resampled(grid),
        slices=ComputedSlices(volume, upscaler),
        derivation=derivation,
    )


def check_scale(model: SuperResolver, card: Card, grid: Grid) -> None:
    """Refuse a grid whose scales the model is not defined for.

    Raises:
        UsageError: they are not; with what can be asked for instead.
    """
    for axis in (grid.rows, grid.columns):
        scale = float(axis.scale)
        if axis.is_identity and grid.is_identity:
            continue
        if scale < 1 and not model.scales.covers(scale):
            raise UsageError(
                "coarser",
                f"The model {card.name} does not shrink (scale {scale:.4g}).",
                "Use --model bicubic.",
            )


def training_sentence(card: Card) -> str:
    """One sentence on what a network was trained for; empty for an interpolator."""
    training = card.about.get("training")
    if not training:
        return ""
    scales = training["scales"]
    return (
        f"trained on {'/'.join(training['modalities'])} shrunk by {training['degradation']},"
        f" scales {min(scales):g} to {max(scales):g}" + (f", {INVENTED}" if card.perceptual else "")
    )
