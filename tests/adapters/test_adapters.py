"""MONAI, TorchIO and plain PyTorch get what `mesr.upscale` gives, where it belongs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import require

import mesr
from mesr.adapters.image import Request, affine_of, super_resolved, volume_of
from mesr.adapters.module import SuperResolution as Module
from mesr.errors import UsageError

AFFINE = np.array([[-0.8, 0, 0.1, 90], [0, 0.7, 0, -80], [0, 0, 2.5, 12], [0, 0, 0, 1.0]])
"""Oblique a little, flipped along one axis."""
IMAGE = np.random.default_rng(0).normal(0, 300, (2, 14, 11, 3)).astype(np.float32)


def _written_and_read(tmp_path: Path) -> mesr.Volume:
    """The first channel by way of a NIfTI file that nibabel wrote, super-resolved."""
    import nibabel as nib

    nib.save(nib.Nifti1Image(IMAGE[0], AFFINE), tmp_path / "image.nii")
    return mesr.upscale(tmp_path / "image.nii", spacing=0.4, model="sinc")


def test_an_image_is_what_its_nifti_file_would_be(tmp_path: Path) -> None:
    expected = _written_and_read(tmp_path)
    found, affine = super_resolved(IMAGE, AFFINE, Request(spacing=0.4, model="sinc"))
    assert found.shape == (2, 28, 19, 3)
    np.testing.assert_allclose(found[0], expected.array.transpose(2, 1, 0), atol=1e-3)
    np.testing.assert_allclose(affine, affine_of(expected.geometry), atol=1e-5)
    np.testing.assert_allclose(affine_of(volume_of(IMAGE[0], AFFINE).geometry), AFFINE, atol=1e-12)


def test_the_field_of_view_stays() -> None:
    _, affine = super_resolved(IMAGE, AFFINE, Request(scale=2.5, model="bicubic"))
    corner = np.array([-0.5, -0.5, 0.0, 1.0])
    np.testing.assert_allclose(affine @ corner, AFFINE @ corner, atol=1e-9)


def test_monai_keeps_affine_and_meta(tmp_path: Path) -> None:
    require("monai", find_spec("monai") is not None)
    from monai.data import MetaTensor

    from mesr.adapters.monai import SuperResolution, SuperResolutiond

    image = MetaTensor(torch.from_numpy(IMAGE), affine=torch.from_numpy(AFFINE), meta={"name": "kept"})
    found = SuperResolutiond(["ct"], spacing=0.4, model="sinc")({"ct": image, "other": 1})
    assert found["other"] == 1
    result = found["ct"]
    expected = _written_and_read(tmp_path)
    np.testing.assert_allclose(result[0].numpy(), expected.array.transpose(2, 1, 0), atol=1e-3)
    np.testing.assert_allclose(result.affine.numpy(), affine_of(expected.geometry), atol=1e-5)
    assert result.meta["name"] == "kept"
    assert tuple(image.shape) == IMAGE.shape
    assert tuple(SuperResolution(scale=2, model="bicubic")(IMAGE[..., 0]).shape) == (2, 28, 22)
    with pytest.raises(KeyError):
        SuperResolutiond(["absent"], scale=2)({})
    with pytest.raises(UsageError):
        SuperResolution(scale=2, size=5)


def test_torchio_keeps_labels_on_the_same_grid(tmp_path: Path) -> None:
    require("torchio", find_spec("torchio") is not None)
    import torchio as tio

    from mesr.adapters.torchio import SuperResolution

    labels = (IMAGE[:1] > 0).astype(np.int16) * 7
    subject = tio.Subject(
        ct=tio.ScalarImage(tensor=torch.from_numpy(IMAGE[:1]), affine=AFFINE),
        organ=tio.LabelMap(tensor=torch.from_numpy(labels), affine=AFFINE),
    )
    found = SuperResolution(spacing=0.4, model="sinc")(subject)
    expected = _written_and_read(tmp_path)
    np.testing.assert_allclose(found.ct.data[0].numpy(), expected.array.transpose(2, 1, 0), atol=1e-3)
    np.testing.assert_allclose(found.ct.affine, affine_of(expected.geometry), atol=1e-5)
    np.testing.assert_allclose(found.organ.affine, found.ct.affine)
    assert found.organ.data.dtype == torch.int16
    assert set(found.organ.data.unique().tolist()) == {0, 7}
    assert found.organ.spatial_shape == found.ct.spatial_shape
    assert subject.ct.spatial_shape == IMAGE.shape[1:]
    assert [type(one).__name__ for one in found.history] == ["SuperResolution"]


def test_a_module_answers_batches_in_hu_and_passes_gradients() -> None:
    module = Module(scale=1.5)
    image = torch.from_numpy(IMAGE[0].transpose(2, 1, 0).copy())[:, None].requires_grad_()
    found = module(image)
    assert found.shape == (3, 1, 17, 21)
    volume = mesr.upscale(
        volume_of(IMAGE[0], AFFINE), scale=1.5, model="mesr-lite", modality="CT", precision="float32"
    )
    np.testing.assert_allclose(found[:, 0].detach().numpy(), volume.array, atol=0.02)
    found.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert module(image, scale=(1, 2)).shape == (3, 1, 11, 28)
    assert module(image, scale=1).equal(image)
    assert not any(parameter.requires_grad for parameter in module.parameters())
