"""3×3 convolution by Winograd's F(4×4, 3×3) with its gradients: `winograd.c` under autograd.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016. The gradient of the input is a
convolution with the turned kernel; the gradient of the kernel is a product in the same domain.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .library import functions, library

LANES = 16


def available() -> bool:
    """Whether this machine has the compiled kernels; the first call builds them."""
    return library() is not None


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether this form computes the convolution here: float32 on a processor, channels in multiples of 16."""
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype is weight.dtype is torch.float32
        and weight.shape[0] % LANES == weight.shape[1] % LANES == 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and available()
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
        y = _convolved(x, weight, add=add, relu=relu)
        ctx.save_for_backward(x, weight, y if relu else None)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight, mask = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = _convolved(gradient, weight, mask=mask, turned=True)
        if ctx.needs_input_grad[1]:
            to_weight = _kernel_gradient(x, gradient, weight, mask)
        return to_x, to_weight, gradient if ctx.needs_input_grad[2] else None, None


def _convolved(
    x: Tensor,
    weight: Tensor,
    mask: Tensor | None = None,
    add: Tensor | None = None,
    relu: bool = False,
    turned: bool = False,
) -> Tensor:
    """Everything channels_last; `mask` is like `x`, `add` like the result; `turned` for the gradient at the input."""
    n, channels, height, width = x.shape
    out = weight.shape[1 if turned else 0]
    y = torch.empty((n, out, height, width), memory_format=torch.channels_last)
    kernel = torch.empty(36, channels, out)
    if add is not None:
        add = add.contiguous(memory_format=torch.channels_last)
    code = functions().winograd_convolve(
        x.data_ptr(), _pointer(mask), weight.data_ptr(), kernel.data_ptr(), _pointer(add), y.data_ptr(),
        _strides(weight), int(turned), n, height, width, channels, out, int(relu), torch.get_num_threads(),
    )  # fmt: skip
    if code:
        raise MemoryError("no memory for a convolution's scratch")
    return y


def _kernel_gradient(x: Tensor, gradient: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
    n, channels, height, width = x.shape
    out, threads = gradient.shape[1], torch.get_num_threads()
    parts = torch.empty(threads, 36, channels, out)
    result = torch.empty_like(weight)
    code = functions().winograd_gradient(
        x.data_ptr(), gradient.data_ptr(), _pointer(mask), parts.data_ptr(), result.data_ptr(),
        _strides(result), n, height, width, channels, out, threads,
    )  # fmt: skip
    if code:
        raise MemoryError("no memory for a gradient's scratch")
    return result


def _strides(kernel: Tensor) -> Any:
    return (ctypes.c_long * 4)(*kernel.stride())


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
