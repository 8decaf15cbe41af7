"""Slices for the screen: read, encoded once, and decoded where and as finely as they are looked at.

Reading has a thread of its own, so that scrolling does not wait for a network; computing has another, so that
the processor's threads are one team. A frame is 16-bit numbers with a slope and an intercept: a browser windows
them without asking again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..device import resolve_device
from ..encoded import EncodedSlice, Region, nearby
from ..errors import TooLarge
from ..grid import Grid, Target
from ..inference import Options, check_scale
from ..intensity import Window, window_for
from ..limits import MAX_FEATURE_BYTES, MAX_PAGE_PIXELS, MAX_SCALE
from ..modality import identified
from ..models import SuperResolver, weights
from ..models.weights import Card
from ..upscaling import apply, chosen
from ..volume import FloatImage, Mask, Note, Slice, Unit, Volume
from .session import Study, gone

PADDING = -32768
"""The number that stands for no measurement."""
FINE = 0.125
"""HU of one step, where all values of a picture lie within ±4,095 HU."""

Result = TypeVar("Result")


class Place(NamedTuple):
    """A slice of a study, and what the user says of its modality."""

    study: Study
    series: int
    modality: str
    k: int

    @property
    def key(self) -> tuple[str, int, str, int]:
        return self.study.id, self.series, self.modality, self.k


class View(NamedTuple):
    """What is looked at: edges in input pixels, 0 and the size being those of the image."""

    top: float
    bottom: float
    left: float
    right: float


@dataclass(frozen=True)
class Frame:
    """A picture for the screen.

    Attributes:
        about: rows, columns; of each plane its name, slope and intercept; where it lies.
        body: the planes one after the other, each (rows, columns) int16, little-endian.
    """

    about: Mapping[str, Any]
    body: bytes


class Live:
    """The slices of one server.

    Args:
        options: how to compute.
        most_bytes: of the features that are kept.
    """

    def __init__(self, options: Options = Options(), most_bytes: int = MAX_FEATURE_BYTES) -> None:  # noqa: B008
        self._options = options
        self._most_bytes = most_bytes
        self._encoded: OrderedDict[tuple[str, int, str, int, str], EncodedSlice] = OrderedDict()
        self._models: dict[str, tuple[SuperResolver, Card]] = {}
        self._choices: dict[tuple[str | None, bool], tuple[str, tuple[Note, ...]]] = {}
        self._windows: dict[tuple[str, int, str], Window] = {}
        self._reading = ThreadPoolExecutor(1, "mesr-read")
        self._computing = ThreadPoolExecutor(1, "mesr-compute")

    async def read(self, work: Callable[[], Result]) -> Result:
        """Do something that reads files."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, work)

    async def compute(self, work: Callable[[], Result]) -> Result:
        """Do something that computes."""
        return await asyncio.get_running_loop().run_in_executor(self._computing, work)

    def source(self, place: Place) -> Frame:
        """The slice as it is.

        Raises:
            UsageError: code `gone`. InputError: it cannot be read. TooLarge: it has too many pixels to show.
        """
        volume, one = self._slice(place)
        _check_size(one.values.shape)
        return _frame({"source": one}, volume.unit, {"top": 0.0, "left": 0.0, "step": [1.0, 1.0]})

    def planned(self, place: Place, target: Target, model: str) -> Volume:
        """The result, of which nothing is computed yet: its geometry, its exact grid, and what to warn of.

        Raises:
            MesrError: what `mesr.job.run` would refuse it with.
        """
        volume, name, reasons = self._chosen(place, target, model)
        result = apply(volume, target, model=self._model(name), options=self._options)
        return replace(result, notes=(*result.notes, *reasons))

    def result(
        self,
        place: Place,
        target: Target,
        model: str,
        view: View,
        *,
        moving: bool = False,
        finest: float = MAX_SCALE,
        difference: bool = False,
    ) -> Frame:
        """What is seen of the slice on a grid.

        Args:
            view: the part of the input that is looked at.
            moving: at the nearest half, without the model's last step; else exactly.
            finest: screen pixels to an input pixel: a moving picture need not be finer than they are.
            difference: also the result less the bicubic interpolation of the input, in the scan's unit.

        Raises:
            MesrError: as `planned`, and where the part has too many pixels to send.
        """
        began = time.perf_counter()
        volume, name, _ = self._chosen(place, target, model)
        grid = _grid(volume, target)
        check_scale(*self._model(name), grid)
        if moving:
            grid = nearby(grid, finest=finest)
        region = Region.over(grid, *view)
        _check_size((region.bottom - region.top, region.right - region.left))
        started = began

        def computed() -> dict[str, Slice]:
            nonlocal started
            encoded = self._encode(place, volume, name)
            started = time.perf_counter()
            seen = encoded.draft(grid, region) if moving else encoded.exact(grid, region)
            if not difference:
                return {"result": seen}
            added = Slice(seen.values - encoded.interpolated(grid, region), seen.padding)
            return {"result": seen, "difference": added}

        planes = self._fitting(computed)
        ended = time.perf_counter()
        about = _place_of(grid, region) | {
            "exact": not moving,
            "scale": [float(grid.rows.scale), float(grid.columns.scale)],
            "milliseconds": {"encode": 1e3 * (started - began), "decode": 1e3 * (ended - started)},
        }
        return _frame(planes, volume.unit, about)

    def forget(self, study: str) -> None:
        """Drop what is kept of a study."""
        # Copies of the keys, since the other thread may be adding some.
        for slice_key in list(self._encoded):
            if slice_key[0] == study:
                self._encoded.pop(slice_key, None)
        for volume_key in list(self._windows):
            if volume_key[0] == study:
                self._windows.pop(volume_key, None)

    def close(self) -> None:
        """End both threads, once what they are doing is done."""
        for pool in (self._reading, self._computing):
            pool.shutdown(cancel_futures=True)
        self._encoded.clear()

    def _model(self, name: str) -> tuple[SuperResolver, Card]:
        if name not in self._models:
            self._models[name] = weights.load(name)
        return self._models[name]

    def _slice(self, place: Place) -> tuple[Volume, Slice]:
        volume = place.study.volume(place.series, place.modality)
        if not 0 <= place.k < len(volume.slices):
            raise gone("slice")
        return volume, volume.slices[place.k]

    def _chosen(self, place: Place, target: Target, model: str) -> tuple[Volume, str, tuple[Note, ...]]:
        """The volume, the name of what is taken for it, and why, where that was chosen here."""
        volume = place.study.volume(place.series, place.modality)
        if model != "auto":
            return volume, model, ()
        grid = _grid(volume, target)
        shrinks = max(grid.rows.step, grid.columns.step) > 1
        volume = identified(volume, place.modality or None, needed=not shrinks)
        key = (volume.modality, shrinks)
        if key not in self._choices:
            self._choices[key] = chosen(volume, shrinks)
        return volume, *self._choices[key]

    def _encode(self, place: Place, volume: Volume, name: str) -> EncodedSlice:
        """The slice's features; those that were not used the longest make room."""
        key = (*place.key, name)
        if key not in self._encoded:
            _, one = self._slice(place)
            _check_size(one.values.shape)
            window = self._window(place, volume)
            self._encoded[key] = EncodedSlice(self._model(name)[0], one, window, volume.unit, self._options)
        self._encoded.move_to_end(key)
        while len(self._encoded) > 1 and self._held() > self._most_bytes:
            self._encoded.popitem(last=False)
        return self._encoded[key]

    def _fitting(self, compute: Callable[[], Result]) -> Result:
        """What is computed; where memory runs out once more without the features of other slices, then on the processor.

        Raises:
            MemoryError: it does not fit there either.
        """
        try:
            return compute()
        except MemoryError:
            self._encoded.clear()
        try:
            return compute()
        except MemoryError:
            if resolve_device(self._options.device).type == "cpu":
                raise
        self._encoded.clear()
        self._options = replace(self._options, device="cpu")  # For the slices after it as well.
        return compute()

    def _window(self, place: Place, volume: Volume) -> Window:
        """The volume's intensity map, for which many slices may have to be read; found once."""
        key = place.key[:3]
        if key not in self._windows:
            self._windows[key] = window_for(volume)
        return self._windows[key]

    def _held(self) -> int:
        return sum(one.bytes for one in self._encoded.values())


