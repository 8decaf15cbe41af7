"""The measures against slow and direct forms of their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mesr import metrics


def image(shape: tuple[int, int] = (23, 27), seed: int = 0) -> np.ndarray:
    """Smooth structure with noise, reaching past both ends of 0…1."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    noise = np.random.default_rng(seed).normal(0, 0.1, shape)
    return (0.5 + 0.5 * np.sin(0.4 * y) * np.cos(0.3 * x) + noise).astype(np.float32)


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, Eqs. (13) to (16), one window after another, in float64."""
    a, b = (np.clip(one.astype(np.float64), 0, 1) for one in (a, b))
    places = np.arange(-5, 6)
    weights = np.exp(-(places[:, None] ** 2 + places[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    total, count = 0.0, 0
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            x, y = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            cov = (weights * (x - mx) * (y - my)).sum()
            top = (2 * mx * my + 0.01**2) * (2 * cov + 0.03**2)
            total += top / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2))
            count += 1
    return total / count


def disk(size: int = 96, radius: float = 30.0, hu: float = 40.0) -> np.ndarray:
    """A body of water in air, in the networks' range."""
    y, x = np.mgrid[:size, :size]
    inside = np.hypot(y - size / 2, x - size / 2) < radius
    return ((np.where(inside, hu, -1000.0) + 1000) / 2000).astype(np.float32)


def test_ssim_equals_its_definition_window_by_window() -> None:
    sr, hr = image(seed=1), image(seed=2)
    assert metrics.ssim(sr, hr) == pytest.approx(slow_ssim(sr, hr), abs=1e-6)


def test_ssim_of_nearly_flat_images_loses_nothing_to_single_precision() -> None:
    hr = 0.02 + 0.001 * image((40, 40), 3)
    sr = hr + 0.001 * image((40, 40), 4)
    assert metrics.ssim(sr, hr) == pytest.approx(slow_ssim(sr, hr), abs=2e-6)


def test_ssim_of_equal_images_is_one_and_of_tiny_ones_is_not_a_number() -> None:
    assert metrics.ssim(image(), image()) == pytest.approx(1.0, abs=1e-7)
    assert math.isnan(metrics.ssim(image((10, 30)), image((10, 30))))


def test_psnr_is_ten_log_of_one_over_the_mean_square_after_clipping() -> None:
    hr = np.full((8, 8), 0.5, dtype=np.float32)
    sr = hr + np.float32(0.1)
    sr[0, 0], hr[0, 0] = 3.0, 2.0  # both clip to 1: no error
    total = sum(min(1, float(sr[i, j])) - min(1, float(hr[i, j])) > 0 for i in range(8) for j in range(8))
    assert metrics.psnr(sr, hr) == pytest.approx(-10 * math.log10(0.01 * total / 64), abs=1e-5)
    assert metrics.psnr(hr, hr) == math.inf


def test_the_border_takes_no_part() -> None:
    hr = image()
    sr = hr.copy()
    sr[:2], sr[:, -2:] = 0, 1
    assert metrics.psnr(sr, hr, 2) == math.inf
    assert metrics.nrmse(sr, hr, 2) == 0
    assert metrics.ssim(sr, hr, 2) == pytest.approx(1.0, abs=1e-7)


def test_nrmse_is_divided_by_the_range_of_the_result() -> None:
    hr = np.linspace(0, 0.8, 100, dtype=np.float32).reshape(10, 10)
    sr = 0.5 * hr
    rmse = math.sqrt(np.mean(np.square(0.5 * hr.astype(np.float64))))
    assert metrics.nrmse(sr, hr) == pytest.approx(rmse / 0.4, rel=1e-6)
    assert math.isnan(metrics.nrmse(np.full((9, 9), 0.3), np.zeros((9, 9))))


def test_errors_in_the_body_are_in_the_unit_of_the_scan_and_ignore_the_air() -> None:
    hr = disk()
    sr = hr + np.where(hr > 0.25, 0.01, 0.3).astype(np.float32)
    found = metrics.measure(sr, hr, metrics.body_mask(hr), 3, 2000.0)
    assert found.mae_body == pytest.approx(20.0, rel=1e-4)
    assert found.rmse_body == pytest.approx(20.0, rel=1e-4)
    assert found.psnr_body == pytest.approx(40.0, abs=1e-3)
    assert found.psnr < 20


