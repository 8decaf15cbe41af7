"""The pixel terms: what every network here begins with, and what it may end with."""

from __future__ import annotations

from torch import Tensor


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error, Eq. (8); a scalar from two (N, 1, H, W)."""
    return (sr - hr).abs().mean()


def l2(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean squared error, as SRCNN, VDSR, SRResNet and SRDenseNet were published with; a scalar from two (N, 1, H, W)."""
    return (sr - hr).square().mean()


FLOOR = 1e-6
"""Mean squared error below which a patch has nothing more to gain: 60 dB."""


def psnr(sr: Tensor, hr: Tensor) -> Tensor:
    """Minus the PSNR of each patch, in dB at a peak of 1, averaged; a scalar from two (N, 1, H, W).

    What the tables measure: a smooth slice's small errors count as much as a sharp one's large ones.
    """
    return 10.0 * ((sr - hr).square().mean(dim=(1, 2, 3)) + FLOOR).log10().mean()


LEAST = 5e-4
"""Mean absolute error below which a patch has little more to gain: 1 HU of the window of 2,000."""


def log_l1(sr: Tensor, hr: Tensor) -> Tensor:
    """The logarithm of each patch's mean absolute error, averaged; a scalar from two (N, 1, H, W).

    Every patch, smooth or sharp, at a small scale or a large one, asks for the same share of improvement.
    """
    return ((sr - hr).abs().mean(dim=(1, 2, 3)) + LEAST).log().mean()
