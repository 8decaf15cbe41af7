"""Weights files describe themselves and are checked before anything is allocated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mesr.errors import UsageError, WeightsError
from mesr.models import build
from mesr.models import weights as weights_files
from mesr.models.ensemble import SelfEnsemble

SPEC = {"name": "mesr", "args": {"blocks": 1, "features": 8, "hidden": 16}}


def _saved(folder: Path, **kwargs: bool) -> Path:
    torch.manual_seed(0)
    path = folder / "tiny.safetensors"
    weights_files.save(
        path, "tiny", SPEC, build(SPEC).state_dict(), {"training": {"modalities": ["CT"]}}, **kwargs
    )
    return path


def test_a_card_says_what_the_file_is(tmp_path: Path) -> None:
    card = weights_files.read_card(_saved(tmp_path))
    assert (card.name, card.spec, card.modalities) == ("tiny", SPEC, ["CT"])
    assert len(card.weights_id) == 64


def test_the_id_follows_the_tensors_not_the_name(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    first = weights_files.read_card(path).weights_id
    assert weights_files.read_card(path.rename(tmp_path / "other.safetensors")).weights_id == first
    tensors = build(SPEC).state_dict()
    assert weights_files.identify(tensors, SPEC) != first


def test_half_precision_on_disk_is_float32_in_use(tmp_path: Path) -> None:
    model, _ = weights_files.load(_saved(tmp_path, half=True))
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert not model.training


@pytest.mark.parametrize("name", weights_files.shipped() or ["none shipped"])
def test_shipped_weights_load_and_say_what_they_are(name: str) -> None:
    if name == "none shipped":
        pytest.skip("needs shipped weights")
    model, card = weights_files.load(name)
    assert card.name == name
    assert model.parameter_count <= 5_100_000
    assert card.about["data"]
    assert card.about["training"]["steps"] > 0


def test_a_plus_asks_the_network_in_eight_orientations(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    _, alone = weights_files.load(path)
    model, card = weights_files.load(f"{path}+")
    assert isinstance(model, SelfEnsemble)
    assert (card.name, card.weights_id) == ("tiny+", alone.weights_id + "+")
    with pytest.raises(WeightsError, match="No weights are called"):
        weights_files.load("+")


@pytest.mark.parametrize("name", ["nearest", "bicubic", "sinc", "backprojection"])
def test_interpolators_are_models_too(name: str) -> None:
    model, card = weights_files.load(name)
    assert model.parameter_count == 0
    assert card.modalities == []


def test_an_untrained_architecture_is_not_offered_as_weights() -> None:
    with pytest.raises(WeightsError, match="No weights are called"):
        weights_files.load("mesr-paper")


@pytest.mark.parametrize(
    "content", [b"", b"not safetensors", b"\xff" * 64, (1 << 60).to_bytes(8, "little") + b"{}"]
)
def test_a_damaged_file_is_refused_plainly(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        weights_files.load(path)


def test_a_missing_file_is_refused_plainly(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="missing or damaged"):
        weights_files.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"format": 99, "name": "x", "spec": SPEC},
        {"format": 1, "name": "x", "spec": {"name": "mesr", "args": {"blocks": 10_000_000_000}}},
        {"format": 1, "name": "x", "spec": {"name": "mesr", "args": {"blocks": "many"}}},
        {"format": 1, "name": "x", "spec": {"name": "os.system"}},
        {"format": 1, "name": "x", "spec": {"name": "mesr", "args": {"features": 1 << 40}}},
        {"format": 1, "name": "x", "spec": {"name": "mesr"}},
    ],
)  # fmt: skip
def test_a_file_that_lies_about_itself_is_refused_before_anything_is_allocated(
    tmp_path: Path, header: dict[str, object]
) -> None:
    path = tmp_path / "lie.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"mesr": json.dumps(header)})
    with pytest.raises((WeightsError, UsageError)):
        weights_files.load(path)


@pytest.mark.parametrize("args", [{"blocks": -1}, {"features": "a"}, {"skip": "cubic"}])
def test_a_file_whose_spec_makes_no_model_is_refused_with_its_path(
    tmp_path: Path, args: dict[str, object]
) -> None:
    path = tmp_path / "w.safetensors"
    weights_files.save(path, "w", {"name": "mesr", "args": args}, {"a": torch.zeros(1)}, {})
    with pytest.raises(WeightsError) as refused:
        weights_files.load(path)
    assert (refused.value.code, refused.value.path) == ("weights-spec", path)
