"""Training set to batches: a batch is a pure function of the set, the settings, the seed and the step.

So a run that was killed goes on exactly where it was, and two machines see the same batches. Patches are
cut from the high-resolution side with a margin, degraded, and only their inner part is kept, so that no
kernel is ever renormalised at a patch's edge (`protocol.md`, Low-resolution images).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .degrade import recipe
from .errors import InputError, UsageError
from .grid import Axis, Grid, fraction, reference_crop, round_half_up

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class TrainingSlice:
    """One prepared slice.

    Attributes:
        values: (H, W) int16 or float32 as stored, in the scan's own unit; kept as stored to save memory.
        low, high: its intensity window, mapped to 0…1.
        site: body region, or "all".
        series: position of its series in the set, which balances the sampling.
        modality: "CT" or "MR".
        name: for logs, without patient data.
    """

    values: npt.NDArray[Any]
    low: float
    high: float
    site: str
    series: int
    modality: str
    name: str

    def patch(self, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        """A part of it as float32 in the network's range."""
        part = self.values[rows, columns].astype(np.float32)
        return (part - np.float32(self.low)) * np.float32(1.0 / (self.high - self.low))


@dataclass
class SamplingConfig:
    """How batches are drawn.

    Attributes:
        patch: low-resolution pixels along a side.
        batch: patches a batch, all of one scale.
        scales: a list to draw from, or empty for continuous scales.
        low, high: the continuous range, (low, high].
        spread: "uniform" draws every continuous scale alike; "log" every ratio, so that small scales, which are
            the harder to improve on, come up more often.
        anisotropic: share of the batches whose rows and columns get scales of their own.
        degradation: name of the recipe (`degrade`).
        candidates: places looked at for every patch; the one with the most detail is taken.
        modalities: what to train on.
        sites: body regions to train on; empty for all.
        series: series ids to train on; empty for all.
        seed: decides every draw.
    """

    patch: int = 48
    batch: int = 8
    scales: list[float] = field(default_factory=list)
    low: float = 1.0
    high: float = 4.0
    spread: Literal["uniform", "log"] = "uniform"
    anisotropic: float = 0.25
    degradation: str = "bicubic"
    candidates: int = 1
    modalities: list[str] = field(default_factory=lambda: ["CT"])
    sites: list[str] = field(default_factory=list)
    series: list[str] = field(default_factory=list)
    seed: int = 0


