"""The pixel term: what every network here begins with."""

from __future__ import annotations

from torch import Tensor


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error, Eq. (8); a scalar from two (N, 1, H, W)."""
    return (sr - hr).abs().mean()
