"""The simulated cone-beam scan on a phantom of a pelvis: what it keeps, and what each setting does to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mesr.degrade import ConeBeam, cone_beam, simulate
from mesr.degrade.cone_beam import IDEAL
from mesr.errors import UsageError
from mesr.volume import FloatImage, Mask

SPACING = 3.5
IDEAL_HERE = replace(IDEAL, views=300, element_mm=1.0)
"""Without noise or artefacts, at the detail that pixels of 3.5 mm need."""

ELLIPSES = {
    "water": (0, 0, 150, 105, 0),
    "muscle": (0, 0, 122, 76, 55),
    "left femur": (-80, 5, 24, 24, 800),
    "right femur": (80, 5, 24, 24, 800),
    "fat": (0, -40, 30, 20, -100),
    "gas": (15, 38, 22, 20, -950),
}
"""Middle, half axes (mm) and HU; later ones lie over earlier ones."""


def pelvis(size: int = 96, finer: int = 6) -> tuple[FloatImage, dict[str, Mask]]:
    """The phantom, and where each part of it lies clear of its edges by two pixels."""
    places = (np.arange(size * finer) - (size * finer - 1) / 2) * SPACING / finer
    image = np.full((size * finer, size * finer), -1000.0)
    inner = {}
    for name, (x, y, a, b, hu) in ELLIPSES.items():
        reach = np.hypot((places - x) / a, ((places - y) / b)[:, None])
        image[reach <= 1] = hu
        inner = {other: there & (reach > 1 + 2 * SPACING / min(a, b)) for other, there in inner.items()}
        inner[name] = reach < 1 - 2 * SPACING / min(a, b)
    first = ELLIPSES["water"]
    inner["air"] = np.hypot((places - first[0]) / first[2], ((places - first[1]) / first[3])[:, None]) > 1.1

    def shrunk(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return values.reshape(size, finer, size, finer).mean(axis=(1, 3))

    whole = {name: shrunk(there.astype(np.float64)) == 1 for name, there in inner.items()}
    return shrunk(image).astype(np.float32), whole


@pytest.fixture(scope="module", name="phantom")
def _phantom() -> FloatImage:
    return pelvis()[0]


@pytest.fixture(scope="module", name="parts")
def _parts() -> dict[str, Mask]:
    return pelvis()[1]


@pytest.fixture(scope="module", name="ideal")
def _ideal(phantom: FloatImage) -> FloatImage:
    return simulate(phantom, SPACING, IDEAL_HERE)


def test_an_ideal_scan_gives_the_slice_back(phantom: FloatImage, parts: dict[str, Mask]) -> None:
    """Every tissue's mean within 1 HU, water's and air's too; inside the body 5 HU away on average, edges included."""
    ideal = simulate(phantom, SPACING, replace(IDEAL, views=480, element_mm=0.6))
    for name, there in parts.items():
        assert there.sum() > 10, name
        assert float(ideal[there].mean()) == pytest.approx(float(phantom[there].mean()), abs=1), name
    body = phantom > -500
    assert float(np.abs(ideal - phantom)[body].mean()) < 5
    assert float((ideal - phantom)[parts["muscle"]].std()) < 4


def test_pixels_need_not_be_square(phantom: FloatImage, parts: dict[str, Mask]) -> None:
    found = simulate(phantom, (SPACING, SPACING / 2), IDEAL_HERE)
    assert float(found[parts["muscle"]].mean()) == pytest.approx(55, abs=2)
    assert float(found[parts["left femur"]].mean()) == pytest.approx(800, abs=4)


def test_noise_falls_with_the_root_of_the_photons(
    phantom: FloatImage, parts: dict[str, Mask], ideal: FloatImage
) -> None:
    spreads = [
        float(
            (simulate(phantom, SPACING, replace(IDEAL_HERE, photons=photons)) - ideal)[parts["muscle"]].std()
        )
        for photons in (1e6, 4e6)
    ]
    assert spreads[0] / spreads[1] == pytest.approx(2, rel=0.1)


def test_the_read_out_s_noise_adds_to_the_photons(
    phantom: FloatImage, parts: dict[str, Mask], ideal: FloatImage
) -> None:
    quiet, loud = (
        simulate(phantom, SPACING, replace(IDEAL_HERE, photons=1e6, electronic=one)) for one in (0, 100)
    )
    quiet, loud = ((one - ideal)[parts["muscle"]].std() for one in (quiet, loud))
    assert loud > 1.5 * quiet


def test_fewer_views_leave_more_streaks(phantom: FloatImage, ideal: FloatImage) -> None:
    few, fewer = (
        np.abs(simulate(phantom, SPACING, replace(IDEAL_HERE, views=views)) - phantom).mean()
        for views in (60, 30)
    )
    assert fewer > 1.5 * few > 3 * np.abs(ideal - phantom).mean()


def test_unequal_elements_make_rings(phantom: FloatImage, ideal: FloatImage) -> None:
    """What they add is the same after a quarter of a turn around the isocentre."""
    rings = simulate(phantom, SPACING, replace(IDEAL_HERE, rings=0.01)) - ideal
    assert rings.std() > 3
    assert np.corrcoef(rings.ravel(), np.rot90(rings).ravel())[0, 1] > 0.8


def test_scatter_darkens_the_middle_more_than_the_rim(
    phantom: FloatImage, parts: dict[str, Mask], ideal: FloatImage
) -> None:
    lost = ideal - simulate(phantom, SPACING, replace(IDEAL_HERE, scatter=0.01))
    places = np.abs(np.arange(96) - 47.5)
    middle = parts["muscle"] & (np.hypot(places, places[:, None]) < 15)
    assert lost[middle].mean() > lost[parts["water"]].mean() + 5 > 5


def test_a_larger_focal_spot_blurs(phantom: FloatImage, ideal: FloatImage) -> None:
    blurred = simulate(phantom, SPACING, replace(IDEAL_HERE, blur_mm=3.0))
    assert np.abs(np.diff(blurred, axis=1)).max() < 0.8 * np.abs(np.diff(ideal, axis=1)).max()


def test_a_seed_decides_the_noise(phantom: FloatImage) -> None:
    quick = ConeBeam(views=24, element_mm=2.0)
    one, again, other = (simulate(phantom, SPACING, quick, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 1


def test_starved_rays_and_an_empty_slice_stay_finite(phantom: FloatImage) -> None:
    dark = simulate(
        phantom + 3000 * (phantom > 500), SPACING, ConeBeam(views=24, element_mm=2.0, photons=100)
    )
    empty = simulate(np.full((32, 32), -3024, np.float32), 1.0, replace(IDEAL_HERE, views=24))
    assert np.isfinite(dark).all()
    np.testing.assert_allclose(empty, -1000, atol=1e-3)


def test_no_more_arrives_than_was_sent(phantom: FloatImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Air stored as −1024, as scanners and prepared sets have it, attenuates nothing, not less than that."""
    seen: list[torch.Tensor] = []

    def measure(integrals: torch.Tensor, *others: Any) -> torch.Tensor:
        seen.append(integrals)
        return integrals

    monkeypatch.setattr(cone_beam, "measure", measure)
    simulate(np.where(phantom > -900, phantom, np.float32(-1024)), SPACING, ConeBeam(views=8, element_mm=2.0))
    assert seen[0].min() == 0
    assert seen[0].max() > 1


def test_a_slice_that_fits_into_no_scanner_is_refused() -> None:
    with pytest.raises(UsageError, match="fit"):
        simulate(np.zeros((64, 64), np.float32), 40.0)