class Batch(NamedTuple):
    """(N, 1, p, p) low resolution, (N, 1, P, P′) reference, float32, and the grid from one to the other."""

    lr: Tensor
    hr: Tensor
    grid: Grid


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of a prepared set.

    Raises:
        InputError: there is none, or of another format.
    """
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(
            "no-training-set",
            "The folder is no training set of this version.",
            "Make one with: mesr prepare SCANS -o FOLDER",
            root,
        )
    return manifest


def load_slices(
    root: Path,
    split: str,
    modalities: Sequence[str],
    sites: Sequence[str] = (),
    series: Sequence[str] = (),
) -> list[TrainingSlice]:
    """The slices of one split, in memory as stored.

    Raises:
        InputError: no set, or none of its slices is asked for.
    """
    found = []
    for number, one in enumerate(read_manifest(root)["series"]):
        if one["split"] != split or one["modality"] not in modalities or (series and one["id"] not in series):
            continue
        low, high = one["window"]
        for entry in one["slices"]:
            if sites and entry["site"] not in sites:
                continue
            values = np.load(root / entry["file"], allow_pickle=False)
            found.append(
                TrainingSlice(values, low, high, entry["site"], number, one["modality"], entry["file"])
            )
    if not found:
        raise InputError(
            "empty-training-set",
            f"The training set holds no {'/'.join(modalities)} slice of split {split!r}.",
        )
    return found


class PatchSampler:
    """Draws batches from slices in memory.

    Args:
        slices: of one split; those too small for the largest patch with its margin are left out.
        config: how to draw.

    Raises:
        InputError: no slice is large enough.
    """

    def __init__(self, slices: Sequence[TrainingSlice], config: SamplingConfig) -> None:
        if not config.scales and not 1.0 <= config.low < config.high:
            raise UsageError(
                "scales", f"Continuous scales need 1 ≤ low < high, found {config.low} … {config.high}."
            )
        self.config = config
        self.degrade = recipe(config.degradation)
        largest = max(config.scales) if config.scales else config.high
        side = round_half_up(config.patch * fraction(largest)) + 2 * margin(fraction(largest))
        self.slices = [one for one in slices if min(one.values.shape) >= side]
        if not self.slices:
            raise InputError(
                "small-slices",
                f"No training slice is {side} pixels wide, which patch {config.patch} at scale {largest:g} needs.",
                "Use a smaller patch or smaller scales.",
            )
        numbers = np.array([one.series for one in self.slices])
        counts = np.bincount(numbers)
        # Between a slice a vote and a series a vote: long scans count more, not all.
        weights = 1.0 / np.sqrt(counts[numbers])
        self.chances = np.cumsum(weights / weights.sum())

    def batch(self, step: int) -> Batch:
        """Batch number `step`, always the same one."""
        chance = np.random.default_rng([self.config.seed, step])
        rows, columns = self._axes(chance)
        edge_y, edge_x = margin(rows.scale), margin(columns.scale)
        height, width = rows.size_out + 2 * edge_y, columns.size_out + 2 * edge_x
        wide = torch.empty(self.config.batch, 1, height, width)
        for n in range(self.config.batch):
            one = self.slices[min(int(np.searchsorted(self.chances, chance.random())), len(self.slices) - 1)]
            wide[n, 0] = torch.from_numpy(self._patch(one, height, width, chance))
        lr = self.degrade(wide, shrinking(rows, edge_y), shrinking(columns, edge_x))
        hr = wide[..., edge_y : height - edge_y, edge_x : width - edge_x].contiguous()
        return Batch(lr, hr, Grid.plane(rows, columns))

    def _axes(self, chance: np.random.Generator) -> tuple[Axis, Axis]:
        first, second = self._scale(chance), self._scale(chance)
        if chance.random() >= self.config.anisotropic:
            second = first
        patch = self.config.patch
        return Axis.scaled(patch, first), Axis.scaled(patch, second)

    def _scale(self, chance: np.random.Generator) -> Fraction:
        if self.config.scales:
            return fraction(float(chance.choice(self.config.scales)))
        # 1 − random() lies in (0, 1]: the range is open below and closed above.
        low, high, share = self.config.low, self.config.high, 1.0 - chance.random()
        log = self.config.spread == "log"
        return Fraction(low * (high / low) ** share if log else low + (high - low) * share)

    def _patch(
        self, one: TrainingSlice, height: int, width: int, chance: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        turned = bool(chance.random() < 0.5)
        h, w = (width, height) if turned else (height, width)
        rows, columns = one.values.shape
        best, most = None, -1.0
        for _ in range(self.config.candidates):
            top, left = int(chance.integers(rows - h + 1)), int(chance.integers(columns - w + 1))
            patch = one.patch(slice(top, top + h), slice(left, left + w))
            detail = float(np.abs(np.diff(patch[::4], axis=1)).mean()) if self.config.candidates > 1 else 0.0
            if detail > most:
                best, most = patch, detail
        assert best is not None
        if turned:
            best = best.T
        if chance.random() < 0.5:
            best = best[::-1]
        if chance.random() < 0.5:
            best = best[:, ::-1]
        return np.ascontiguousarray(best)


def margin(scale: Fraction) -> int:
    """Reference pixels around a patch that its degraded form depends on: at least 4·s."""
    return -int(-4 * scale // 1)


def shrinking(axis: Axis, edge: int) -> Axis:
    """The axis that makes `axis.size_in` pixels from the `axis.size_out` reference ones and `edge` more each side."""
    step = 1 / axis.step
    start = edge + (step - 1) / 2
    size = axis.size_out + 2 * edge
    return Axis(size, axis.size_in, step, start, Fraction(size - 1, 2))


def reference_pair(
    hr: Tensor, scale: Fraction | tuple[Fraction, Fraction], degradation: str = "bicubic"
) -> Batch:
    """A whole slice cut to a size that `scale` divides, and its degraded form (`grid.reference_crop`).

    Args:
        hr: (N, 1, H, W).
        scale: one for both axes, or one for the rows and one for the columns.

    Returns:
        The cut reference is taken from the middle; the grid's effective scale is crop / n per axis.
    """
    cuts = []
    axes = []
    scales = scale if isinstance(scale, tuple) else (scale, scale)
    for size, along in zip(hr.shape[2:], scales, strict=True):
        count, kept = reference_crop(size, along)
        first = (size - kept) // 2
        cuts.append(slice(first, first + kept))
        axes.append(Axis.sized(count, kept))
    cut = hr[..., cuts[0], cuts[1]].contiguous()
    rows, columns = axes
    lr = recipe(degradation)(cut, shrinking(rows, 0), shrinking(columns, 0))
    return Batch(lr, cut, Grid.plane(rows, columns))
