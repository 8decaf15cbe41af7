"""The node's pages against the program: every key with its default, every state, status and metric."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from peers import settings
from pydantic import BaseModel
from test_docs import DOCS, REFERENCE, fences, quoted, sections, table

from mesr.node import config, health, receive, store

pytestmark = pytest.mark.usefixtures("node_libraries")

_PAGE = REFERENCE / "node.md"
_SAID = {"required", "none", "any", "all", "below", "–"}
"""Words for a default that is no value."""


@pytest.mark.parametrize(
    ("heading", "kinds"),
    [
        ("The file", [config.NodeConfig]),
        ("listen", [config.Listen]),
        ("rules", [config.Rule]),
        ("destinations", [config.CStore, config.Stow]),
        ("retry and health", [config.Retry, config.Health]),
    ],
)
def test_every_key_is_named_with_its_default(heading: str, kinds: list[type[BaseModel]]) -> None:
    documented = {
        key: default for keys, default, _ in table(sections(_PAGE, 3)[heading], "key") for key in quoted(keys)
    }
    fields = [(key, field) for kind in kinds for key, field in kind.model_fields.items()]
    assert documented.keys() == {key for key, _ in fields}
    for key, field in fields:
        said = documented[key]
        assert (said == "required") is field.is_required(), key
        if said not in _SAID:
            values = [yaml.safe_load(value) for value in quoted(said)]
            assert field.get_default() in values, key
        elif said != "below":
            assert field.is_required() or field.get_default() is None, key


def test_every_state_status_and_metric_is_named() -> None:
    text = sections(_PAGE, 2)
    assert [quoted(row[0])[0] for row in table(text["States"], "state")] == list(store.STATES)
    statuses = {int(row[0], 16) for row in table(text["Answers to C-STORE"], "status")}
    assert statuses == {
        receive.SUCCESS,
        receive.OUT_OF_RESOURCES,
        receive.DOES_NOT_MATCH,
        receive.CANNOT_UNDERSTAND,
    }
    rows = {quoted(name)[0]: meaning for name, meaning in table(text["Metrics"], "metric")}
    assert rows == health.HELP


def test_the_configurations_of_the_how_to_are_understood(tmp_path: Path) -> None:
    whole, part = fences(DOCS / "how-to" / "node.md", "yaml")
    (tmp_path / "node.yaml").write_text(whole, encoding="utf-8")
    assert [rule.name for rule in config.load(tmp_path / "node.yaml").rules] == ["lung", "other-ct"]
    (tmp_path / "node.yaml").write_text(yaml.safe_dump(settings(tmp_path, 104) | yaml.safe_load(part)))
    assert config.load(tmp_path / "node.yaml").listen.tls is not None
