"""Eq. (1) of the paper, I_lr = (I_hr ⊗ κ) ↓s + n: named recipes that make a low-resolution image.

    bicubic       ↓s alone, the protocol's; every headline table
    blur-bicubic  κ a Gaussian, then ↓s
    noise         ↓s and n Gaussian
    kspace        MR: the spectrum cut short
    cbct          CT: a low-dose cone-beam scan simulated in its projections, then ↓s

Everything random is a function of a seed.
"""

from .cone_beam import ConeBeam, simulate
from .contract import Degradation, seed_of
from .recipes import RECIPES, recipe, text_of

__all__ = ["RECIPES", "ConeBeam", "Degradation", "recipe", "seed_of", "simulate", "text_of"]
