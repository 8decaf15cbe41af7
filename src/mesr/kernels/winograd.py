"""3×3 convolution by Winograd's F(4×4, 3×3) with its gradients: `winograd.c` under autograd.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016. The gradient of the input is a
convolution with the turned kernel; the gradient of the kernel is a product in the same domain.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .library import library

_LANES = 16
_G = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6]]
_G += [[1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether this form computes the convolution here: float32 on a processor, channels in multiples of 16."""
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype is weight.dtype is torch.float32
        and weight.shape[0] % _LANES == weight.shape[1] % _LANES == 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and library() is not None
    )


def convolve(x: Tensor, weight: Tensor, add: Tensor | None = None, relu: bool = False) -> Tensor:
    """As `kernels.conv3x3`, where `suits` says so."""
    result: Tensor = _Convolution.apply(x, weight, add, relu)  # type: ignore[no-untyped-call]
    return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, add: Tensor | None, relu: bool) -> Tensor:
        assert not (relu and add is not None), "a ReLU before a sum has no mask in the result"
        x = x.contiguous(memory_format=torch.channels_last)
        kernel = _transformed(weight.permute(2, 3, 1, 0))
        y = _convolved(x, kernel, weight.shape[0], add=add, relu=relu)
        ctx.save_for_backward(x, weight, y if relu else None)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight, mask = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            turned = _transformed(weight.flip(2, 3).permute(2, 3, 0, 1))
            to_x = _convolved(gradient, turned, weight.shape[1], mask=mask)
        if ctx.needs_input_grad[1]:
            to_weight = _kernel_gradient(x, gradient, mask)
        return to_x, to_weight, gradient if ctx.needs_input_grad[2] else None, None


@functools.cache
def _transform() -> Tensor:
    g = torch.tensor(_G, dtype=torch.float64)
    return torch.kron(g, g).float()


def _transformed(kernel: Tensor) -> Tensor:
    """(3, 3, in, out) to (36, in·out): G g Gᵀ."""
    return _transform() @ kernel.reshape(9, -1)


def _convolved(
    x: Tensor,
    kernel: Tensor,
    out: int,
    mask: Tensor | None = None,
    add: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    n, channels, height, width = x.shape
    y = torch.empty((n, out, height, width), memory_format=torch.channels_last)
    if add is not None:
        add = add.contiguous(memory_format=torch.channels_last)
    code = _functions().winograd_convolve(
        x.data_ptr(), _pointer(mask), kernel.data_ptr(), _pointer(add), y.data_ptr(),
        n, height, width, channels, out, int(relu), torch.get_num_threads(),
    )  # fmt: skip
    if code:
        raise MemoryError("no memory for a convolution's scratch")
    return y


def _kernel_gradient(x: Tensor, gradient: Tensor, mask: Tensor | None) -> Tensor:
    n, channels, height, width = x.shape
    out, threads = gradient.shape[1], torch.get_num_threads()
    parts = torch.empty(threads, 36, channels * out)
    code = _functions().winograd_gradient(
        x.data_ptr(), gradient.data_ptr(), _pointer(mask), parts.data_ptr(),
        n, height, width, channels, out, threads,
    )  # fmt: skip
    if code:
        raise MemoryError("no memory for a gradient's scratch")
    kernel = _transform().T @ parts.sum(0)
    return kernel.view(3, 3, channels, out).permute(3, 2, 0, 1)


def _functions() -> Any:
    found = library()
    assert found is not None
    return found


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
