"""The body in a whole scan: no couch, no sheets, but lungs and bowel gas."""

from __future__ import annotations

import numpy as np
import phantoms
import pytest

pytest.importorskip("SimpleITK", reason="needs SimpleITK")

from mesr.body import body_mask, overlap
from mesr.errors import InputError


def test_gas_inside_belongs_to_the_body_and_the_couch_does_not() -> None:
    values, place = phantoms.body(0, couch=True)
    alone, _ = phantoms.body(0)
    mask = body_mask(values, place)
    assert not mask[:, -9:].any()
    tissue = alone > -500
    assert (mask & tissue).sum() > 0.99 * tissue.sum()
    gas = np.zeros_like(tissue)
    gas[:, 2:-2, 2:-2] = (alone == -800)[:, 2:-2, 2:-2]
    assert gas.any()
    assert (mask & gas).sum() > 0.9 * gas.sum()


def test_a_cbct_with_another_zero_and_gain_has_the_same_body() -> None:
    values, place = phantoms.body(1)
    noise = np.random.default_rng(0).normal(0, 60, values.shape).astype(np.float32)
    other = body_mask(0.6 * values + 900 + noise, place, calibrated=False)
    assert overlap(body_mask(values, place), other) > 0.97


def test_a_rim_of_air_is_taken_in_when_asked_for() -> None:
    values, place = phantoms.body(0)
    narrow, wide = body_mask(values, place), body_mask(values, place, rim_mm=9.0)
    assert (wide | narrow).sum() == wide.sum()
    assert wide.sum() > 1.05 * narrow.sum()


def test_voxels_that_no_block_divides_evenly_are_all_decided() -> None:
    place = phantoms.geometry((5, 71, 83), 1.3)
    values = np.full(place.size, -1000, np.float32)
    values[:, 20:50, 20:60] = 0
    mask = body_mask(values, place)
    assert mask.shape == values.shape
    assert overlap(mask, values > -500) > 0.9


@pytest.mark.parametrize("value", [-1000.0, 40.0])
def test_a_scan_without_a_body_is_refused(value: float) -> None:
    place = phantoms.geometry((4, 30, 30))
    with pytest.raises(InputError, match="A body") as caught:
        body_mask(np.full(place.size, value, np.float32), place)
    assert caught.value.code == "no-body"


def test_overlap_is_dice_s() -> None:
    one, two = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert overlap(one, two) == pytest.approx(0.5)
    assert overlap(one, one) == 1.0
    assert overlap(one & two & ~one, one & ~one) == 0.0


def test_a_scan_of_one_value_has_no_body() -> None:
    values, place = phantoms.body(0)
    with pytest.raises(InputError) as refused:
        body_mask(np.full_like(values, 100), place, calibrated=False)
    assert refused.value.code == "no-body"
