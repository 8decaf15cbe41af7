"""Prepared sets as they are read, and the pair a whole slice makes."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mesr.data import load_slices, read_manifest, reference_pair
from mesr.errors import InputError


@pytest.mark.parametrize("scale", ["1.5", "2", "2.5", "3.7"])
def test_the_reference_is_cropped_never_resampled(scale: str) -> None:
    hr = torch.rand(1, 1, 101, 90)
    pair = reference_pair(hr, Fraction(scale))
    h, w = pair.hr.shape[2:]
    assert any(
        torch.equal(pair.hr, hr[..., y : y + h, x : x + w]) for y in range(102 - h) for x in range(91 - w)
    )
    assert pair.grid.size_out == (1, h, w)
    assert pair.grid.size_in == (1, *pair.lr.shape[2:])
    expected = F.interpolate(pair.hr, size=tuple(pair.lr.shape[2:]), mode="bicubic", antialias=True)
    torch.testing.assert_close(pair.lr, expected, atol=1e-5, rtol=0)


def test_a_training_set_is_read_by_split_modality_and_site(tmp_path: Path) -> None:
    series = []
    for split, modality, site in (("train", "CT", "chest"), ("train", "MR", "brain"), ("val", "CT", "chest")):
        file = f"{split}-{modality}.npy"
        np.save(tmp_path / file, np.zeros((4, 4), np.int16))
        slices = [{"file": file, "site": site, "shape": [4, 4], "sha256": ""}]
        series.append({"id": file, "split": split, "modality": modality, "window": [0, 1], "slices": slices})
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "series": series}))
    assert [one.name for one in load_slices(tmp_path, "train", ["CT"])] == ["train-CT.npy"]
    assert len(load_slices(tmp_path, "train", ["CT", "MR"])) == 2
    assert len(load_slices(tmp_path, "train", ["CT", "MR"], sites=["brain"])) == 1
    with pytest.raises(InputError, match="no MR slice"):
        load_slices(tmp_path, "val", ["MR"])


def test_a_folder_that_is_no_training_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training set"):
        read_manifest(tmp_path)
