"""The one 3×3 convolution of every body: Winograd's form or oneDNN's fused one where they serve, else PyTorch's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import fused, winograd


def conv3x3(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False, add: Tensor | None = None
) -> Tensor:
    """3×3 convolution, stride 1, zero padding 1; then ReLU, or the sum with `add`.

    Args:
        x: (N, C, H, W), best channels_last.
        weight: (K, C, 3, 3).
        bias: (K,).
        add: (N, K, H, W); not together with `relu`.

    Returns:
        (N, K, H, W); within about 1e-5 of its largest value whichever form computed it, or 1e-2 in bfloat16.
    """
    if winograd.suits(x, weight):
        if bias is None:
            return winograd.convolve(x, weight, add, relu)
        y = winograd.convolve(x, weight, add) + bias.view(-1, 1, 1)
        return torch.relu_(y) if relu else y
    if fused.suits(x, weight):
        return fused.convolve(x, weight, bias, add, relu)
    y = F.conv2d(x, weight, bias, padding=1)
    if relu:
        return torch.relu_(y)
    return y if add is None else add + y
