"""Patches from slices, batch by batch: a batch is a pure function of the set, the settings, the seed and the step.

So a run that was killed goes on exactly where it was, and two machines see the same batches. Patches are
cut from the high-resolution side with a margin, degraded, and only their inner part is kept, so that no
kernel is ever renormalised at a patch's edge (`protocol.md`, Low-resolution images).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .data import Batch, TrainingSlice
from .degrade import recipe
from .errors import InputError, UsageError
from .even import even_ground
from .grid import Axis, Grid, fraction
from .patches import Place, margin, moved, shrinking, softened
from .resample import resize


@dataclass
class SamplingConfig:
    """How batches are drawn.

    Attributes:
        patch: low-resolution pixels along a side.
        batch: patches a batch, all of one scale.
        scales: a list to draw from, or empty for continuous scales.
        continuous: share of the draws that are from the continuous range though there is a list.
        low, high: the continuous range, (low, high].
        spread: "uniform" draws every continuous scale alike; "log" every ratio, so that small scales, which are
            the harder to improve on, come up more often.
        anisotropic: share of the batches whose rows and columns get scales of their own.
        coarser: the reference of half the batches is itself a slice shrunk, by a factor between 1 and this one: what
            a scan of larger pixels would show, whose edges are sharper and whose noise is less. 1 for never. A slice
            is shrunk no further than its size leaves for the patch.
        kernels: every reference is made sharper or softer by a factor of its own, as by another reconstruction
            kernel: the finest detail (what a Gaussian of one pixel takes off) is scaled by 1 − kernels to 1 + kernels.
        even: share of the patches that are edges on even ground (`even.even_ground`) instead of parts of scans.
        balance: of long series against short ones: 0 draws every slice alike, 1 every series.
        degradation: a recipe of `degrade`, such as `bicubic` or `noise:sigma=0.01`.
        candidates: places looked at for every patch; the one with the most detail is taken.
        modalities: what to train on.
        sites: body regions to train on; empty for all.
        series: series ids to train on; empty for all.
        seed: decides every draw.
    """

    patch: int = 48
    batch: int = 8
    scales: list[float] = field(default_factory=list)
    continuous: float = 0.0
    low: float = 1.0
    high: float = 4.0
    spread: Literal["uniform", "log"] = "uniform"
    anisotropic: float = 0.25
    coarser: float = 1.0
    kernels: float = 0.0
    even: float = 0.0
    balance: float = 0.5
    degradation: str = "bicubic"
    candidates: int = 1
    modalities: list[str] = field(default_factory=lambda: ["CT"])
    sites: list[str] = field(default_factory=list)
    series: list[str] = field(default_factory=list)
    seed: int = 0


class PatchSampler:
    """Draws batches from slices in memory.

    Args:
        slices: of one split; those too small for the largest patch with its margin are left out.
        config: how to draw.

    Raises:
        UsageError: the scales make no sense, or the degradation is none that patches can be made with.
        InputError: no slice is large enough.
    """

    def __init__(self, slices: Sequence[TrainingSlice], config: SamplingConfig) -> None:
        if (config.continuous or not config.scales) and not 1.0 <= config.low < config.high:
            raise UsageError(
                "scales", f"Continuous scales need 1 ≤ low < high, found {config.low} … {config.high}."
            )
        self.config = config
        self.recipe = recipe(config.degradation)
        if self.recipe.scans:
            raise UsageError(
                "degradation",
                f"The degradation {self.recipe.name} scans whole slices; patches cannot be made with it.",
                "Simulate the scans once and train on the pairs: mesr prepare-pairs --simulate.",
            )
        if self.recipe.whole and (config.coarser > 1.0 or config.kernels):
            raise UsageError(
                "whole-slices",
                f"The degradation {self.recipe.name} is made from whole slices as they are:"
                " sampling.coarser must be 1 and sampling.kernels 0.",
            )
        if config.even and (self.recipe.whole or any(one.paired is not None for one in slices)):
            raise UsageError(
                "even-ground",
                "Edges on even ground are shrunk by themselves: sampling.even must be 0 with pairs and with"
                f" degradations made from whole slices, found {config.even:g}.",
            )
        largest = max([*config.scales, *([config.high] if config.continuous or not config.scales else [])])
        axis = Axis.scaled(
            config.patch, fraction(largest)
        )  # Whole pixels may make a scale larger than it was asked for.
        side = axis.size_out + 2 * self._margin(axis.scale)
        self.slices = [one for one in slices if min(one.values.shape) >= side]
        if not self.slices:
            raise InputError(
                "small-slices",
                f"No training slice is {side} pixels wide, which patch {config.patch} at scale {largest:g} needs.",
                "Use a smaller patch or smaller scales.",
            )
        self.paired = any(one.paired is not None for one in self.slices)
        if self.paired and config.kernels:
            raise UsageError(
                "paired-kernels",
                "A set of pairs shows both scanners as they are: sampling.kernels must be 0 with it,"
                f" found {config.kernels:g}.",
            )
        numbers = np.array([one.series for one in self.slices])
        counts = np.bincount(numbers)
        weights = counts[numbers].astype(np.float64) ** -config.balance
        self.chances = np.cumsum(weights / weights.sum())

    def batch(self, step: int) -> Batch:
        """Batch number `step`, always the same one."""
        chance = np.random.default_rng([self.config.seed, step])
        rows, columns = self._axes(chance)
        edge_y, edge_x = self._margin(rows.scale), self._margin(columns.scale)
        height, width = rows.size_out + 2 * edge_y, columns.size_out + 2 * edge_x
        coarser = self._coarser(chance)
        chosen: list[tuple[TrainingSlice, Place]] = []
        wide = torch.empty(self.config.batch, 1, height, width)
        source = torch.empty_like(wide) if self.paired else wide
        for n in range(self.config.batch):
            one = self.slices[min(int(np.searchsorted(self.chances, chance.random())), len(self.slices) - 1)]
            factor = min(coarser, min(one.values.shape) / max(height, width))
            place = self._place(one, int(height * factor), int(width * factor), chance)
            wide[n, 0] = _cut(one.patch(place.rows, place.columns), place, height, width)
            if self.paired:
                source[n, 0] = _cut(one.source(place.rows, place.columns), place, height, width)
            if self.config.kernels:
                sharper = self.config.kernels * (2.0 * chance.random() - 1.0)
                wide[n, 0] += sharper * (wide[n, 0] - softened(wide[n, 0]))
            chosen.append((one, place))
        # Streams of their own, so that the same patches are cut whatever is done to them.
        even = np.random.default_rng([self.config.seed, step, 2])
        for number in np.flatnonzero(even.random(self.config.batch) < self.config.even):
            wide[number, 0] = torch.from_numpy(even_ground(height, width, even))
        noise = np.random.default_rng([self.config.seed, step, 1])
        small = shrinking(rows, edge_y), shrinking(columns, edge_x)
        if self.recipe.whole:
            lr = torch.stack([self._from_whole(*one, *small, noise) for one in chosen])[:, None]
        else:
            lr = self.recipe.shrink(source, *small, noise)
        hr = wide[..., edge_y : height - edge_y, edge_x : width - edge_x].contiguous()
        return Batch(lr, hr, Grid.plane(rows, columns))

    def _axes(self, chance: np.random.Generator) -> tuple[Axis, Axis]:
        first, second = self._scale(chance), self._scale(chance)
        if chance.random() >= self.config.anisotropic:
            second = first
        patch = self.config.patch
        return Axis.scaled(patch, first), Axis.scaled(patch, second)

    def _scale(self, chance: np.random.Generator) -> Fraction:
        listed = bool(self.config.scales)
        if listed and self.config.continuous:
            listed = chance.random() >= self.config.continuous
        if listed:
            return fraction(float(chance.choice(self.config.scales)))
        # 1 − random() lies in (0, 1]: the range is open below and closed above.
        low, high, share = self.config.low, self.config.high, 1.0 - chance.random()
        log = self.config.spread == "log"
        return Fraction(low * (high / low) ** share if log else low + (high - low) * share)

    def _coarser(self, chance: np.random.Generator) -> float:
        """How much larger than the slices' own the reference pixels of a batch are."""
        if self.config.coarser == 1.0 or chance.random() < 0.5:
            return 1.0
        return float(self.config.coarser ** chance.random())

    def _place(self, one: TrainingSlice, height: int, width: int, chance: np.random.Generator) -> Place:
        turned = bool(chance.random() < 0.5)
        h, w = (width, height) if turned else (height, width)
        rows, columns = one.values.shape
        best, most = (slice(0, h), slice(0, w)), -1.0
        for _ in range(self.config.candidates):
            top, left = int(chance.integers(rows - h + 1)), int(chance.integers(columns - w + 1))
            here = slice(top, top + h), slice(left, left + w)
            detail = 0.0
            if self.config.candidates > 1:
                detail = float(np.abs(np.diff(one.patch(*here)[::4], axis=1)).mean())
            if detail > most:
                best, most = here, detail
        upside_down, mirrored = chance.random() < 0.5, chance.random() < 0.5
        return Place(*best, turned, upside_down, mirrored)

    def _from_whole(
        self, one: TrainingSlice, place: Place, rows: Axis, columns: Axis, noise: np.random.Generator
    ) -> Tensor:
        """The low-resolution patch of one place, made from the whole slice: (p, p)."""
        image = torch.from_numpy(one.source(slice(None), slice(None)))
        if place.turned:
            rows, columns = columns, rows
        down = moved(rows, place.rows.start, image.shape[0])
        across = moved(columns, place.columns.start, image.shape[1])
        return place.oriented(self.recipe.shrink(image, down, across, noise))

    def _margin(self, scale: Fraction) -> int:
        return margin(scale, self.recipe.reach)


def _cut(part: npt.NDArray[np.float32], place: Place, height: int, width: int) -> Tensor:
    """A part of a slice as the batch shows it, shrunk to (height, width) where it is larger."""
    patch = place.oriented(torch.from_numpy(part))
    if patch.shape == (height, width):
        return patch
    rows, columns = Axis.sized(patch.shape[0], height), Axis.sized(patch.shape[1], width)
    return resize(patch, rows, columns, "bicubic")
