"""Volumes from sound stacks of frames: slices decoded when asked for, rescaled one by one, padding marked."""

from __future__ import annotations

import numpy as np

from ...geometry import Geometry
from ...volume import Mask, Modality, Note, Slice, Unit, Volume
from .frames import Frame
from .pixels import Stored, stored_frame
from .series import DicomSeries, Instance


class FrameSlices:
    """The lazy slices of a series; one frame is read and decoded at each access and nothing is kept."""

    def __init__(self, instances: tuple[Instance, ...]) -> None:
        self._instances = instances

    def __len__(self) -> int:
        return len(self._instances)

    def __getitem__(self, k: int, /) -> Slice:
        """Slice `k` in rescaled values.

        Raises:
            InputError: the frame proves damaged, cut short or too large to decode.
        """
        instance = self._instances[k]
        stored = stored_frame(instance.path, instance.layout, instance.frame)
        values = stored.values * np.float64(instance.slope) + instance.intercept
        return Slice(values.astype(np.float32), _padding(stored, instance))


def volume_of(
    frames: tuple[Frame, ...],
    geometry: Geometry,
    modality: Modality,
    source: DicomSeries,
    notes: tuple[Note, ...] = (),
) -> Volume:
    """The volume of sorted `frames`; notes that several frames share are given once."""
    unit: Unit = "HU" if all(frame.hounsfield for frame in frames) else ""
    every = dict.fromkeys((*(note for frame in frames for note in frame.notes), *notes))
    return Volume(geometry, FrameSlices(source.instances), modality, unit, source, tuple(every))


def _padding(stored: Stored, instance: Instance) -> Mask | None:
    """Where the scanner measured nothing: PixelPaddingValue, or from it to PixelPaddingRangeLimit (C.7.5.1.1.2)."""
    if instance.padding is None:
        return None
    low, high = sorted(
        (instance.padding, instance.padding if instance.padding_limit is None else instance.padding_limit)
    )
    mask = (stored.values >= low) & (stored.values <= high)
    if stored.raw is not stored.values:
        # The value may lie outside of BitsStored, where only the whole container holds it.
        mask |= (stored.raw >= low) & (stored.raw <= high)
    return mask if mask.any() else None
