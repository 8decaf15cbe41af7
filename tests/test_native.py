"""Measures without a truth, on images whose noise, sharpness and means are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mesr import native
from mesr.volume import FloatImage

SIZE, SPACING = 96, (0.5, 0.5)
CENTRE = (47.3, 46.8)


def _disc(sigma_mm: float, height: float = 1000.0, noise: float = 0.0, radius: float = 10.0) -> FloatImage:
    """A disc with an edge blurred by a Gaussian of `sigma_mm`."""
    rows, columns = np.indices((SIZE, SIZE))
    away = np.hypot((rows - CENTRE[0]) * SPACING[0], (columns - CENTRE[1]) * SPACING[1]) - radius
    edge = 0.5 * height * (1 - np.vectorize(math.erf)(away / (sigma_mm * math.sqrt(2))))
    return np.asarray(edge + np.random.default_rng(0).normal(0, noise, away.shape), dtype=np.float32)


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0])
@pytest.mark.parametrize("height", [1000.0, -800.0])
def test_the_mtf50_of_a_gaussian_edge_is_the_gaussians(sigma: float, height: float) -> None:
    edge = native.disc_edge(_disc(sigma, height), (48.0, 46.0), 10.0, SPACING, reach=4.0)
    expected = math.sqrt(2 * math.log(2)) / (2 * math.pi * sigma)
    assert native.mtf50(edge) == pytest.approx(expected, rel=0.04)


def test_a_sharper_edge_has_the_higher_mtf50_under_noise() -> None:
    found = [
        native.mtf50(native.disc_edge(_disc(sigma, noise=20), CENTRE, 10.0, SPACING)) for sigma in (0.5, 0.8)
    ]
    assert found[0] > 1.2 * found[1]


def test_the_modulation_begins_at_one() -> None:
    frequency, modulation = native.mtf(native.disc_edge(_disc(0.6), CENTRE, 10.0, SPACING))
    assert frequency[0] == 0
    assert modulation[0] == pytest.approx(1.0)


def _patient(sigma_mm: float, noise: float = 0.0, blurred: int = 300) -> FloatImage:
    """A body of water of 50 mm with a windpipe, on a couch, in air; (blurred, blurred)."""
    rows, columns = np.indices((blurred, blurred)) * SPACING[0]
    away = np.hypot(rows - 74.2, columns - 76.7)

    def filled(distance: FloatImage) -> FloatImage:
        inside: FloatImage = 0.5 * (1 - np.vectorize(math.erf)(distance / (sigma_mm * math.sqrt(2))))
        return inside

    couch = filled(np.abs(rows - 126.0) - 1.0)
    image = -1000 + 1000 * filled(away - 50.0) - 900 * filled(away - 7.0) + 600 * couch
    return np.asarray(image + np.random.default_rng(0).normal(0, noise, image.shape), dtype=np.float32)


@pytest.mark.parametrize("sigma", [0.5, 0.7, 0.85])
@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_the_mtf50_of_the_skin_is_the_blurs(sigma: float, noise: float) -> None:
    patient = _patient(sigma, noise)
    skin = native.find_skin(patient, SPACING)
    assert skin is not None
    edge = native.skin_edge(patient, SPACING, skin)
    assert native.mtf50(edge) == pytest.approx(
        math.sqrt(2 * math.log(2)) / (2 * math.pi * sigma), rel=0.05 + noise / 600
    )
    assert edge.value[0] == pytest.approx(
        0.0, abs=15
    )  # Water at the one end, air at the other: nothing else is looked at.
    assert edge.value[-1] == pytest.approx(-1000.0, abs=15)


def test_where_no_skin_meets_open_air_there_is_no_edge() -> None:
    assert native.find_skin(np.full((64, 64), 40.0, np.float32), SPACING) is None
    assert native.find_skin(_patient(0.7)[:, 120:180], SPACING) is None


def test_skin_found_in_coarse_pixels_is_where_finer_ones_show_it() -> None:
    """Of the same field in pixels of half the size: the same skin, the same edge."""
    fine = _patient(0.7)
    coarse = fine.reshape(150, 2, 150, 2).mean(axis=(1, 3))
    skin = native.find_skin(coarse, (1.0, 1.0))
    assert skin is not None
    found = native.mtf50(native.skin_edge(fine, SPACING, skin))
    assert found == pytest.approx(math.sqrt(2 * math.log(2)) / (2 * math.pi * 0.7), rel=0.05)


def test_white_noise_is_measured_beside_a_slope_and_an_edge() -> None:
    image = _disc(0.5, noise=25.0, radius=20.0) + np.linspace(0, 200, SIZE, dtype=np.float32)
    inside = np.zeros((SIZE, SIZE), dtype=bool)
    inside[30:64, 30:64] = True
    assert native.noise(image, inside, SPACING) == pytest.approx(25.0, rel=0.1)


def test_noise_of_no_pixel_is_no_number() -> None:
    assert math.isnan(native.noise(_disc(0.5), np.zeros((SIZE, SIZE), dtype=bool), SPACING))


def test_the_mean_of_an_insert_is_taken_in_millimetres() -> None:
    image = np.zeros((40, 80), dtype=np.float32)
    image[10:31, 30:51] = 300.0
    assert native.disc_mean(image, (20.0, 40.0), 4.0, (0.5, 0.5)) == 300.0
    assert native.disc_mean(image, (20.0, 40.0), 4.0, (0.2, 0.2)) < 300.0
