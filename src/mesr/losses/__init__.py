"""The terms a network is trained with (paper §3.3), one a file, each usable alone: pixel, perceptual, adversarial."""

from __future__ import annotations

from .adversarial import Adversary, CriticConfig, critic_loss
from .compound import Compound, Ramp
from .perceptual import Perceptual, PerceptualConfig
from .pixel import l1, l2, log_l1, psnr

__all__ = [
    "Adversary", "Compound", "CriticConfig", "Perceptual", "PerceptualConfig", "Ramp",
    "critic_loss", "l1", "l2", "log_l1", "psnr",
]  # fmt: skip
