"""The scanner's geometry, held against what is known in closed form: the integrals of discs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mesr.degrade.fan_beam import FanBeam

MU = 0.02
"""Per mm."""

CENTRE, RADIUS = (12.0, -17.0), 30.0
"""A disc: mm right of and below the isocentre."""

SCAN = FanBeam(size=(90, 100), spacing=(1.4, 1.2), views=240, pitch=0.8, source=1000.0, radius=60.0)


def chords(scan: FanBeam) -> torch.Tensor:
    """(views, elements) exact integrals of the disc: a ray's distance from its centre gives its chord."""
    angles, elements = scan.angles[:, None].double(), scan.elements[None].double()
    right, below = CENTRE
    across = right * torch.cos(angles) + below * torch.sin(angles)
    ahead = below * torch.cos(angles) - right * torch.sin(angles) + scan.source
    distance = (across * scan.source - ahead * elements) / torch.sqrt(elements**2 + scan.source**2)
    return (2 * MU * torch.sqrt((RADIUS**2 - distance**2).clamp(min=0))).float()


def disc(scan: FanBeam, finer: int = 8) -> torch.Tensor:
    """(H, W) the disc's share of every pixel, times its attenuation."""
    down, right = (
        (torch.arange(n * finer) - (n * finer - 1) / 2) * d / finer
        for n, d in zip(scan.size, scan.spacing, strict=True)
    )
    inside = (down[:, None] - CENTRE[1]) ** 2 + (right - CENTRE[0]) ** 2 <= RADIUS**2
    return MU * inside.float().unfold(0, finer, finer).unfold(1, finer, finer).mean(dim=(2, 3))


def test_rays_through_a_disc_measure_its_chords() -> None:
    found, expected = SCAN.project(disc(SCAN)), chords(SCAN)
    assert float((found - expected).abs().mean()) < 2e-3 * MU * 2 * RADIUS
    deep = expected > MU * RADIUS
    torch.testing.assert_close(found[deep], expected[deep], atol=0.02 * MU * 2 * RADIUS, rtol=0)


def test_the_chords_of_a_disc_give_the_disc_back() -> None:
    image, truth = SCAN.reconstruct(chords(SCAN)), disc(SCAN)
    down, right = SCAN._pixels
    distance = torch.sqrt((down - CENTRE[1]) ** 2 + (right - CENTRE[0]) ** 2)
    inside, outside = distance < RADIUS - 4, distance > RADIUS + 4
    assert float(image[inside].mean()) == pytest.approx(MU, rel=1e-3)
    assert float(image[outside].mean()) == pytest.approx(0, abs=1e-3 * MU)
    assert float((image - truth)[inside].std()) < 5e-3 * MU
    assert float((image - truth).abs().max()) < 0.5 * MU


def test_what_lies_outside_the_radius_is_not_seen() -> None:
    scan = FanBeam(size=(64, 64), spacing=(1.0, 1.0), views=8, pitch=1.0, source=1000.0, radius=10.0)
    image = torch.zeros(64, 64)
    image[2, 2] = 1.0
    assert float(scan.project(image).abs().max()) == 0


def test_the_softer_filter_halves_the_noise_at_least() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((240, len(SCAN.elements)), np.float32))
    sharp, soft = (SCAN.reconstruct(noise, filter).std() for filter in ("ramp", "hann"))
    assert float(soft / sharp) < 0.5
