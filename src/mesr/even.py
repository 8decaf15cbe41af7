"""Edges on even ground: what no scan with noise shows, and a digital phantom, or air that was filled in, is all of.

A network that has only learned from scans may draw anything there, farther from an edge than noise ever let it see
(docs/explanation/choices.md, Ghosts on even ground).
"""

from __future__ import annotations

import numpy as np

from .volume import FloatImage

MOST_SHAPES = 3
BRIGHTEST = 1.5
"""Of the network's range: 2000 HU for CT."""

SOFTNESS = (0.3, 1.5)
"""Pixels over which an edge rises, from the sharpest to the softest."""


def even_ground(height: int, width: int, chance: np.random.Generator) -> FloatImage:
    """One to three discs or half-planes of one value each, and nothing else: (height, width) in the network's range.

    Half of the levels are 0, which is air; half of the straight edges lie along an axis.
    """
    rows, columns = np.ogrid[:height, :width]
    values = np.full((height, width), _level(chance))
    for _ in range(chance.integers(1, MOST_SHAPES + 1)):
        middle_y, middle_x = height * chance.uniform(-0.5, 1.5), width * chance.uniform(-0.5, 1.5)
        inside = (
            _half_plane(rows, columns, height * chance.random(), width * chance.random(), chance)
            if chance.random() < 0.5
            else max(height, width) * chance.uniform(0.1, 1.0) - np.hypot(rows - middle_y, columns - middle_x)
        )
        steep = np.clip(inside / chance.uniform(*SOFTNESS), -50.0, 50.0)
        values += (_level(chance) - values) / (1.0 + np.exp(-2.0 * steep))
    return values.astype(np.float32)


def _half_plane(
    rows: np.ndarray, columns: np.ndarray, y: float, x: float, chance: np.random.Generator
) -> np.ndarray:
    """How far beyond an edge through a place each pixel lies."""
    quarter = float(chance.integers(4)) if chance.random() < 0.5 else 4.0 * chance.random()
    angle = 0.5 * np.pi * quarter
    distance: np.ndarray = (rows - y) * np.sin(angle) + (columns - x) * np.cos(angle)
    return distance


def _level(chance: np.random.Generator) -> float:
    return 0.0 if chance.random() < 0.5 else BRIGHTEST * chance.random()