def packed(values: FloatImage, padding: Mask | None, unit: Unit) -> tuple[bytes, float, float]:
    """An image as int16, little-endian, with the slope and intercept that give its values back.

    In steps of an eighth of a HU where the values allow it; else the image's range in 65,534 steps.

    Args:
        values: (rows, columns).
        padding: where `PADDING` is put.
    """
    measured = values if padding is None else values[~padding]
    low, high = (float(measured.min()), float(measured.max())) if measured.size else (0.0, 0.0)
    if unit == "HU" and low >= -4095 and high <= 4095:
        slope, intercept = FINE, 0.0
    else:
        slope, intercept = max((high - low) / 65_534, 1e-30), (low + high) / 2
    # In place, since a picture has millions of pixels and a slider does not wait.
    stored = values - np.float32(intercept)
    stored *= np.float32(1 / slope)
    np.rint(stored, out=stored)
    np.clip(stored, -32_767, 32_767, out=stored)
    packs = stored.astype("<i2")
    if padding is not None:
        packs[padding] = PADDING
    return packs.tobytes(), slope, intercept


def _frame(planes: Mapping[str, Slice], unit: Unit, about: Mapping[str, Any]) -> Frame:
    packs = {name: packed(one.values, one.padding, unit) for name, one in planes.items()}
    rows, columns = next(iter(planes.values())).values.shape
    named = [{"name": name, "slope": pack[1], "intercept": pack[2]} for name, pack in packs.items()]
    return Frame(
        {"rows": rows, "columns": columns, "planes": named, **about}, b"".join(p[0] for p in packs.values())
    )


def _place_of(grid: Grid, region: Region) -> dict[str, Any]:
    """Where a part lies: the input coordinate of its first pixel's centre, and input pixels from one to the next."""
    return {
        "top": float(grid.rows.coordinate(region.top)),
        "left": float(grid.columns.coordinate(region.left)),
        "step": [float(grid.rows.step), float(grid.columns.step)],
    }


def _grid(volume: Volume, target: Target) -> Grid:
    geometry = volume.geometry
    return target.grid(geometry.size, geometry.spacing if geometry.known else None)


def _check_size(shape: tuple[int, ...]) -> None:
    if shape[0] * shape[1] > MAX_PAGE_PIXELS:
        raise TooLarge(
            "too-large-to-show",
            f"A picture of {shape[1]}×{shape[0]} pixels is larger than the page shows.",
            "Zoom in, or ask for the file without looking at it first.",
        )
