"""One implementation of each interpolator, held against independent ones."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import require_module, shared_data

from mesr.grid import Axis
from mesr.resample import METHODS, Method, add_resized, fill_padding, matrix, resize, resize_mask


@pytest.mark.parametrize("size", [(40, 31), (150, 200), (101, 77), (13, 300)])
def test_bicubic_is_pytorch_s_anti_aliased_one(size: tuple[int, int]) -> None:
    image = torch.randn(2, 1, 101, 77, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)
    found = resize(image, Axis.sized(101, size[0]), Axis.sized(77, size[1]), "bicubic")
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", ["1", "1.37", "2", "3.5"])
def test_weights_sum_to_one_so_that_a_constant_stays(method: Method, scale: str) -> None:
    weights = matrix(Axis.scaled(37, Fraction(scale)), method)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_scale_one_gives_the_input_back(method: Method) -> None:
    image = torch.rand(1, 1, 12, 9)
    assert torch.equal(resize(image, Axis.identity(12), Axis.identity(9), method), image)


@pytest.mark.parametrize("method", ["bspline3", "bspline5", "bicubic", "sinc"])
def test_interpolators_reproduce_the_samples_they_pass_through(method: Method) -> None:
    weights = matrix(Axis.scaled(31, Fraction(3)), method)
    np.testing.assert_allclose(weights[1::3], np.eye(31), atol=1e-10)


@pytest.mark.parametrize(("method", "order", "atol"), [("bilinear", 1, 0.1), ("bspline3", 3, 0.1)])
def test_values_on_a_real_slice_are_those_of_simpleitk(method: Method, order: int, atol: float) -> None:
    sitk = require_module("SimpleITK")
    from mesr import io

    slice_ = io.read(shared_data() / "val" / "KiTS-00072").slices[9].values.astype(np.float64)
    rows, columns = (
        Axis.scaled(slice_.shape[0], Fraction("1.7")),
        Axis.scaled(slice_.shape[1], Fraction("2.3")),
    )
    image = sitk.GetImageFromArray(slice_)
    grid = sitk.Image(columns.size_out, rows.size_out, sitk.sitkFloat64)
    grid.SetSpacing([float(columns.step), float(rows.step)])
    grid.SetOrigin([float(columns.start), float(rows.start)])
    kind = sitk.sitkLinear if order == 1 else sitk.sitkBSpline3
    expected = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), kind, -1000.0))
    found = resize(torch.from_numpy(slice_), rows, columns, method).numpy()
    inside = np.s_[20:-20, 20:-20]
    assert np.abs(found - expected)[inside].max() < atol


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", ["0.3", "1.37", "2.5"])
def test_bands_of_a_large_axis_are_its_whole_matrix(method: Method, scale: str) -> None:
    rows, columns = Axis.scaled(700, Fraction(scale)), Axis.scaled(300, Fraction(scale))
    exact = Axis.spaced(700, Fraction("0.7"), Fraction("0.31"), exact=True)
    image = torch.rand(2, 700, 300, dtype=torch.float64)
    for down in (rows, exact):
        whole = torch.from_numpy(matrix(down, method)) @ image @ torch.from_numpy(matrix(columns, method)).T
        torch.testing.assert_close(resize(image, down, columns, method), whole, atol=1e-12, rtol=0)
        image.requires_grad_()
        torch.testing.assert_close(resize(image, down, columns, method), whole, atol=1e-12, rtol=0)
        image = image.detach()


def test_what_inference_kept_serves_training() -> None:
    axis = Axis.scaled(19, Fraction("1.7"))
    image = torch.rand(1, 19, 19)
    with torch.inference_mode():
        resize(image, axis, axis, "bicubic")
    resize(image.requires_grad_(), axis, axis, "bicubic").sum().backward()
    assert image.grad is not None


def test_a_mask_follows_the_nearest_rule() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, 2] = True
    found = resize_mask(mask, Axis.scaled(4, Fraction(2)), Axis.scaled(4, Fraction(2)))
    assert found.sum() == 4
    assert found[2:4, 4:6].all()


def test_padding_is_filled_from_the_nearest_measured_pixel() -> None:
    values = np.arange(30, dtype=np.float32).reshape(5, 6)
    padding = np.zeros((5, 6), dtype=bool)
    padding[0] = True
    padding[2, :2] = True
    padding[3, :5] = True
    filled = fill_padding(np.where(padding, np.float32(-2000), values), padding)
    np.testing.assert_array_equal(filled[0], values[1])
    np.testing.assert_array_equal(filled[2, :2], [14, 14])
    np.testing.assert_array_equal(filled[3], [23] * 6)
    np.testing.assert_array_equal(filled[~padding], values[~padding])


def test_nothing_but_padding_stays_as_it_is() -> None:
    values = np.full((3, 3), -2000, dtype=np.float32)
    assert fill_padding(values, np.ones((3, 3), dtype=bool)) is values


@pytest.mark.parametrize(("rows", "columns"), [("2", "2"), ("1.5", "3.7"), ("0.5", "0.5"), ("0.4", "2.5")])
@pytest.mark.parametrize("method", ["bicubic", "sinc"])
def test_strips_are_the_whole_and_can_be_added_to_what_is_there(rows: str, columns: str, method) -> None:
    image = torch.rand(2, 1, 700, 90, dtype=torch.float64)
    axes = Axis.scaled(700, Fraction(rows)), Axis.scaled(90, Fraction(columns))
    weights = [torch.from_numpy(matrix(axis, method)) for axis in axes]
    expected = weights[0] @ image @ weights[1].T
    found = resize(image, *axes, method)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    target = torch.ones_like(found)
    add_resized(target, image, *axes, method)
    torch.testing.assert_close(target, 1 + expected, atol=1e-12, rtol=0)
