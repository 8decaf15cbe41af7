"""The terms a network is trained with (paper §3.3), one a file, each usable alone: pixel, perceptual, adversarial, lattice."""

from __future__ import annotations

from .adversarial import Adversary, CriticConfig, critic_loss
from .compound import Compound, Ramp, looking
from .lattice import Lattice
from .perceptual import FeatureDistance, Perceptual, PerceptualConfig
from .pixel import l1, l2, log_l1, psnr

__all__ = [
    "Adversary", "Compound", "CriticConfig", "FeatureDistance", "Lattice", "Perceptual", "PerceptualConfig", "Ramp",
    "critic_loss", "l1", "l2", "log_l1", "looking", "psnr",
]  # fmt: skip
