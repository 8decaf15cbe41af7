"""Intensity maps: invertible, unclipped, robust for MR."""

from __future__ import annotations

import numpy as np

from mesr.geometry import Geometry
from mesr.intensity import HU_WINDOW, robust_window, window_for
from mesr.volume import ArraySlices, Slice, Volume


def test_the_hu_window_maps_the_paper_s_range_and_loses_nothing() -> None:
    values = np.array([-3024, -1000, 0, 1000, 8000, 30000], dtype=np.float32)
    mapped = HU_WINDOW.forward(values)
    np.testing.assert_allclose(mapped[1:4], [0, 0.5, 1], atol=1e-7)
    np.testing.assert_allclose(HU_WINDOW.inverse(mapped), values, atol=0.01)


def test_the_robust_range_ignores_outliers_and_padding() -> None:
    values = np.tile(np.linspace(10, 110, 1000, dtype=np.float32), (10, 1))
    values[0, :20] = 1e6
    values[1] = -1e6

    class Padded:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, k: int) -> Slice:
            return Slice(values, values < 0)

    volume = Volume(Geometry.unknown((1, 10, 1000)), Padded(), modality="MR")
    window = robust_window(volume)
    assert 10 <= window.low < 13
    assert 108 < window.high < 1e6


def test_a_constant_image_still_has_a_window() -> None:
    volume = Volume(Geometry.unknown((1, 4, 4)), ArraySlices(np.full((1, 4, 4), 7.0)))
    window = window_for(volume)
    np.testing.assert_allclose(window.inverse(window.forward(np.full(3, 7.0, np.float32))), 7.0)
