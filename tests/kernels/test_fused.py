"""oneDNN's fused convolution against PyTorch's own, and where it is used."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mesr.kernels import fused
from mesr.kernels.convolution import conv3x3

X, ADD = torch.randn(2, 2, 32, 19, 23, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(48, 32, 3, 3, generator=torch.Generator().manual_seed(1)) / 17
SQUARE, BIAS = WEIGHT[:32], torch.linspace(-1, 1, 48)

needed = pytest.mark.skipif(not fused.available(), reason="this machine's PyTorch has no fused convolution")


@pytest.fixture(autouse=True)
def _as_a_slice_is_computed() -> object:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        yield


@needed
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [None, BIAS])
def test_it_is_the_convolution(dtype: torch.dtype, bias: torch.Tensor | None) -> None:
    assert fused.suits(X.to(dtype), WEIGHT)
    plain = F.conv2d(X.double(), WEIGHT.double(), None if bias is None else bias.double(), padding=1)
    for relu in (False, True):
        found = conv3x3(X.to(dtype), WEIGHT, bias, relu=relu)
        assert found.dtype is torch.bfloat16
        torch.testing.assert_close(found.double(), plain.relu() if relu else plain, rtol=0.02, atol=0.03)


@needed
def test_it_is_the_sum() -> None:
    before = ADD.clone()
    found = conv3x3(X, SQUARE, add=ADD)
    wanted = F.conv2d(X.double(), SQUARE.double(), padding=1) + ADD
    torch.testing.assert_close(found.double(), wanted, rtol=0.02, atol=0.03)
    assert torch.equal(ADD, before)
    add, x = (one.to(torch.bfloat16, memory_format=torch.channels_last) for one in (ADD, X))
    before = add.clone()
    torch.testing.assert_close(conv3x3(x, SQUARE, add=add).double(), wanted, rtol=0.02, atol=0.05)
    assert torch.equal(add, before)


@needed
def test_gradients_and_other_types_get_pytorch_s_own() -> None:
    with torch.enable_grad():
        assert not fused.suits(X, WEIGHT)
    with torch.autocast("cpu", enabled=False):
        assert not fused.suits(X, WEIGHT)
        assert fused.suits(X.bfloat16(), WEIGHT.bfloat16())
    with torch.autocast("cpu", torch.float16):
        assert not fused.suits(X, WEIGHT)


def test_an_operator_that_is_gone_or_says_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for operator in (_raises, lambda x, *_: x):
        fused.available.cache_clear()
        monkeypatch.setattr(fused, "_operator", operator)
        assert not fused.available()
    fused.available.cache_clear()


def _raises(*_: object) -> torch.Tensor:
    raise AttributeError("no such operator")
