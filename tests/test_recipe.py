"""Settings of a training that make no sense are refused in one plain sentence."""

from __future__ import annotations

import re

import pytest

from mesr.config import load
from mesr.errors import UsageError
from mesr.recipe import TrainConfig, check


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("steps=0", "steps must be 1 or more, found 0."),
        ("sampling.patch=0", "sampling.patch must be 1 or more, found 0."),
        ("sampling.batch=0", "sampling.batch must be 1 or more, found 0."),
        ("sampling.candidates=0", "sampling.candidates must be 1 or more, found 0."),
        ("sampling.seed=-1", "sampling.seed must be 0 or more, found -1."),
        ("sampling.continuous=1.5", "sampling.continuous must lie from 0 to 1, found 1.5."),
        ("sampling.anisotropic=-0.1", "sampling.anisotropic must lie from 0 to 1, found -0.1."),
        ("sampling.anisotropic=.nan", "sampling.anisotropic must lie from 0 to 1, found nan."),
        ("sampling.high=40", "sampling.high must lie from 1 to 32, found 40.0."),
        ("sampling.coarser=0.5", "sampling.coarser must lie from 1 to 32, found 0.5."),
        ("validation.every=0", "validation.every must be 1 or more, found 0."),
        ("validation.slices=0", "validation.slices must be 1 or more, found 0."),
        ("optimiser.rate=-1e-3", "optimiser.rate must be 0 or more, found -0.001."),
        ("optimiser.muon_rate=-1", "optimiser.muon_rate must be 0 or more, found -1.0."),
        ("optimiser.head=-1", "optimiser.head must be 0 or more, found -1.0."),
        ("optimiser.warmup=-1", "optimiser.warmup must be 0 or more, found -1."),
        ("optimiser.every=0", "optimiser.every must be 1 or more, found 0."),
        ("optimiser.decay=2", "optimiser.decay must lie from 0 to 1, found 2.0."),
        ("optimiser.fall=2", "optimiser.fall must lie from 0 to 1, found 2.0."),
        ("optimiser.ema=1.1", "optimiser.ema must lie from 0 to 1, found 1.1."),
        ("optimiser.clip=0", "optimiser.clip must be 1e-06 or more, found 0.0."),
        ("critic.steps=0", "critic.steps must be 1 or more, found 0."),
        ("critic.rate=-1", "critic.rate must be 0 or more, found -1.0."),
        ("checkpoint_minutes=-1", "checkpoint_minutes must be 0 or more, found -1.0."),
        ("threads=-1", "threads must lie from 0 to 1024, found -1."),
        (
            "schedule={l1: {ramp: -1}}",
            "schedule.l1 must begin at step 0 or later and rise over 0 steps or more, found 0 and -1.",
        ),
        ("sampling.modalities=[]", "sampling.modalities must name at least one modality, found none."),
        ("sampling.scales=[2, 0.5]", "The scales of sampling.scales must lie from 1 to 32, found 0.5."),
        ("sampling.scales=[40]", "The scales of sampling.scales must lie from 1 to 32, found 40."),
        ("validation.scales=[0.5]", "The scales of validation.scales must lie from 1 to 32, found 0.5."),
        ("name=checkpoint", "The name of the weights must be a plain file name other than checkpoint,"),
        ("name=../mine", "The name of the weights must be a plain file name other than checkpoint,"),
        ("losses={l7: 1}", "The losses must be among"),
    ],
)
def test_a_setting_no_run_can_follow_is_refused_in_a_sentence(override: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)) as refused:
        check(load(TrainConfig, None, [override]))
    assert refused.value.exit_code == 2


def test_corrections_are_refused_where_the_network_is_to_take_noise_away() -> None:
    overrides = ["model.args={corrections: 2}"]
    check(load(TrainConfig, None, overrides))
    with pytest.raises(UsageError, match="bring back"):
        check(load(TrainConfig, None, [*overrides, "sampling.degradation=noise"]))


@pytest.mark.parametrize(
    "override",
    ["steps=1", "validation.scales=[]", "optimiser.rate=0", "optimiser.ema=0", "optimiser.clip=.inf", "sampling.patch=1",
     "sampling.scales=[1]", "checkpoint_minutes=0", "losses={l1: 0, log_l1: 0.1}"],
)  # fmt: skip
def test_a_setting_at_its_end_is_let_through(override: str) -> None:
    check(load(TrainConfig, None, [override]))


def test_the_defaults_are_let_through() -> None:
    check(TrainConfig())


def test_a_discriminator_with_batch_norm_needs_batches() -> None:
    overrides = ["losses={l1: 1, adversarial: 0.001}", "sampling.batch=1"]
    check(load(TrainConfig, None, overrides))
    with pytest.raises(UsageError, match="found 1"):
        check(load(TrainConfig, None, [*overrides, "critic.loss=cross-entropy"]))
