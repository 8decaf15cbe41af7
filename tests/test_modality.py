"""The modality is what the file says, what the user says, or what the values plainly are."""

from __future__ import annotations

import numpy as np
import pytest
from volumes import head, scan_of

from mesr.errors import UsageError
from mesr.modality import identified, plainly_hu


def test_whole_numbers_with_air_and_soft_tissue_are_plainly_hu() -> None:
    assert plainly_hu(scan_of(head()))


@pytest.mark.parametrize(
    "change",
    [
        lambda hu: hu + 1024,
        lambda hu: hu / 1024,
        lambda hu: hu + 0.25,
        lambda hu: np.where(hu < 0, -800, hu),
        lambda hu: np.where(hu > -500, 1500, hu),
        lambda hu: 2 * hu,
        np.zeros_like,
        lambda hu: np.full_like(hu, -3024),
    ],
    ids=["stored", "scaled", "fractions", "no-air", "no-tissue", "below-air", "zero", "padding"],
)
def test_anything_less_is_not_plainly_hu(change: object) -> None:
    assert not plainly_hu(scan_of(change(head())))  # type: ignore[operator]


def test_undeclared_padding_does_not_hide_that_values_are_hu() -> None:
    values = head()
    values[:, :3] = -3024
    assert plainly_hu(scan_of(values))


def test_plain_hu_are_taken_as_ct_and_that_is_told() -> None:
    volume = identified(scan_of(head()), None)
    assert (volume.modality, volume.unit) == ("CT", "HU")
    assert [note.code for note in volume.notes] == ["taken-as-ct"]


def test_a_file_that_does_not_say_needs_a_modality() -> None:
    with pytest.raises(UsageError) as raised:
        identified(scan_of(head() + 1024), None)
    assert raised.value.code == "modality-needed"
    assert identified(scan_of(head() + 1024), "mr").modality == "MR"
    assert identified(scan_of(head() + 1024), "mr").unit == ""
    assert identified(scan_of(head() + 1024), "CT").unit == "HU"


def test_a_modality_against_the_file_is_refused() -> None:
    with pytest.raises(UsageError, match="MR"):
        identified(scan_of(head(), modality="MR"), "ct")
