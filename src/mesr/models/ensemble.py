"""Geometric self-ensemble: one network asked eight times, the image turned and mirrored, and averaged.

Written as the literature does (Lim et al. 2017, EDSR+): `mesr-lite-3+` are the weights `mesr-lite-3` used so. It takes
eight times as long.
"""

from __future__ import annotations

from torch import Tensor

from ..grid import Grid
from .contract import Encoded, SuperResolver
from .orientations import ORIENTATIONS


class SelfEnsemble(SuperResolver):
    """The mean of a network's answers in the eight orientations of the plane.

    Args:
        network: any model; its answers are turned back before they are averaged.
    """

    def __init__(self, network: SuperResolver) -> None:
        super().__init__()
        self.network = network
        self.scales = network.scales
        # One more, as in `Mesr`: turned images break a tie in the very middle the other way.
        self.receptive_field = None if network.receptive_field is None else network.receptive_field + 1
        self.finishes = network.finishes

    def encode(self, lr: Tensor) -> Encoded:
        """The image alone: each orientation has features of its own, which are made when it is decoded."""
        return Encoded(lr)

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        """The mean over the orientations, one after the other, so that memory is that of one."""
        total: Tensor | None = None
        for one in ORIENTATIONS:
            answer = one.back(self.network(one.of(encoded.lr), one.grid(grid)).float())
            total = answer if total is None else total + answer
        assert total is not None
        return total / len(ORIENTATIONS)

    def finish(self, lr: Tensor, sr: Tensor, grid: Grid) -> Tensor:
        """The network's own last step, which is the same in every orientation."""
        return self.network.finish(lr, sr, grid)
