"""3×3 convolution in bfloat16 together with its ReLU or its sum, by oneDNN in one pass over the image.

Where a processor has matrix tiles (AMX) a convolution takes hardly longer than the passes over memory around it.
PyTorch does the ReLU, the sum and the change of type in passes of their own; the operator that TorchInductor compiles
to does not, and needs no compiling. The sum is then kept in bfloat16, which changes a result by 0.005 HU on average.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

_PADDING = _STRIDE = _DILATION = (1, 1)


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether this form computes the convolution here: bfloat16 on a processor, no gradients."""
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and _in_bf16(x, weight)
        and not torch.is_grad_enabled()
        and bool(torch.backends.mkldnn.enabled)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and available()
    )


@cache
def available() -> bool:
    """Whether PyTorch has the operator, which is no part of its public interface, and it does what it did."""
    x, weight, add = (
        torch.linspace(-1, 1, math.prod(shape), dtype=torch.bfloat16).view(shape)
        for shape in ((1, 16, 4, 4), (16, 16, 3, 3), (1, 16, 4, 4))
    )
    try:
        found = _operator(x, weight, None, None, False), _operator(x, weight, None, add, False)
        positive = _operator(x, weight, None, None, True)
    except (AttributeError, RuntimeError, TypeError):
        return False
    with torch.autocast("cpu", enabled=False):
        plain = F.conv2d(x.float(), weight.float(), padding=1)
    wanted = plain, plain + add, plain.relu()
    return all(
        torch.allclose(a.float(), b, rtol=0.02, atol=0.1)
        for a, b in zip((*found, positive), wanted, strict=True)
    )


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, relu: bool) -> Tensor:
    """As `kernels.convolution.conv3x3`, where `suits` says so; the result is bfloat16."""
    return _operator(_image(x), weight.bfloat16(), bias if bias is None else bias.bfloat16(), add, relu)


def _operator(x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, relu: bool) -> Tensor:
    operator = torch.ops.mkldnn._convolution_pointwise
    geometry = _PADDING, _STRIDE, _DILATION, 1
    if add is None:
        return operator(x, weight, bias, *geometry, "relu" if relu else "none", [], None)  # type: ignore[no-any-return]
    return operator.binary(x, _image(add), weight, bias, *geometry, "add", 1.0, None, [], None)  # type: ignore[no-any-return]


def _image(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16, memory_format=torch.channels_last)


def _in_bf16(x: Tensor, weight: Tensor) -> bool:
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") is torch.bfloat16
    return x.dtype is weight.dtype is torch.bfloat16
