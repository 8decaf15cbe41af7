"""Voxels that are not numbers: NaN and infinity, which float files use for "nothing was measured here".

They must reach neither an interpolation nor a file, so they become padding with a finite value, and are told.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import UnsupportedInput
from ..volume import Note, Slice, Slices, Volume
from .stored import Source


class FiniteSlices:
    """Slices whose non-finite voxels hold `fill` and count as padding."""

    def __init__(self, slices: Slices, fill: float) -> None:
        self._slices = slices
        self._fill = np.float32(fill)

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, k: int, /) -> Slice:
        found = self._slices[k]
        bad = ~np.isfinite(found.values)
        if not bad.any():
            return found
        padding = bad if found.padding is None else found.padding | bad
        return found._replace(values=np.where(bad, self._fill, found.values), padding=padding)


def screen(volume: Volume) -> Volume:
    """`volume`, with any non-finite voxels made padding that holds its lowest finite value, and a note.

    Reads the first slice of every volume, so that a damaged file is refused here, and all slices of one
    whose stored type has such values.

    Raises:
        UnsupportedInput: code `not-finite`, no voxel is finite.
        UnreadableInput: the voxels are truncated or damaged.
    """
    source = volume.source
    if not (isinstance(source, Source) and source.encoding.may_be_not_finite):
        volume.slices[0]
        return volume
    count, lowest = 0, np.inf
    for k in range(len(volume.slices)):
        values = volume.slices[k].values
        finite = np.isfinite(values)
        count += values.size - int(np.count_nonzero(finite))
        lowest = min(lowest, float(np.min(values, where=finite, initial=np.inf)))
    if count == 0:
        return volume
    if not np.isfinite(lowest):
        raise UnsupportedInput("not-finite", "The image holds no finite value, only NaN or infinity.")
    note = Note(
        "not-finite",
        f"{count} voxels are NaN or infinite; they take part in no arithmetic and are written as {lowest:g}.",
    )
    return replace(volume, slices=FiniteSlices(volume.slices, lowest), notes=(*volume.notes, note))