def test_dense_bone_is_judged_unclipped() -> None:
    hr = disk()
    hr[40:44, 40:44] = 1.5
    sr = hr.copy()
    sr[40:44, 40:44] = 1.2
    found = metrics.measure(sr, hr, metrics.body_mask(hr), 2, 2000.0)
    assert found.psnr == math.inf, "the headline clips"
    assert found.pixels_above == 16
    assert found.mae_above == pytest.approx(600.0, rel=1e-4)


def test_without_body_or_bone_the_measure_is_not_a_number() -> None:
    air = np.zeros((32, 32), dtype=np.float32)
    found = metrics.measure(air, air, metrics.body_mask(air), 2, 2000.0)
    assert (found.pixels_body, found.pixels_above) == (0, 0)
    assert math.isnan(found.mae_body)
    assert math.isnan(found.mae_above)


def test_the_body_holds_its_lungs_and_leaves_the_couch() -> None:
    hr = disk(128, 45)
    y, x = np.mgrid[:128, :128]
    hr[np.hypot(y - 64, x - 50) < 12] = 0.1
    hr[120:122, 10:118] = 0.6
    hr[5, 5] = 0.9
    body = metrics.body_mask(hr)
    assert body[64, 50], "lung"
    assert not body[121, 64], "couch"
    assert not body[5, 5], "noise"
    truth = np.hypot(y - 64, x - 64) < 45
    assert (body == truth).mean() > 0.998


def test_two_legs_are_both_body() -> None:
    hr = np.zeros((80, 120), dtype=np.float32)
    hr[20:60, 10:40] = hr[25:55, 70:100] = 0.52
    body = metrics.body_mask(hr)
    assert body[40, 25]
    assert body[40, 85]


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (33, 34)])
def test_any_size_has_a_body_mask(shape: tuple[int, int]) -> None:
    assert metrics.body_mask(np.full(shape, 0.5, dtype=np.float32)).shape == shape


def test_fine_detail_asks_how_much_and_not_where() -> None:
    noise = np.random.default_rng(0).normal(0.5, 0.05, (2, 96, 80))
    blurred = noise[0] + 0.0
    blurred[:, 1:-1] = (noise[0][:, :-2] + noise[0][:, 1:-1] + noise[0][:, 2:]) / 3
    assert metrics.fine_detail(noise[0], noise[0], 2) == 0
    assert abs(metrics.fine_detail(noise[1], noise[0], 2)) < 0.5
    assert metrics.fine_detail(blurred, noise[0], 2) < -3
    halved = 0.5 + (noise[0] - 0.5) / 2
    assert metrics.fine_detail(halved, noise[0], 1.5) == pytest.approx(-20 * math.log10(2))
    assert math.isnan(metrics.fine_detail(noise[0], np.full((96, 80), 0.5), 2))


def test_a_lattice_is_what_repeats_with_the_input_s_pixels() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(60, 48)).astype(np.float32)
    pattern = rng.normal(size=(3, 3)).astype(np.float32)
    grid = np.tile(pattern, (20, 16))
    assert metrics.lattice(reference + 5, reference, 3) == pytest.approx(0, abs=1e-6)
    assert metrics.lattice(reference + grid, reference, 3) == pytest.approx(pattern.std(), rel=1e-5)
    half = np.zeros((60, 48), bool)
    half[:30] = True
    assert metrics.lattice(reference + grid * half, reference, 3, ~half) == pytest.approx(0, abs=1e-6)


def test_fine_detail_is_that_beyond_the_input() -> None:
    x = np.arange(96.0)
    coarse, fine = (0.5 + 0.1 * np.sin(2 * np.pi * f * x) * np.ones((96, 1)) for f in (0.05, 0.4))
    reference = coarse + fine - 0.5 + np.random.default_rng(0).normal(0, 1e-3, (96, 96))
    more = reference + coarse - 0.5
    assert abs(metrics.fine_detail(more, reference, 2)) < 0.1
    assert metrics.fine_detail(reference + fine - 0.5, reference, 2) > 1
    diagonal = 0.1 * np.sin(
        2 * np.pi * 0.2 * (x + x[:, None])
    )  # At 0.28 cycles a pixel, which the input holds.
    noise = np.random.default_rng(1).normal(0.5, 0.02, (96, 96))
    assert abs(metrics.fine_detail(noise + diagonal, noise, 2)) < 0.1
