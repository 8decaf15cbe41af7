"""Stored numbers: what range and step are chosen, and what becomes of each value."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mesr.errors import OutputError, UnsupportedInput
from mesr.io.dicom.encoding import Encoding, choose, ds
from mesr.volume import Slice


def instance(slope=1.0, intercept=-1024.0, signed=False, bits_stored=12, padding=None):
    return SimpleNamespace(
        slope=slope, intercept=intercept, signed=signed, bits_stored=bits_stored, padding=padding
    )


def headers_decide() -> tuple[float, float]:
    pytest.fail("the slices were read")


def values(*numbers: float) -> np.ndarray:
    return np.array([numbers], dtype=np.float32)


def test_ct_is_stored_signed_with_its_own_slope_and_intercept():
    encoding = choose([instance()], "CT", headers_decide)
    assert encoding == Encoding(True, 1.0, -1024.0)
    assert encoding.range_text == "-33792 to 31743"


def test_ct_that_reaches_down_by_its_intercept_stays_unsigned():
    assert choose([instance(intercept=-8192.0, bits_stored=16)], "CT", headers_decide) == Encoding(
        False, 1.0, -8192.0
    )


def test_ct_whose_padding_no_signed_number_holds_stays_unsigned():
    encoding = choose([instance(padding=63536, bits_stored=16)], "CT", headers_decide)
    assert not encoding.signed
    assert encoding.padding(instance(padding=63536)) == 63536


@pytest.mark.parametrize(("highest", "signed"), [(3071.9375 - 2048.0, True), (3071.9375, False)])
def test_ct_that_uses_its_sixteenth_bit_stays_unsigned(highest: float, signed: bool) -> None:
    source = instance(slope=0.0625, bits_stored=16)
    encoding = choose([source], "CT", lambda: (-1024.0, highest))
    assert encoding == Encoding(signed, 0.0625, -1024.0)
    assert encoding.store(Slice(values(-1024.0, highest)), None).clipped == 0


def test_more_than_sixteen_bits_are_kept_where_sixteen_hold_what_occurs_and_else_as_fine_as_they_can() -> (
    None
):
    source = instance(slope=0.01, intercept=0.0, bits_stored=32)
    assert choose([source], "MR", lambda: (0.0, 650.0)) == Encoding(False, 0.01, 0.0)
    encoding = choose([source], "MR", lambda: (0.0, 2000.0))
    assert encoding.slope == pytest.approx(2200 / 65535, rel=1e-6)
    ends = values(-99.0, 0.0, 2000.0, 2099.0)
    stored = encoding.store(Slice(ends), None)
    assert stored.clipped == 0
    found = stored.pixels * encoding.slope + encoding.intercept
    assert np.abs(found - ends).max() <= 0.501 * encoding.slope


@pytest.mark.parametrize("signed", [True, False])
def test_mr_keeps_its_sign(signed):
    assert choose([instance(signed=signed, intercept=0.0)], "MR", headers_decide) == Encoding(
        signed, 1.0, 0.0
    )


def test_differing_slopes_become_the_finest_where_all_numbers_fit():
    sources = [instance(slope, 0.0) for slope in (0.25, 1.0, 2.0)]
    encoding = choose(sources, "MR", headers_decide)
    assert encoding == Encoding(False, 0.25, 0.0)
    for source in sources:
        whole = np.arange(0, 4096, 5, dtype=np.float32)[None] * source.slope
        stored = encoding.store(Slice(whole), None)
        assert stored.clipped == 0
        np.testing.assert_array_equal(stored.pixels * encoding.slope + encoding.intercept, whole)


def test_slopes_too_far_apart_share_the_finest_step_that_spans_them():
    sources = [instance(0.001, 0.0), instance(1.0, -7.0, padding=-9)]
    encoding = choose(sources, "MR", headers_decide)
    ends = values(0.0, 4.095, -7.0, 4088.0, -16.0)
    stored = encoding.store(Slice(ends), None)
    assert stored.clipped == 0
    assert encoding.slope < 1.001 * (4088 + 16) / 65535
    assert np.abs(stored.pixels * encoding.slope + encoding.intercept - ends).max() <= 0.5001 * encoding.slope


def test_values_are_rounded_to_the_nearest_stored_number():
    encoding = Encoding(True, 0.1, -3.0)
    wanted = np.linspace(-3200, 3200, 9973, dtype=np.float32)[None]
    stored = encoding.store(Slice(wanted), None)
    found = stored.pixels * 0.1 - 3.0
    assert np.abs(found - wanted).max() <= 0.5001 * 0.1


def test_values_out_of_range_are_clipped_and_counted():
    stored = Encoding(True, 1.0, -1024.0).store(
        Slice(values(-40000, -33793, -33792, 0, 31743.4, 31744)), None
    )
    assert stored.clipped == 3
    assert stored.pixels.tolist() == [[-32768, -32768, -32768, 1024, 32767, 32767]]


def test_a_slice_of_many_bands_is_stored_whole():
    wanted = np.arange(3000 * 700, dtype=np.float32).reshape(3000, 700) % 4000
    np.testing.assert_array_equal(Encoding(True, 1.0, 0.0).store(Slice(wanted), None).pixels, wanted)


def test_padding_gets_its_number_back_and_is_never_counted():
    mask = np.array([[True, False, True]])
    image = Slice(values(np.nan, 7.0, 1e9), mask)
    stored = Encoding(True, 1.0, 0.0).store(image, -1500)
    assert stored.pixels.tolist() == [[-1500, 7, -1500]]
    assert stored.clipped == 0


def test_padding_keeps_its_value_under_another_slope():
    source = instance(2.0, 10.0, padding=-100)
    encoding = Encoding(True, 0.5, 0.0)
    assert encoding.padding(source) * 0.5 == 2.0 * -100 + 10.0
    assert encoding.padding(instance()) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_refused(bad):
    with pytest.raises(OutputError, match="finite"):
        Encoding(True, 1.0, 0.0).store(Slice(values(1.0, bad)), None)


@pytest.mark.parametrize("rescale", [{"slope": 0.0}, {"slope": float("nan")}, {"intercept": float("inf")}])
def test_a_rescale_that_cannot_be_inverted_is_refused(rescale):
    with pytest.raises(UnsupportedInput, match="rescale"):
        choose([instance(**rescale)], "CT", headers_decide)


@pytest.mark.parametrize("value", [0.0, -1024.0, 1 / 3, -2e-7 / 3, -123456.123456789, 1e20 / 3])
def test_a_decimal_string_is_short_and_close(value):
    assert len(ds(value)) <= 16
    assert float(ds(value)) == pytest.approx(value, rel=1e-9)


def test_the_slope_is_what_a_reader_of_its_text_gets():
    encoding = choose([instance(slope=0.123456789012345678)], "MR", headers_decide)
    assert encoding.slope == float(ds(encoding.slope))
