"""Recipes by name: one line of text says all, and whatever it says is checked."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from mesr.degrade import RECIPES, recipe, text_of
from mesr.errors import UsageError
from mesr.grid import Axis
from mesr.patches import shrinking

SHRINKING = [name for name in RECIPES if name != "noise"]


def shrunk(text: str, image: torch.Tensor, scale: str, seed: int = 0) -> torch.Tensor:
    """A whole image by a recipe, at a scale that divides it."""
    rows, columns = (
        shrinking(Axis.sized(round(size / Fraction(scale)), size), 0) for size in image.shape[-2:]
    )
    return recipe(text).shrink(image, rows, columns, np.random.default_rng(seed))


@pytest.mark.parametrize(
    "text",
    [
        "bicubic",
        "blur-bicubic",
        "blur-bicubic:sigma=0.3..0.9",
        "noise:sigma=0.02:correlation=1",
        "kspace:window=hamming",
        "cbct:views=90:photons=100000:filter=ramp",
        "cbct:photons=inf",
    ],
)
def test_a_recipe_s_text_comes_back(text: str) -> None:
    assert text_of(recipe(text)) == text


def test_what_is_at_its_default_is_left_out() -> None:
    assert text_of(recipe("noise:blur=0:sigma=0.01")) == "noise"
    assert text_of(recipe("cbct:views=360:photons=4e5")) == "cbct"


@pytest.mark.parametrize(
    "text",
    [
        "bicubik",
        "",
        "bicubic:sigma=1",
        "noise:sigma",
        "noise:sigma=",
        "noise:sigma=-1",
        "noise:sigma=2..1",
        "noise:sigma=nan",
        "noise:sigma=1:sigma=2",
        "kspace:window=hann",
        "cbct:views=1.5",
        "cbct:views=0",
        "cbct:rings=1",
        "cbct:blur_mm=inf",
        "cbct:source_mm=1e30",
        "cbct:element_mm=1e-9",
        "cbct:photons=1e-30",
        "cbct:scatter=1e300",
        "cbct:views=1000000000000",
        "noise:sigma=1e300",
        "noise:correlation=1e6",
    ],
)
def test_what_no_recipe_takes_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as wrong:
        recipe(text)
    assert wrong.value.code == "degradation"


def test_a_mistyped_parameter_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as wrong:
        recipe("cbct:photon=1e4")
    assert "photons" in wrong.value.fix


@pytest.mark.parametrize("name", SHRINKING)
@pytest.mark.parametrize("scale", ["1.5", "2", "3"])
def test_a_constant_stays_the_constant_it_is(name: str, scale: str) -> None:
    found = shrunk(name, torch.full((1, 1, 36, 48), 0.7, dtype=torch.float64), scale)
    assert found.shape == (1, 1, 36 / Fraction(scale), 48 / Fraction(scale))
    torch.testing.assert_close(found, torch.full_like(found, 0.7), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", [*SHRINKING, "blur-bicubic:sigma=1", "kspace:window=hamming"])
@pytest.mark.parametrize("scale", ["1.5", "2.4", "4"])
def test_a_blob_stays_where_it_is(name: str, scale: str) -> None:
    """Its centroid, in millimetres from the corner of the field of view, is the same on both grids."""
    y, x = torch.meshgrid(torch.arange(72.0), torch.arange(96.0), indexing="ij")
    blob = torch.exp(-((y - 33.3) ** 2 + (x - 51.6) ** 2) / (2 * 6.0**2)).double()
    found = shrunk(name, blob, scale)
    for axis in (0, 1):
        along = found.sum(dim=1 - axis)
        step = blob.shape[axis] / len(along)
        places = (torch.arange(len(along)) + 0.5) * step
        assert float((places * along).sum() / along.sum()) == pytest.approx((33.8, 52.1)[axis], abs=0.01)


@pytest.mark.parametrize("name", ["blur-bicubic:sigma=0.2..2", "noise", "noise:sigma=0..1:correlation=0..2"])
def test_a_generator_decides_all_that_is_drawn(name: str) -> None:
    image = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shrunk(name, image, "2", seed=3), shrunk(name, image, "2", seed=3))
    assert not torch.equal(shrunk(name, image, "2", seed=3), shrunk(name, image, "2", seed=4))


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_a_blur_widens_a_blob_by_its_own_variance(sigma: float) -> None:
    """Variances add: the blob's, the point spread's in low-resolution pixels, and nothing else (a = −0.5 has none)."""
    x = torch.arange(160.0).double()
    blob = torch.exp(-((x - 79.5) ** 2) / (2 * 12.0**2))
    image = blob[:, None] * blob
    found = shrunk(f"blur-bicubic:sigma={sigma}", image, "4").sum(dim=0)
    places = torch.arange(40.0).double() - 19.5
    variance = float((places**2 * found).sum() / found.sum())
    assert math.sqrt(variance) == pytest.approx(math.sqrt(3.0**2 + sigma**2), rel=2e-3)


def test_noise_has_the_spread_it_is_given_and_no_grain() -> None:
    noise = shrunk("noise:sigma=0.05", torch.zeros(400, 400), "2")
    assert float(noise.std()) == pytest.approx(0.05, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=1e-3)
    assert abs(correlation(noise, 1)) < 0.02


def test_grains_keep_the_spread_and_are_as_wide_as_asked_for() -> None:
    """White noise under a Gaussian w is correlated by exp(−d²/4w²) at a distance d."""
    noise = shrunk("noise:sigma=0.05:correlation=1.5", torch.zeros(500, 500), "2")
    assert float(noise.std()) == pytest.approx(0.05, rel=0.05)
    assert correlation(noise, 2) == pytest.approx(math.exp(-4 / (4 * 1.5**2)), abs=0.05)
    edge = noise[[0, -1]].std()
    assert float(edge / noise.std()) == pytest.approx(1, abs=0.2)


def correlation(image: torch.Tensor, distance: int) -> float:
    """Of pixels with those so far to their right."""
    pairs = torch.stack((image[:, :-distance].flatten(), image[:, distance:].flatten()))
    return float(torch.corrcoef(pairs)[0, 1])
