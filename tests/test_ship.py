"""Shipping: what the notes say of a network's failures is said by its header too, and what is printed of it is what was measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from tiny import tiny_weights
from torch import Tensor

from mesr.grid import Grid, Target
from mesr.models import AnyScale, SuperResolver, weights
from mesr.models.contract import Encoded
from mesr.resample import resize

ROOT = Path(__file__).parents[1]
NOTES = """## Where it holds

* CT in HU.

## Known failures

* It learned from
  five patients.
* Rings and *streaks* are sharpened - like
  anatomy.

This is no point of the list.

## Afterwards

* Nothing.
"""


def script(name: str) -> ModuleType:
    """A module of scripts/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="ship")
def _ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which ships into a folder of the test's."""
    module = script("ship")
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "package")
    return module


def test_known_failures_are_the_points_under_that_heading_each_on_one_line(ship: ModuleType) -> None:
    assert ship.known_failures(NOTES) == [
        "It learned from five patients.",
        "Rings and *streaks* are sharpened - like anatomy.",
    ]
    assert ship.known_failures("## Known failures\n") == []
    assert ship.known_failures("## Where it holds\n\n* CT.\n") == []


def test_a_shipped_card_says_its_known_failures_and_those_of_its_notes_alone(
    ship: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_weights(tmp_path / "tiny-1.safetensors", "tiny-1")
    model, card = weights.load(source)
    about = card.about | {"intensity": "linear", "data": [], "known_failures": ["an old one"]}
    weights.save(source, "tiny-1", card.spec, model.state_dict(), about, force=True)
    for notes, expected in ((NOTES, ship.known_failures(NOTES)), ("## How\n", None)):
        (tmp_path / "notes.md").write_text(notes)
        monkeypatch.setattr(sys, "argv", ["ship.py", str(source), "--notes", str(tmp_path / "notes.md")])
        ship.main()
        shipped = weights.read_card(tmp_path / "package" / "tiny-1.safetensors")
        assert shipped.about.get("known_failures") == expected


def test_a_network_is_shipped_to_average_over_orientations(
    ship: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_weights(tmp_path / "tiny-1.safetensors", "tiny-1")
    model, card = weights.load(source)
    weights.save(
        source,
        "tiny-1",
        card.spec,
        model.state_dict(),
        card.about | {"intensity": "linear", "data": []},
        force=True,
    )
    (tmp_path / "notes.md").write_text(NOTES)
    command = ["ship.py", str(source), "--notes", str(tmp_path / "notes.md"), "--orientations", "4"]
    monkeypatch.setattr(sys, "argv", command)
    ship.main()
    shipped, about = weights.load(tmp_path / "package" / "tiny-1.safetensors")
    assert about.spec["args"]["orientations"] == 4
    image = torch.rand(1, 1, 12, 12)
    grid = Target.of(scale=2).grid((1, 12, 12), None)
    with torch.inference_mode():
        turned = shipped(image.mT, grid).mT
        torch.testing.assert_close(shipped(image, grid), turned, atol=1e-5, rtol=0)
        assert not torch.allclose(model(image, grid), model(image.mT, grid).mT, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", weights.shipped())
def test_shipped_weights_draw_nothing_into_air_that_is_even(name: str) -> None:
    ghosts = script("ghosts").ghosts
    model, _ = weights.load(name)
    assert (
        max(ghosts(model, scale, radius) for scale in ("1.5", "2", "2.5", "4") for radius in (100, 150)) < 3
    )


def test_a_network_that_draws_ghosts_is_found_out() -> None:
    class Haunted(SuperResolver):
        """The truth, and 10 HU more where nothing is."""

        scales = AnyScale(1.0, 4.0)
        receptive_field = 3

        def encode(self, lr: Tensor) -> Encoded:
            return Encoded(lr)

        def decode(self, encoded: Encoded, grid: Grid) -> Tensor:
            sr = resize(encoded.lr, grid.rows, grid.columns, "bicubic")
            return torch.where(sr < 1e-4, sr + 0.005, sr)

    ghosts = script("ghosts").ghosts
    assert ghosts(Haunted(), "2", 100) == pytest.approx(10, abs=0.1)
    assert ghosts(weights.load("bicubic")[0], "2", 100) < 0.1


def test_the_tables_of_the_readme_are_those_of_the_committed_results() -> None:
    readme, text = script("readme"), (ROOT / "README.md").read_text(encoding="utf-8")
    assert (len(readme.BLOCK.findall(text)), len(readme.LEADS.findall(text))) == (3, 1)
    assert readme.filled(text) == text, "run scripts/readme.py"
    assert readme.filled(text.replace("| +", "| -")) == text, (
        "what is filled in does not depend on what was there"
    )


def test_settings_begin_from_weights_that_exist() -> None:
    begun = {
        path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in (ROOT / "configs").glob("*.yaml")
    }
    starts = {name: settings["start"] for name, settings in begun.items() if settings.get("start")}
    made = {
        f"{settings['out']}/{settings['name']}.safetensors"
        for settings in begun.values()
        if "out" in settings
    }
    assert starts
    assert {name for name, start in starts.items() if start not in {*weights.shipped(), *made}} == set()


@pytest.mark.parametrize("name", weights.shipped())
def test_a_shipped_card_says_what_its_notes_say(name: str) -> None:
    notes = (ROOT / "configs" / f"{name}.notes.md").read_text(encoding="utf-8").strip()
    card = (ROOT / "src" / "mesr" / "weights" / f"{name}.md").read_text(encoding="utf-8")
    assert notes in card, "run scripts/ship.py with these notes"
    assert weights.load(name)[1].weights_id in card
