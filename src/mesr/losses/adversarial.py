"""The adversarial term, Eqs. (10) and (11): a Wasserstein critic held to slope 1 by a gradient penalty.

SRGAN and ESRGAN were published with other losses of the same two players, which are here to train them by.

The critic has an optimiser of its own and learns several times for every step of the generator. It is never
wrapped for distributed training, which the penalty's second derivative would break: its gradients are
averaged by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..parallel import average_gradients, place


@dataclass
class CriticConfig:
    """How the critic learns (Gulrajani et al. 2017).

    Attributes:
        loss: "wasserstein" with the gradient penalty; "cross-entropy", real against computed (Goodfellow et al. 2014, as
            SRGAN's and MIASSR's); "relativistic", more real than the average computed one (Jolicoeur-Martineau 2018, as
            ESRGAN's). The latter two with SRGAN's discriminator as published, batch norm included.
        steps: of the critic for each of the generator, every one on a batch of its own.
        rate: Adam's learning rate; its betas are (0, 0.9), or (0.9, 0.999) without the penalty.
        penalty: weight of the gradient penalty.
        features: maps of the critic's first layer.
    """

    loss: Literal["wasserstein", "cross-entropy", "relativistic"] = "wasserstein"
    steps: int = 5
    rate: float = 1e-4
    penalty: float = 10.0
    features: int = 64


class CriticLoss(NamedTuple):
    """What a critic goes down, and two figures to watch.

    Attributes:
        total: Eq. (11), a scalar; or the cross-entropy of a discriminator.
        distance: E[D(hr)] − E[D(sr)], a critic's estimate of how far the generator is from the truth.
        slope: mean norm of ∇D at the images in between, which the penalty draws to 1; None without one.
    """

    total: Tensor
    distance: Tensor
    slope: Tensor | None


def critic_loss(
    critic: nn.Module, sr: Tensor, hr: Tensor, epsilon: Tensor, penalty: float = 10.0
) -> CriticLoss:
    """Eq. (11): E[D(sr)] − E[D(hr)] + penalty · E[(‖∇D(I)‖₂ − 1)²], with I = ε·hr + (1 − ε)·sr.

    Args:
        critic: (N, 1, H, W) to (N,); without batch norm, which would tie the samples' gradients together.
        sr, hr: (N, 1, H, W); no gradient goes back to them.
        epsilon: (N,) in 0…1, one a sample.
    """
    sr, hr = sr.detach(), hr.detach()
    share = epsilon.view(-1, 1, 1, 1)
    between = (share * hr + (1 - share) * sr).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    slopes = gradient.flatten(1).norm(dim=1)
    distance = critic(hr).mean() - critic(sr).mean()
    total = penalty * (slopes - 1).square().mean() - distance
    return CriticLoss(total, distance.detach(), slopes.mean().detach())


def discriminator_loss(
    critic: nn.Module, sr: Tensor, hr: Tensor, *, relativistic: bool = False
) -> CriticLoss:
    """Binary cross-entropy of telling `hr` from `sr`, or each from the average of the others.

    Args:
        critic: (N, 1, H, W) to (N,) logits.
        sr, hr: (N, 1, H, W); no gradient goes back to them.
    """
    real, computed = critic(hr), critic(sr.detach())
    distance = (real.mean() - computed.mean()).detach()
    return CriticLoss(_told_apart(real, computed, relativistic), distance, None)


def _told_apart(high: Tensor, low: Tensor, relativistic: bool) -> Tensor:
    """Cross-entropy of `high` being called real and `low` computed; logits (N,)."""
    if relativistic:
        high, low = high - low.mean(), low - high.mean()
        return (F.softplus(-high).mean() + F.softplus(low).mean()) / 2
    return F.softplus(-high).mean() + F.softplus(low).mean()


class Adversary:
    """A critic, its optimiser and its lessons; frozen whenever it is not learning.

    Args:
        critic: (N, 1, H, W) to (N,), on its device.
        config: how it learns.
        seed: decides every ε.

    Raises:
        UsageError: code `loss`, the critic would never learn.
    """

    def __init__(self, critic: nn.Module, config: CriticConfig, seed: int) -> None:
        if config.steps < 1:
            raise UsageError("loss", f"The critic needs at least one step at a time, found {config.steps}.")
        self.critic, self.config, self.seed = critic.train().requires_grad_(False), config, seed
        betas = (0.0, 0.9) if config.loss == "wasserstein" else (0.9, 0.999)
        self.optimiser = torch.optim.Adam(critic.parameters(), config.rate, betas=betas, fused=True)

    def term(self, sr: Tensor, hr: Tensor) -> Tensor:
        """What the generator goes down, −E[D(sr)] or the cross-entropy of `sr` being called real; from (N, 1, H, W)."""
        judged: Tensor = self.critic(sr)
        if self.config.loss == "wasserstein":
            return -judged.mean()
        if self.config.loss == "cross-entropy":
            return F.softplus(-judged).mean()
        return _told_apart(judged, self.critic(hr), relativistic=True)

    def learn(self, pairs: Iterable[tuple[Tensor, Tensor]], step: int) -> dict[str, Tensor]:
        """A step of the critic on each pair, in float32; the figures to watch, averaged over them.

        Args:
            pairs: (sr, hr), each (N, 1, H, W); asked for one by one.
            step: of the generator, which with the seed decides ε.
        """
        self.critic.requires_grad_(True)
        losses = []
        for turn, (sr, hr) in enumerate(pairs):
            if self.config.loss == "wasserstein":
                epsilon = self.epsilon(step, turn, len(hr)).to(hr)
                loss = critic_loss(self.critic, sr, hr, epsilon, self.config.penalty)
            else:
                relativistic = self.config.loss == "relativistic"
                loss = discriminator_loss(self.critic, sr, hr, relativistic=relativistic)
            self.optimiser.zero_grad(set_to_none=True)
            loss.total.backward()  # type: ignore[no-untyped-call]
            average_gradients(self.critic.parameters())
            self.optimiser.step()
            losses.append(loss)
        self.critic.requires_grad_(False)
        slopes = [one.slope for one in losses if one.slope is not None]
        seen = {"critic distance": torch.stack([one.distance for one in losses]).mean()}
        return seen | ({"critic gradient norm": torch.stack(slopes).mean()} if slopes else {})

    def epsilon(self, step: int, turn: int, count: int) -> Tensor:
        """(count,) in [0, 1): always the same for a step and turn, so that a resumed run repeats itself.

        Several processes that share a batch equally, `count` each, take the parts of one draw.
        """
        rank, processes = place()
        chance = np.random.default_rng([self.seed, step, turn])
        drawn = torch.from_numpy(chance.random(processes * count, dtype=np.float32))
        return drawn[rank * count : (rank + 1) * count]
