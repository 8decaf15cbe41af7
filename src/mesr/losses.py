"""The terms a network is trained with, each usable alone, weighted in the configuration.

The paper's compound loss (§3.3) has two more, perceptual and adversarial; they join the table here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from .errors import UsageError

Loss = Callable[[Tensor, Tensor], Tensor]


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error, Eq. (8)."""
    return (sr - hr).abs().mean()


_LOSSES: dict[str, Loss] = {"l1": l1}


def compound(weights: Mapping[str, float]) -> Loss:
    """The weighted sum of the named terms.

    Raises:
        UsageError: a term is unknown.
    """
    unknown = sorted(set(weights) - set(_LOSSES))
    if unknown or not weights:
        known = ", ".join(_LOSSES)
        raise UsageError("loss", f"The losses must be among {known}; found {', '.join(unknown) or 'none'}.")

    def total(sr: Tensor, hr: Tensor) -> Tensor:
        terms = [weight * _LOSSES[name](sr, hr) for name, weight in weights.items()]
        return sum(terms[1:], terms[0])

    return total
