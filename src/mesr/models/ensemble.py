"""Geometric self-ensemble: one network asked eight times, the image turned and mirrored, and averaged.

Written as the literature does (Lim et al. 2017, EDSR+): `mesr-1+` are the weights `mesr-1` used so. It takes
eight times as long.
"""

from __future__ import annotations

from itertools import product

from torch import Tensor

from ..grid import Grid
from .contract import Encoded, SuperResolver


class SelfEnsemble(SuperResolver):
    """The mean of a network's answers in the eight orientations of the plane.

    Args:
        network: any model; its answers are turned back before they are averaged.
    """

    def __init__(self, network: SuperResolver) -> None:
        super().__init__()
        self.network = network
        self.scales = network.scales
        self.receptive_field = network.receptive_field
        self.finishes = network.finishes

    def encode(self, lr: Tensor) -> Encoded:
        """The image alone: each orientation has features of its own, which are made when it is decoded."""
        return Encoded(lr)

    def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
        """The mean over the orientations, one after the other, so that memory is that of one."""
        total: Tensor | None = None
        for turned, upside_down, mirrored in product((False, True), repeat=3):
            flips = [axis for axis, flip in ((2, upside_down), (3, mirrored)) if flip]
            rows = grid.rows.mirrored() if upside_down else grid.rows
            columns = grid.columns.mirrored() if mirrored else grid.columns
            lr = encoded.lr.flip(flips)
            if turned:
                sr = self.network(lr.mT.contiguous(), Grid.plane(columns, rows)).mT
            else:
                sr = self.network(lr, Grid.plane(rows, columns))
            answer = sr.float().flip(flips)
            total = answer if total is None else total + answer
        assert total is not None
        return total / 8

    def finish(self, lr: Tensor, sr: Tensor, grid: Grid) -> Tensor:
        """The network's own last step, which is the same in every orientation."""
        return self.network.finish(lr, sr, grid)
