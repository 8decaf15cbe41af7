"""node.yaml at the door: what is wrong is named with its place, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from peers import settings

from mesr.errors import UsageError
from mesr.node.config import NodeConfig, Stow, load
from mesr.node.facts import Facts
from mesr.node.rules import match


def _loaded(folder: Path, values: Any) -> NodeConfig:
    path = folder / "node.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    return load(path)


def test_paths_count_from_the_files_folder(tmp_path: Path) -> None:
    config = _loaded(tmp_path, settings(tmp_path, 104) | {"spool": "spool"})
    assert config.spool == tmp_path / "spool"


def test_the_least_that_must_be_said_is_enough(tmp_path: Path) -> None:
    least = {
        "spool": "spool",
        "listen": {"calling": ["CT1"]},
        "rules": [{"name": "all", "scale": 2}],
        "destinations": [{"type": "stow-rs", "name": "pacs", "url": "https://pacs/dicom-web"}],
    }
    config = _loaded(tmp_path, least)
    assert config.listen.host == "127.0.0.1"
    assert config.rules[0].model == "auto"


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("listen", "caling"), ["A"], "listen.caling. Did you mean calling?"),
        (("listen", "calling"), [], "listen.calling is wrong"),
        (("listen", "calling"), ["A" * 17], "1 to 16 printable"),
        (("listen", "called"), [" A"], "no space"),
        (("listen", "port"), 70_000, "listen.port is wrong"),
        (("listen", "associations"), 0, "listen.associations is wrong"),
        (("rules", 0, "scale"), "two", "rules.0 is wrong: The scale must be a number"),
        (("rules", 0, "scale"), True, "rules.0.scale"),
        (("rules", 0, "spacing"), 0.5, "Exactly one of scale, spacing and size"),
        (("rules", 0, "modality"), "PT", "rules.0.modality is wrong"),
        (("rules", 0, "destinations"), ["archive"], "sends to archive"),
        (("rules", 0, "name"), "a b", "letters, digits"),
        (("destinations", 0, "type"), "ftp", "destinations.0 is wrong"),
        (("destinations", 0, "called"), "A\\B", "no backslash"),
        (("quiet_seconds",), float("nan"), "quiet_seconds is wrong"),
        (("retry",), {"first_seconds": 0}, "retry.first_seconds is wrong"),
        (("spol",), "x", "spol. Did you mean spool?"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, place: tuple[str | int, ...], value: object, said: str
) -> None:
    values = settings(tmp_path, 104)
    inner: Any = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(UsageError) as refused:
        _loaded(tmp_path, values)
    assert refused.value.code == "config"
    assert said in str(refused.value)


def test_names_are_given_once(tmp_path: Path) -> None:
    values = settings(tmp_path, 104)
    values["rules"] *= 2
    with pytest.raises(UsageError, match="two rules have the same name"):
        _loaded(tmp_path, values)


@pytest.mark.parametrize("text", ["", "- a", "a: [", "\0", "a: &a [*a]\nb: !!python/name:os.system"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        _loaded(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a readable YAML"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "about",
    [
        {"url": "ftp://pacs/x"},
        {"url": "https://user:secret@pacs/x"},
        {"url": "https://pacs/x", "user": "a"},
        {"url": "http://pacs/x", "tls": {}},
        {"url": "https://pacs/x?a=b"},
    ],
)
def test_a_web_address_says_where_and_nothing_else(about: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"url|user|tls"):
        Stow.model_validate({"type": "stow-rs", "name": "pacs"} | about)


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({}, True),
        ({"modality": "CT"}, True),
        ({"modality": "MR"}, False),
        ({"description": "*lung*"}, True),
        ({"description": "lung"}, False),
        ({"description": "thorax ?ung [12].0"}, True),
        ({"calling": ["CT1", "CT2"]}, True),
        ({"calling": ["CT2"]}, False),
        ({"called": ["MESR"], "modality": "CT", "description": "THORAX*"}, True),
        ({"called": ["mesr"]}, False),
    ],
)
def test_a_rule_asks_for_all_it_names(tmp_path: Path, rule: dict[str, Any], fits: bool) -> None:
    values = settings(tmp_path, 104)
    values["rules"] = [{"name": "one", "scale": 2} | rule]
    facts = Facts("1.2", "1.3", "1.4", "1.5", "CT", "Thorax LUNG 2.0", None, False)
    assert (match(NodeConfig.model_validate(values).rules, facts, "CT1", "MESR") is not None) is fits
