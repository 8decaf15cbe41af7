"""Whether a scan is CT or MR: what its file says, else what the user says, else what its values plainly are.

The modality decides the intensity map, so it is settled in one place, before a network is used, trained or measured.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .errors import UsageError
from .intensity import AIR_HU, IMPOSSIBLE_HU
from .volume import Modality, Note, Volume

AIR_SHARE = SOFT_SHARE = 0.02
"""The least share of voxels in −1100…−900 and in −200…200 that makes whole numbers plainly HU."""


def identified(volume: Volume, modality: str | None, *, needed: bool = True) -> Volume:
    """`volume` with its modality and unit settled; a note where they were taken from the values.

    Args:
        volume: as read.
        modality: what the user says, in any case; None where nothing was said.
        needed: whether a modality must be known in the end.

    Raises:
        UsageError: codes `modality` (not CT or MR, or not what the file says) and `modality-needed`.
    """
    said = None if modality is None else modality_of(modality)
    if volume.modality is not None:
        if said is not None and said != volume.modality:
            raise UsageError(
                "modality",
                f"The file says that it is {volume.modality}, and {said} was given.",
                "Leave the modality out for it.",
            )
        return volume
    if said is None and volume.unit == "HU":
        said = "CT"
    if said is not None:
        return replace(volume, modality=said, unit="HU" if said == "CT" else "")
    if not needed:
        return volume
    if not plainly_hu(volume):
        raise UsageError(
            "modality-needed",
            "The file does not say whether it is CT or MR, and its values are not plainly HU.",
            "Say it with --modality ct (values in HU) or --modality mr.",
        )
    note = Note(
        "taken-as-ct", "The file does not say its modality; its values are plainly HU, so CT was taken."
    )
    return replace(volume, modality="CT", unit="HU", notes=(*volume.notes, note))


def modality_of(text: str) -> Modality:
    """`"CT"` or `"MR"`, from what a user writes.

    Raises:
        UsageError: it is neither.
    """
    match text.strip().upper():
        case "CT":
            return "CT"
        case "MR":
            return "MR"
    raise UsageError("modality", f"The modality is ct or mr, found {text[:20]!r}.")


def plainly_hu(volume: Volume, slices: int = 8) -> bool:
    """Whether nobody would doubt that the values are HU, judged by at most `slices` slices, evenly spread.

    They are when all are whole, none but padding (below −2000) is under −1100, at least 2 % are air
    (−1100…−900) and at least 2 % soft tissue (−200…200). Stored CT numbers that still lack their
    intercept have no negative values, and MR has none either.
    """
    count = len(volume.slices)
    places = np.unique(np.linspace(0, count - 1, min(count, slices)).round().astype(int))
    values = np.concatenate([volume.slices[int(k)].values.ravel() for k in places])
    values = values[values > IMPOSSIBLE_HU]
    if not values.size or values.min() < AIR_HU - 76 or (np.rint(values) != values).any():
        return False
    air = np.count_nonzero(values < -900) / values.size
    soft = np.count_nonzero(np.abs(values) <= 200) / values.size
    return bool(air >= AIR_SHARE and soft >= SOFT_SHARE)
