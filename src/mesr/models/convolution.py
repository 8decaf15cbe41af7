"""The convolutions the published networks are made of: the size is kept, an image is met in float32."""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from ..kernels.convolution import conv3x3

Module = TypeVar("Module", bound=nn.Module)


class Conv3x3(nn.Conv2d):
    """A 3×3 convolution that keeps (H, W), by the fastest exact form there is."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return conv3x3(x, self.weight, self.bias)


def convolution(inputs: int, outputs: int, size: int = 3, *, bias: bool = True) -> nn.Conv2d:
    """A convolution of an odd kernel size that keeps (H, W); zeros beyond the edges."""
    if size == 3:
        return Conv3x3(inputs, outputs, bias)
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)


class ImageConv(nn.Conv2d):
    """A convolution from an image or to one, in float32 also under autocast: a bfloat16 step is 4 to 8 HU."""

    def __init__(
        self, inputs: int, outputs: int, size: int = 3, padding_mode: Literal["zeros", "replicate"] = "zeros"
    ) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2, padding_mode=padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def channels_last(module: Module) -> Module:
    """The module with its kernels in the memory order that convolutions run fastest in."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module
