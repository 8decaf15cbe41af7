"""The compound loss, Eq. (12): a weighted sum of terms, each of which may join the run later and by degrees."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..errors import UsageError
from .perceptual import FEATURE_DISTANCES

Term = Callable[[Tensor, Tensor], Tensor]
"""(sr, hr), each (N, 1, H, W) float32, to a scalar."""

LOOKING = ("perceptual", *FEATURE_DISTANCES)
"""Terms that a VGG network looks for."""

KNOWN = ("l1", "l2", "log_l1", "psnr", "lattice", *LOOKING, "adversarial")


@dataclass
class Ramp:
    """When a term joins.

    Attributes:
        start: first step it counts in.
        ramp: steps over which its weight then rises from nothing; 0 for at once.
    """

    start: int = 0
    ramp: int = 0

    def share(self, step: int) -> float:
        """The share of its weight a term has at a step, 0…1."""
        if step < self.start:
            return 0.0
        return min(1.0, (step - self.start + 1) / max(1, self.ramp))


class Compound:
    """λ·L1 + γ·L_adv + η·L_perc, with weights that depend on the step.

    Args:
        terms: by name; those of `weights` that are not zero.
        weights: λ, η, γ under "l1", "perceptual", "adversarial".
        schedule: terms that do not count from the first step on.
    """

    def __init__(
        self, terms: Mapping[str, Term], weights: Mapping[str, float], schedule: Mapping[str, Ramp]
    ) -> None:
        self.terms, self.weights, self.schedule = dict(terms), dict(weights), dict(schedule)

    def weight(self, name: str, step: int) -> float:
        """A term's weight at a step; 0 for one that is not among them."""
        return self.weights.get(name, 0.0) * self.schedule.get(name, Ramp()).share(step)

    def __call__(self, sr: Tensor, hr: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum at a step, and each term's own value before its weight, without a gradient.

        A term whose weight is zero is not computed.
        """
        counting = {name: weight for name in self.weights if (weight := self.weight(name, step)) > 0}
        values = {name: self.terms[name](sr, hr) for name in counting}
        weighted = [weight * values[name] for name, weight in counting.items()]
        return sum(weighted[1:], weighted[0]), {
            f"loss {name}": value.detach() for name, value in values.items()
        }


def looking(weights: Mapping[str, float]) -> bool:
    """Whether a term among them needs a VGG network."""
    return any(weights.get(name) for name in LOOKING)


def check(weights: Mapping[str, float], schedule: Mapping[str, Ramp]) -> None:
    """Refuse weights or a schedule no run can follow, before anything is loaded for them.

    Raises:
        UsageError: code `loss`: a term is unknown, a weight is no positive number, or no term counts at step 0.
    """
    unknown = sorted({*weights, *schedule} - set(KNOWN))
    if unknown or not weights:
        found = ", ".join(name[:40] for name in unknown) or "none"
        raise UsageError("loss", f"The losses must be among {', '.join(KNOWN)}; found {found}.")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()):
        raise UsageError("loss", "The weights of the losses must be finite and not negative.")
    if not any(weight * schedule.get(name, Ramp()).share(0) > 0 for name, weight in weights.items()):
        raise UsageError("loss", "No loss counts at the first step.", "Let one of them start at step 0.")
