"""Truncated k-space, held against cropped FFTs and against images whose spectrum is known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mesr.data import reference_pair
from mesr.degrade.kspace import low_pass
from mesr.grid import Axis
from mesr.patches import moved, shrinking

Line = npt.NDArray[np.float64]


def shrink(size: int, count: int) -> Axis:
    return shrinking(Axis.sized(count, size), 0)


def cropped(values: Line, count: int) -> Line:
    """The textbook way for an odd number of samples: crop the FFT, shift by half a pixel's difference, go back."""
    size = len(values)
    frequencies = np.arange(-(count // 2), count // 2 + 1)
    spectrum = np.fft.fftshift(np.fft.fft(values))[size // 2 - count // 2 : size // 2 + count // 2 + 1]
    first = (size / count - 1) / 2
    spectrum = spectrum * np.exp(2j * np.pi * frequencies * first / size)
    return np.fft.ifft(np.fft.ifftshift(spectrum)).real * count / size


@pytest.mark.parametrize(("size", "count"), [(64, 31), (63, 21), (100, 75)])
def test_it_is_a_cropped_fft_on_the_grid_s_own_centres(size: int, count: int) -> None:
    values = np.random.default_rng(0).random(size)
    np.testing.assert_allclose(
        low_pass(shrink(size, count)) @ values, cropped(values, count), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize(("size", "count"), [(64, 32), (60, 25), (90, 60), (96, 41)])
def test_an_image_without_fine_detail_is_sampled_exactly(size: int, count: int) -> None:
    axis = shrink(size, count)

    def wave(x: Line) -> Line:
        return 0.3 + sum(
            (np.cos(2 * np.pi * k * x / size + k) / (k + 1) for k in range((count + 1) // 2)),
            np.zeros_like(x),
        )

    found = low_pass(axis) @ wave(np.arange(size, dtype=np.float64))
    np.testing.assert_allclose(found, wave(axis.coordinates()), atol=1e-10, rtol=0)


@pytest.mark.parametrize(("size", "count"), [(64, 32), (64, 27)])
def test_detail_that_the_grid_cannot_hold_leaves_nothing(size: int, count: int) -> None:
    for k in range(count // 2 + 1, size // 2):
        wave = np.cos(2 * np.pi * k * np.arange(size) / size + 0.3)
        assert np.abs(low_pass(shrink(size, count)) @ wave).max() < 1e-12


@pytest.mark.parametrize("size", [31, 32])
def test_scale_one_changes_nothing(size: int) -> None:
    np.testing.assert_allclose(low_pass(Axis.identity(size)), np.eye(size), atol=1e-12)


def test_it_mirrors_with_the_image() -> None:
    weights = low_pass(shrink(48, 20))
    np.testing.assert_allclose(weights[::-1, ::-1], weights, atol=1e-12)


def test_the_hamming_window_rings_less() -> None:
    step = ((np.arange(96) + 1) % 48 > 23).astype(np.float64)
    sharp, tapered = (low_pass(shrink(96, 32), window) @ step for window in ("none", "hamming"))
    assert sharp.max() > 1.05
    assert tapered.max() < 1.01


def test_a_part_of_the_grid_is_a_part_of_the_whole() -> None:
    whole = low_pass(shrink(96, 32))
    part = low_pass(moved(shrinking(Axis.sized(8, 24), 0), 30, 96))
    np.testing.assert_allclose(part, whole[10:18], atol=1e-12)


def test_a_reference_s_low_resolution_is_the_fft_s() -> None:
    hr = torch.rand(1, 1, 63, 63, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pair = reference_pair(hr, Fraction(3), "kspace")
    expected = np.apply_along_axis(cropped, 1, np.apply_along_axis(cropped, 0, hr[0, 0].numpy(), 21), 21)
    np.testing.assert_allclose(pair.lr[0, 0].numpy(), expected, atol=1e-12)
