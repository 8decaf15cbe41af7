"""Identifiers that follow from what decides a pixel, and from nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from derived import opened
from pydicom.uid import UID
from scans import dicom_series

from mesr.errors import UnreadableInput
from mesr.io.dicom.identity import IMPLEMENTATION_CLASS_UID, derived_number, identify, is_uid, uid


@pytest.fixture
def series(tmp_path):
    return opened(dicom_series(tmp_path / "source").paths).source


def test_a_uid_is_valid_and_short():
    assert UID(uid("a", "b")).is_valid
    assert len(uid("a", "b")) <= 44
    assert UID(IMPLEMENTATION_CLASS_UID).is_valid


def test_the_same_parts_give_the_same_uid_and_their_borders_count():
    assert uid("ab", "c") == uid("ab", "c")
    assert uid("ab", "c") != uid("a", "bc")


def test_what_is_not_a_uid_is_told_from_what_is():
    assert all(map(is_uid, ("1.2.3", "1.2.03", "1." + "2" * 62)))
    assert not any(map(is_uid, ("", "1.2.", ".1.2", "1..2", "1.2.a", "1.2.3\n", "1." + "2" * 63)))


def test_the_same_job_has_the_same_identity(series):
    assert identify(series, "settings", "encoding") == identify(series, "settings", "encoding")


def test_settings_and_encoding_decide_the_identity(series):
    uids = {
        identify(series, settings, encoding).series_instance_uid
        for settings, encoding in (("a", "b"), ("a", "c"), ("d", "b"), ("ab", ""))
    }
    assert len(uids) == 4


def test_one_changed_pixel_gives_every_slice_another_uid(series, tmp_path):
    def brighten(header, k):
        if k == 2:
            header.PixelData = b"\x01\x02" + header.PixelData[2:]

    other = opened(dicom_series(tmp_path / "other", edit=brighten).paths).source
    mine, theirs = (identify(s, "settings", "encoding") for s in (series, other))
    assert mine.series_instance_uid != theirs.series_instance_uid
    assert not {mine.sop_instance_uid(k) for k in range(5)} & {theirs.sop_instance_uid(k) for k in range(5)}


def test_every_slice_has_a_uid_of_its_own(series):
    identity = identify(series, "settings", "encoding")
    assert len({identity.sop_instance_uid(k) for k in range(1000)} | {identity.series_instance_uid}) == 1001


def test_the_number_is_new_in_the_study():
    assert derived_number(4, frozenset()) == 1004
    assert derived_number(4, frozenset({1004, 2004})) == 3004
    assert derived_number(None, frozenset({1})) == 1000


@pytest.mark.parametrize("number", [-5, 2**31 - 1, 10**11])
def test_a_number_out_of_place_still_gives_a_valid_one(number):
    assert 0 < derived_number(number, frozenset()) < 2**31


@pytest.mark.parametrize("field", ["study_instance_uid", "series_instance_uid", "frame_of_reference_uid"])
def test_a_damaged_uid_that_must_be_kept_is_refused(series, field):
    with pytest.raises(UnreadableInput) as refused:
        identify(replace(series, **{field: "1." + "2" * 70}), "settings", "encoding")
    assert refused.value.code == "damaged-uid"
    assert "222" not in str(refused.value)
