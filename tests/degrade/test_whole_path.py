"""Recipes where they are used: in batches to train on, and in results to compare."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from scans import dicom_series

from mesr import evaluate, testset
from mesr.data import TrainingSlice, reference_pair
from mesr.degrade import cbct, text_of
from mesr.errors import UsageError
from mesr.inference import Options
from mesr.sampling import PatchSampler, SamplingConfig

RANDOM = ["noise:sigma=0.01..0.05", "noise:correlation=1", "blur-bicubic:sigma=0.2..1"]
CONFIG = SamplingConfig(patch=10, batch=3, scales=[2.0], anisotropic=0.0)
PLAIN = Options(device="cpu", precision="float32")


def sampler(degradation: str, **changed: object) -> PatchSampler:
    chance = np.random.default_rng(0)
    slices = [
        TrainingSlice(
            chance.integers(-1000, 1000, (90, 97)).astype(np.int16), -1000, 1000, "chest", 0, "CT", "0"
        )
    ]
    return PatchSampler(slices, replace(CONFIG, degradation=degradation, **changed))


@pytest.mark.parametrize("text", ["bicubic", "kspace", *RANDOM])
def test_a_batch_is_a_function_of_seed_and_step(text: str) -> None:
    one, two = sampler(text), sampler(text)
    for step in (0, 5):
        assert torch.equal(one.batch(step).lr, two.batch(step).lr)
    assert not torch.equal(one.batch(0).lr, one.batch(1).lr)


@pytest.mark.parametrize("text", ["noise", "kspace", "blur-bicubic:sigma=0.5"])
def test_the_same_patches_are_cut_whatever_is_done_to_them(text: str) -> None:
    for step in range(3):
        plain, other = sampler("bicubic").batch(step), sampler(text).batch(step)
        assert torch.equal(plain.hr, other.hr)
        assert plain.grid == other.grid
        assert 0 < float((plain.lr - other.lr).abs().mean()) < 0.3


def test_a_blur_is_drawn_for_every_batch() -> None:
    drawn = sampler("blur-bicubic:sigma=0.1..1.2")
    assert len({round(float(drawn.batch(step).lr.std()), 4) for step in range(8)}) > 5


@pytest.mark.parametrize("text", ["kspace", "kspace:window=hamming", "blur-bicubic:sigma=1.2"])
@pytest.mark.parametrize("scales", [[2.0], [1.5]])
def test_a_patch_is_what_the_whole_slice_would_give(text: str, scales: list[float]) -> None:
    """Found again in the slice, every patch's low resolution equals that of the slice shrunk as a whole."""
    one = sampler(text, scales=scales, batch=1)
    image = torch.from_numpy(one.slices[0].patch(slice(0, 90), slice(0, 96)).copy())
    one.slices = [replace(one.slices[0], values=one.slices[0].values[:, :96])]
    scale = Fraction(scales[0])
    found = 0
    for step in range(20):
        batch = one.batch(step)
        size = batch.hr.shape[-1]
        for whole in (turned.flip(flips) for turned in (image, image.T) for flips in ([], [0], [1], [0, 1])):
            corners = whole[: -size + 1, : -size + 1]
            for top, left in (corners - batch.hr[0, 0, 0, 0]).abs().lt(1e-6).nonzero().tolist():
                here = whole[top : top + size, left : left + size]
                if top % scale or left % scale or (here - batch.hr[0, 0]).abs().max() > 1e-6:
                    continue
                lr = reference_pair(whole[None, None], scale, text).lr
                y, x = int(top / scale), int(left / scale)
                torch.testing.assert_close(batch.lr, lr[..., y : y + 10, x : x + 10], atol=2e-4, rtol=0)
                found += 1
    assert found


def test_patches_are_not_cut_from_simulated_scans() -> None:
    with pytest.raises(UsageError, match="whole slices") as wrong:
        sampler("cbct")
    assert "prepare-pairs" in wrong.value.fix


def test_a_degradation_that_scans_is_given_a_scan() -> None:
    with pytest.raises(UsageError, match="scan"):
        reference_pair(torch.zeros(1, 1, 16, 16), Fraction(2), "cbct")


@pytest.fixture(name="spec")
def _spec(tmp_path: Path) -> testset.EvaluationSpec:
    dicom_series(tmp_path / "scan", size=(2, 48, 56))
    return testset.of_paths([tmp_path / "scan"], "CT")


@pytest.mark.parametrize("text", ["noise:sigma=0.02", "kspace", "blur-bicubic:sigma=0.8"])
def test_a_row_says_how_its_low_resolution_was_made(
    spec: testset.EvaluationSpec, tmp_path: Path, text: str
) -> None:
    rows = evaluate.run(["sinc"], spec, tmp_path / "out", scales=["2"], degradation=text, options=PLAIN)
    plain = evaluate.run(["sinc"], spec, tmp_path / "out", scales=["2"], options=PLAIN)
    again = evaluate.run(["sinc"], spec, tmp_path / "new", scales=["2"], degradation=text, options=PLAIN)
    assert {row.degradation for row in rows} == {text_of(evaluate.recipe(text))}
    assert [row.psnr for row in rows] == [row.psnr for row in again]
    assert [row.psnr for row in rows] != [row.psnr for row in plain]


def test_a_slice_is_scanned_once_for_all_its_scales(
    spec: testset.EvaluationSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans: list[float] = []
    original = cbct.simulate

    def counted(values: np.ndarray, *rest: object) -> np.ndarray:
        scans.append(float(values.sum()))
        return original(values, *rest)

    monkeypatch.setattr(cbct, "simulate", counted)
    rows = evaluate.run(
        ["sinc", "bicubic"], spec, tmp_path / "out", scales=["2", "3"],
        degradation="cbct:element_mm=2:views=24", options=PLAIN,
    )  # fmt: skip
    assert len(rows) == 8
    assert len(scans) == len(set(scans)) == 2
    assert {row.degradation for row in rows} == {"cbct:views=24:element_mm=2"}


def test_only_ct_is_scanned_with_a_cone_beam(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", modality="MR", size=(1, 48, 56))
    spec = testset.of_paths([tmp_path / "scan"], "MR")
    with pytest.raises(UsageError, match="HU"):
        evaluate.run(["sinc"], spec, tmp_path / "out", scales=["2"], degradation="cbct", options=PLAIN)
