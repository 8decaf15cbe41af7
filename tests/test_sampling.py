"""Batches: pure functions of seed and step, degraded as the protocol says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mesr.data import TrainingSlice
from mesr.errors import InputError, UsageError
from mesr.sampling import PatchSampler, SamplingConfig


def _slices(count: int = 3, size: int = 120) -> list[TrainingSlice]:
    chance = np.random.default_rng(0)
    return [
        TrainingSlice(
            chance.integers(-1000, 1000, (size, size)).astype(np.int16),
            -1000,
            1000,
            "chest",
            n % 2,
            "CT",
            f"{n}",
        )
        for n in range(count)
    ]


CONFIG = SamplingConfig(patch=12, batch=4)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    one, two = PatchSampler(_slices(), CONFIG), PatchSampler(_slices(), CONFIG)
    for step in (0, 7, 123_456):
        assert torch.equal(one.batch(step).lr, two.batch(step).lr)
        assert torch.equal(one.batch(step).hr, two.batch(step).hr)
    assert not torch.equal(one.batch(0).lr, one.batch(1).lr)


def test_a_patch_is_degraded_as_the_whole_image_is() -> None:
    """The margin makes a patch's low resolution the middle of a larger one's."""
    sampler = PatchSampler(_slices(1), SamplingConfig(patch=12, batch=1, scales=[2.0], anisotropic=0.0))
    whole = (torch.from_numpy(sampler.slices[0].values.astype(np.float32)) + 1000) / 2000
    batch = sampler.batch(3)
    found = False
    for turned in (whole, whole.T):
        for flips in ([], [0], [1], [0, 1]):
            image = turned.flip(flips)
            places = (image.unfold(0, 24, 1).unfold(1, 24, 1) - batch.hr[0, 0]).abs().amax(dim=(2, 3))
            top, left = divmod(int(places.argmin()), places.shape[1])
            if places[top, left] < 1e-6:
                wide = image[top - 8 : top + 32, left - 8 : left + 32][None, None]
                expected = F.interpolate(wide, size=(20, 20), mode="bicubic", antialias=True)[..., 4:16, 4:16]
                torch.testing.assert_close(batch.lr, expected, atol=1e-5, rtol=0)
                found = True
    assert found


def test_scales_are_continuous_up_to_the_end_and_a_quarter_is_anisotropic() -> None:
    sampler = PatchSampler(_slices(1), SamplingConfig(patch=12, batch=1))
    grids = [sampler.batch(step).grid for step in range(400)]
    scales = np.array([grid.scale[1:] for grid in grids])
    assert scales.min() >= 1.0
    assert scales.max() == 4.0
    assert len(np.unique(scales)) > 30
    assert 0.12 < (scales[:, 0] != scales[:, 1]).mean() < 0.35


def test_a_fixed_list_gives_only_its_scales() -> None:
    sampler = PatchSampler(_slices(1), SamplingConfig(patch=12, batch=1, scales=[1.5, 3.0], anisotropic=0.0))
    assert {sampler.batch(step).grid.scale[1] for step in range(30)} == {1.5, 3.0}


def test_slices_too_small_for_the_largest_patch_are_refused_plainly() -> None:
    with pytest.raises(InputError, match="pixels wide"):
        PatchSampler(_slices(size=40), CONFIG)


def test_a_scale_that_whole_pixels_make_larger_needs_its_own_margin() -> None:
    """50 pixels at ×2.25 become 113, ×2.26, whose margin is ten pixels instead of nine."""
    config = SamplingConfig(patch=50, batch=1, scales=[2.25], anisotropic=0.0)
    with pytest.raises(InputError, match="133 pixels wide"):
        PatchSampler(_slices(1, 132), config)
    batch = PatchSampler(_slices(1, 133), config).batch(0)
    assert (batch.lr.shape[-1], batch.hr.shape[-1]) == (50, 113)


def test_senseless_scales_are_refused() -> None:
    with pytest.raises(UsageError):
        PatchSampler(_slices(), SamplingConfig(low=4.0, high=1.0))


def test_a_logarithmic_spread_draws_small_scales_more_often() -> None:
    drawn = {}
    for spread in ("uniform", "log"):
        config = SamplingConfig(patch=12, batch=1, anisotropic=0.0, spread=spread)  # type: ignore[arg-type]
        sampler = PatchSampler(_slices(1), config)
        drawn[spread] = [sampler.batch(step).grid.scale[1] for step in range(200)]
    assert all(1.0 <= scale <= 4.05 for scale in drawn["log"])
    small = {spread: sum(scale < 2.0 for scale in scales) for spread, scales in drawn.items()}
    assert 85 <= small["log"] <= 115
    assert 50 <= small["uniform"] <= 80


def test_a_share_of_the_scales_is_continuous_beside_a_list() -> None:
    config = SamplingConfig(patch=12, batch=1, scales=[1.5, 3.0], continuous=0.5, anisotropic=0.0)
    sampler = PatchSampler(_slices(1), config)
    drawn = [sampler.batch(step).grid.scale[1] for step in range(200)]
    listed = sum(scale in (1.5, 3.0) for scale in drawn)
    assert 80 <= listed <= 140  # Half, and continuous ones that a patch of 12 pixels rounds to a listed one.
    assert max(drawn) > 3.5


def test_half_of_the_batches_show_a_coarser_scan() -> None:
    """The reference is then a part of the slice shrunk, and the low resolution is made from it as ever."""
    settings = {"patch": 12, "batch": 1, "scales": [2.0], "anisotropic": 0.0}
    plain = PatchSampler(_ramps(), SamplingConfig(**settings))  # type: ignore[arg-type]
    coarse = PatchSampler(_ramps(), SamplingConfig(**settings, coarser=2.0))  # type: ignore[arg-type]
    steps = [_steepness(coarse.batch(step).hr) for step in range(60)]
    fine = _steepness(plain.batch(0).hr)
    assert all(fine * 0.99 < one < fine * 2.01 for one in steps)
    assert 18 <= sum(one < fine * 1.01 for one in steps) <= 42
    step = int(np.argmax(steps))
    batch = coarse.batch(step)
    inner = F.interpolate(batch.hr, size=(12, 12), mode="bicubic", antialias=True)[..., 3:9, 3:9]
    torch.testing.assert_close(batch.lr[..., 3:9, 3:9], inner, atol=1e-5, rtol=0)


def test_a_coarser_scan_is_never_smaller_than_the_patch() -> None:
    sampler = PatchSampler(_slices(2, 82), SamplingConfig(patch=12, batch=2, coarser=8.0))
    assert all(sampler.batch(step).lr.isfinite().all() for step in range(20))


@pytest.mark.parametrize("setting", [{"coarser": 2.0}, {"kernels": 0.5}], ids=["coarser", "kernels"])
def test_what_changes_the_reference_does_not_go_with_whole_slices(setting: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="whole slices"):
        PatchSampler(_slices(), SamplingConfig(patch=12, degradation="kspace", **setting))  # type: ignore[arg-type]


def test_references_are_sharper_or_softer_and_the_low_resolution_follows() -> None:
    """Each by a factor of its own, as if another kernel had reconstructed it; a slope has nothing to sharpen."""
    settings = {"patch": 12, "batch": 1, "scales": [2.0], "anisotropic": 0.0}
    plain, other = (PatchSampler(_slices(1), SamplingConfig(**settings, kernels=k)) for k in (0.0, 0.8))  # type: ignore[arg-type]
    ratios = [float(other.batch(step).hr.std() / plain.batch(step).hr.std()) for step in range(40)]
    assert min(ratios) < 0.7
    assert max(ratios) > 1.3
    batch = other.batch(0)
    inner = F.interpolate(batch.hr, size=(12, 12), mode="bicubic", antialias=True)[..., 3:9, 3:9]
    torch.testing.assert_close(batch.lr[..., 3:9, 3:9], inner, atol=1e-5, rtol=0)
    slope = PatchSampler(_ramps(), SamplingConfig(**settings, kernels=0.8)).batch(0).hr  # type: ignore[arg-type]
    assert _steepness(slope) == pytest.approx(
        _steepness(PatchSampler(_ramps(), SamplingConfig(**settings)).batch(0).hr)
    )  # type: ignore[arg-type]


def test_the_balance_is_between_slices_alike_and_series_alike() -> None:
    slices = [replace(one, series=0 if n < 9 else 1) for n, one in enumerate(_slices(10))]
    shares = {}
    for balance in (0.0, 0.5, 1.0):
        chances = PatchSampler(slices, SamplingConfig(patch=12, balance=balance)).chances
        shares[balance] = 1.0 - float(chances[8])
    assert shares == pytest.approx({0.0: 0.1, 0.5: 0.25, 1.0: 0.5})


def test_pairs_are_shown_as_both_scanners_made_them() -> None:
    slices = [replace(one, paired=one.values) for one in _slices(1)]
    PatchSampler(slices, SamplingConfig(patch=12))
    with pytest.raises(UsageError, match="pairs"):
        PatchSampler(slices, SamplingConfig(patch=12, kernels=0.5))


def _ramps() -> list[TrainingSlice]:
    """A slope of 4 HU a pixel along both axes, which no interpolation changes."""
    values = (4 * np.add.outer(np.arange(120), np.arange(120)) - 500).astype(np.int16)
    return [TrainingSlice(values, -1000, 1000, "chest", 0, "CT", "ramp")]


def _steepness(hr: torch.Tensor) -> float:
    return float(hr[0, 0].diff(dim=1).abs().mean())


def test_a_share_of_the_patches_is_edges_on_even_ground_and_the_others_stay_as_they_were() -> None:
    scans = PatchSampler(_slices(), CONFIG)
    some = PatchSampler(_slices(), replace(CONFIG, even=0.25))
    changed = 0
    for step in range(60):
        one, two = scans.batch(step), some.batch(step)
        for hr, even_hr, lr, even_lr in zip(one.hr, two.hr, one.lr, two.lr, strict=True):
            assert torch.equal(hr, even_hr) == torch.equal(lr, even_lr)
            changed += not torch.equal(hr, even_hr)
    assert 0.15 < changed / (60 * 4) < 0.35


def test_even_ground_is_even_but_for_its_edges() -> None:
    """Most neighbours are alike to the last bit, every image has an edge or is of one value, air is common."""
    batches = [
        PatchSampler(_slices(size=160), replace(CONFIG, patch=24, even=1.0)).batch(step) for step in range(20)
    ]
    images = [image[0] for batch in batches for image in batch.hr]
    assert all(0.0 <= float(image.min()) <= float(image.max()) <= 1.5 for image in images)
    alike = [float((image.diff(dim=1).abs() < 1e-6).float().mean()) for image in images]
    assert np.median(alike) > 0.7
    edges = [float(image.diff(dim=1).abs().max()) for image in images]
    assert np.mean(np.array(edges) > 0.05) > 0.3
    assert np.mean([float((image == 0).any()) for image in images]) > 0.3


def test_even_ground_does_not_go_with_pairs_or_whole_slices() -> None:
    paired = [replace(one, paired=one.values.astype(np.int16)) for one in _slices()]
    for slices, config in ((paired, CONFIG), (_slices(), replace(CONFIG, degradation="kspace"))):
        with pytest.raises(UsageError, match=r"sampling\.even must be 0"):
            PatchSampler(slices, replace(config, even=0.5))
