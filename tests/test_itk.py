"""The bridge to SimpleITK: the same places on both sides."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import volumes

pytest.importorskip("SimpleITK", reason="needs SimpleITK")

from mesr import itk
from mesr.errors import MissingExtra
from mesr.geometry import Geometry

PLACES = [volumes.upright(), volumes.oblique(), volumes.sheared()]
NAMES = ["upright", "oblique", "sheared"]


@pytest.mark.parametrize("place", PLACES, ids=NAMES)
def test_every_voxel_is_where_it_was(place: Geometry) -> None:
    values = volumes.counted(place.size)
    image = itk.image(values, place)
    np.testing.assert_array_equal(itk.array(image), values)
    for k, i, j in ((0, 0, 0), (3, 4, 5), (1, 3, 2)):
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((j, i, k)), place.position(k, i, j))


@pytest.mark.parametrize("place", PLACES, ids=NAMES)
def test_an_image_laid_over_itself_is_itself(place: Geometry) -> None:
    values = volumes.counted(place.size)
    still = itk.simpleitk().Transform()
    np.testing.assert_allclose(itk.onto(place, itk.image(values, place), still, -1.0), values, atol=0.01)
    mask = values % 2 == 0
    assert np.array_equal(itk.mask_onto(place, itk.image(mask, place), still), mask)


@pytest.mark.parametrize("place", PLACES, ids=NAMES)
def test_blocks_have_the_mean_of_their_voxels_and_lie_in_their_middle(place: Geometry) -> None:
    values = volumes.counted(place.size)
    coarse, there = itk.shrunk(values, place, 1.5)
    assert there.size == (4, 2, 3)
    assert there.spacing == pytest.approx((2.5, 1.4, 1.2))
    assert coarse[1, 0, 2] == pytest.approx(values[1, :2, 4:].mean())
    np.testing.assert_allclose(there.position(1, 0, 2), place.position(1, 0.5, 4.5))


def test_nothing_is_made_finer() -> None:
    values = volumes.counted()
    coarse, there = itk.shrunk(values, volumes.upright(), 0.1)
    assert there == volumes.upright()
    assert np.array_equal(coarse, values)


def test_threads_are_as_many_again_afterwards() -> None:
    process = itk.simpleitk().ProcessObject
    before = process.GetGlobalDefaultNumberOfThreads()
    with itk.single_thread():
        assert process.GetGlobalDefaultNumberOfThreads() == 1
    assert process.GetGlobalDefaultNumberOfThreads() == before


def test_without_simpleitk_the_line_to_type_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mesr\[itk\]'"):
        itk.simpleitk()
