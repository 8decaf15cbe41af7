"""A card names what its weights came from, those they were started from included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_run import ARGS, silent, small_run, small_set

from mesr.errors import WeightsError
from mesr.models import build
from mesr.models import weights as weights_files
from mesr.models.weights import Card
from mesr.progress import Progress
from mesr.recipe import TrainConfig
from mesr.train import train


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    return small_set(tmp_path / "set", ("later", "held out"))


@pytest.fixture(name="donor")
def _donor(tmp_path: Path) -> Path:
    """Weights that an adversarial loss trained, on a scan of another set and on one of the same name and source."""
    training = {"modalities": ["CT"], "losses": {"l1": 1.0, "adversarial": 0.001}}
    data = [
        {"id": name, "modality": "CT", "licence": licence, "source": "made", "slices": 9}
        for name, licence in (("earlier", "CC BY 4.0"), ("later", "none"))
    ]
    spec = {"name": "mesr", "args": dict(ARGS)}
    path = tmp_path / "donor.safetensors"
    tensors = build(spec).state_dict()
    weights_files.save(path, "donor-1", spec, tensors, {"training": training, "data": data})
    return path


def _tuning(root: Path, out: Path, donor: Path, **changes: object) -> TrainConfig:
    return small_run(root, out, start=str(donor), steps=2, checkpoint_minutes=0.0, **changes)


def test_the_card_of_a_fine_tuned_network_names_its_donor_and_the_data_of_both(
    root: Path, tmp_path: Path, donor: Path
) -> None:
    card = weights_files.read_card(train(_tuning(root, tmp_path / "run", donor), silent))
    expected = {
        "name": "donor-1",
        "weights_id": weights_files.read_card(donor).weights_id,
        "perceptual": True,
    }
    assert card.about["training"]["start"] == expected
    assert [(one["id"], one["licence"], one["slices"]) for one in card.about["data"]] == [
        ("later", "none", 2),
        ("earlier", "CC BY 4.0", 9),
    ]
    assert str(tmp_path) not in json.dumps(card.about)


def test_the_perceptual_mark_and_the_data_are_handed_on_from_run_to_run(
    root: Path, tmp_path: Path, donor: Path
) -> None:
    first = train(_tuning(root, tmp_path / "first", donor), silent)
    card = weights_files.read_card(train(_tuning(root, tmp_path / "second", first), silent))
    assert card.about["training"]["losses"] == {"l1": 1.0}
    assert card.perceptual
    assert [one["id"] for one in card.about["data"]] == ["later", "earlier"]


def test_a_network_from_nothing_has_no_start(root: Path, tmp_path: Path) -> None:
    card = weights_files.read_card(train(small_run(root, tmp_path / "run", steps=1), silent))
    assert card.about["training"]["start"] is None
    assert not card.perceptual


def test_a_resumed_run_whose_donor_has_gone_gives_the_same_weights_and_card(
    root: Path, tmp_path: Path, donor: Path
) -> None:
    def stops(progress: Progress) -> None:
        if progress.step == 2:
            raise RuntimeError("the power went")

    torch.set_num_threads(1)
    whole = train(_tuning(root, tmp_path / "whole", donor), silent)
    broken = _tuning(root, tmp_path / "broken", donor)
    with pytest.raises(RuntimeError, match="power"):
        train(broken, stops)
    donor.unlink()
    resumed = train(broken, silent)
    expected, found = load_file(whole), load_file(resumed)
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    cards = [weights_files.read_card(path).about for path in (whole, resumed)]
    for about in cards:
        del about["training"]["minutes"]
    assert cards[0] == cards[1]


def test_a_checkpoint_from_before_it_held_the_donor_asks_the_donor_s_file(
    root: Path, tmp_path: Path, donor: Path
) -> None:
    config = _tuning(root, tmp_path / "run", donor)
    train(config, silent)
    path = tmp_path / "run" / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["run"])
    del header["origin"]
    save_file(load_file(path), path, metadata={"run": json.dumps(header)})
    assert [one["id"] for one in weights_files.read_card(train(config, silent)).about["data"]] == [
        "later",
        "earlier",
    ]
    save_file(load_file(path), path, metadata={"run": json.dumps(header)})
    donor.unlink()
    with pytest.raises(WeightsError):
        train(config, silent)


@pytest.mark.parametrize("start", ["~/runs/earlier.safetensors", None])
def test_a_card_whose_start_is_a_path_or_nothing_still_loads(start: str | None, tmp_path: Path) -> None:
    spec = {"name": "mesr", "args": dict(ARGS)}
    about = {"training": {"losses": {"l1": 1.0}, "start": start}}
    weights_files.save(tmp_path / "old.safetensors", "old", spec, build(spec).state_dict(), about)
    _, card = weights_files.load(tmp_path / "old.safetensors")
    assert isinstance(card, Card)
    assert not card.perceptual
