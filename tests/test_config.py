"""YAML and overrides into dataclasses, with suggestions for what is mistyped."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesr.config import load
from mesr.errors import UsageError
from mesr.prepare import SetSpec
from mesr.recipe import TrainConfig, check

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("mesr-*.yaml")), ids=lambda path: path.stem)
def test_the_committed_recipes_load(path: Path) -> None:
    check(load(TrainConfig, path))


def test_overrides_reach_nested_keys_and_keep_their_types() -> None:
    config = load(
        TrainConfig,
        None,
        ["optimiser.rate=1e-3", "sampling.scales=[2, 3]", "model.args.blocks=4", "start=null"],
    )
    assert config.optimiser.rate == 1e-3
    assert config.sampling.scales == [2.0, 3.0]
    assert config.model.args == {"blocks": 4}
    assert config.start is None


def test_an_unknown_key_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as wrong:
        load(TrainConfig, None, ["optimiser.warm_up=3"])
    assert "optimiser.warm_up" in wrong.value.sentence
    assert "optimiser.warmup" in wrong.value.fix


@pytest.mark.parametrize(
    "override",
    ["steps=many", "steps=1.5", "optimiser.schedule=cosin", "losses=3", "steps", "sampling.patch=true"],
)
def test_a_value_of_the_wrong_kind_is_refused(override: str) -> None:
    with pytest.raises(UsageError):
        load(TrainConfig, None, [override])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("steps=abc", "steps must be a whole number, found 'abc'."),
        ("optimiser.rate=fast", "optimiser.rate must be a number, found 'fast'."),
        ("name=3", "name must be text, found '3'."),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_the_right_one_in_plain_words(override: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        load(TrainConfig, None, [override])
    assert refused.value.sentence == sentence


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\xfe: [")
    with pytest.raises(UsageError, match="YAML"):
        load(TrainConfig, path)


def test_what_is_lacking_is_named_with_its_place_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "scans.yaml"
    path.write_text("scans: [{path: a, split: train, patient: a, modality: CT}, {path: b, modality: CT}]")
    with pytest.raises(UsageError) as refused:
        load(SetSpec, path)
    assert refused.value.sentence == "The configuration lacks scans[1].split, scans[1].patient."


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such configuration file"):
        load(TrainConfig, tmp_path / "nowhere.yaml")
