"""The head's compiled last step: taken where it serves, for whole axes and windows of them."""

from __future__ import annotations

import pytest
import torch
from conftest import require

from mesr.grid import Axis, fraction
from mesr.kernels import products, winograd
from mesr.models.meta_head import MetaHead


@pytest.fixture(autouse=True)
def _compiled() -> None:
    require("compiler", winograd.available())


def _head(hidden: int) -> MetaHead:
    torch.manual_seed(0)
    return MetaHead(16, hidden, "nearest").eval()


@pytest.mark.parametrize("hidden", [16, 48, 7])
def test_several_images_and_any_width_give_what_every_kernel_gives(hidden: int) -> None:
    head, features = _head(hidden), torch.randn(2, 16, 19, 23)
    rows, columns = Axis.scaled(19, fraction("2.37")), Axis.scaled(23, fraction("1.9"))
    with torch.inference_mode():
        assert products.suits(features, torch.empty(1, hidden)) == (hidden % 16 == 0)
        found = head(features, rows, columns, "reassociated")
        wanted = head(features, rows, columns, "reference")
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_a_window_of_an_axis_is_computed_from_its_own_pixels() -> None:
    head, features = _head(32), torch.randn(1, 16, 40, 24)
    rows, columns = Axis.scaled(40, fraction("2.3")), Axis.scaled(24, fraction("2.3"))
    with torch.inference_mode():
        whole = head(features, rows, columns, "reassociated")
        part = head(features[:, :, 10:30], rows.window(40, 55, 10, 30), columns, "reassociated")
    torch.testing.assert_close(part, whole[:, :, 40:55], atol=1e-5, rtol=0)


def test_it_is_left_to_pytorch_where_a_gradient_is_wanted() -> None:
    assert not products.suits(torch.randn(1, 16, 8, 8), torch.empty(1, 16))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_responses_in_half_precision_are_multiplied_in_float32(dtype: torch.dtype) -> None:
    head, features = _head(32), torch.randn(1, 16, 19, 23)
    rows, columns = Axis.scaled(19, fraction("2.37")), Axis.scaled(23, fraction("1.9"))
    with torch.inference_mode():
        assert products.suits(features.to(dtype), torch.empty(1, 32))
        wanted = head(features.to(dtype).float(), rows, columns, "reference")
        with torch.autocast("cpu", dtype):
            found = head(features, rows, columns, "reassociated")
    assert found.dtype is torch.float32
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
