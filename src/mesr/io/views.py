"""A volume seen another way: holding on to what it is read from, or slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..volume import Slice, Slices, Volume


class KeptSlices:
    """Slices that keep an unpacked archive on disk for as long as they are used."""

    def __init__(self, slices: Slices, keep: object) -> None:
        self._slices = slices
        self._keep = keep

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, k: int, /) -> Slice:
        return self._slices[k]


class OneSlice:
    """Slice `k` of another sequence, alone."""

    def __init__(self, slices: Slices, k: int) -> None:
        self._slices = slices
        self._k = k

    def __len__(self) -> int:
        return 1

    def __getitem__(self, k: int, /) -> Slice:
        if k != 0:
            raise IndexError(k)
        return self._slices[self._k]


def kept(opening: Callable[[], Volume], keep: object) -> Callable[[], Volume]:
    """`opening`, whose volume holds on to `keep`."""
    if not keep:
        return opening
    return lambda: kept_each(lambda: [opening()], keep)[0]


def kept_each(opening: Callable[[], list[Volume]], keep: object) -> list[Volume]:
    """What `opening` gives, each volume holding on to `keep`."""
    volumes = opening()
    return [replace(v, slices=KeptSlices(v.slices, keep)) for v in volumes] if keep else volumes


def one_by_one(volume: Volume) -> list[Volume]:
    """Each slice of `volume` as a volume in its own place."""
    geometry = volume.geometry
    size = (1, *geometry.size[1:])
    places = [geometry.position(k, 0, 0) for k in range(geometry.size[0])]
    return [
        replace(
            volume,
            geometry=replace(geometry, size=size, origin=(float(x), float(y), float(z))),
            slices=OneSlice(volume.slices, k),
        )
        for k, (x, y, z) in enumerate(places)
    ]
