"""What became of a study, as values that travel between machines and lie on a disk: without names, without pickle."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .. import report
from ..errors import MesrError
from ..job import Outcome


@dataclass(frozen=True)
class Fate:
    """An `Outcome` in short.

    Attributes:
        study: what the report says of it (`report.study`), without patient data or paths.
        exit_code: what the program would end with if this were all.
        before: whether an earlier call had done it already.
    """

    study: dict[str, Any]
    exit_code: int
    before: bool = False

    @classmethod
    def of(cls, outcome: Outcome) -> Fate:
        """What is kept of an outcome. The cause of a bug, which may quote patient data, is not."""
        return cls(report.study(outcome), outcome.error.exit_code if outcome.error else 0)

    @classmethod
    def refusal(cls, id: str, label: str, format: str, error: MesrError) -> Fate:
        """The fate of a study that was not even begun."""
        return cls.of(Outcome(id, label, format, "refused", error=error))

    @property
    def done(self) -> bool:
        return bool(self.study["status"] == "done")

    @property
    def error(self) -> MesrError | None:
        """Why it was not done."""
        told = self.study["error"]
        return MesrError(told["code"], told["sentence"], told["fix"]) if told else None


def packed(fates: Iterable[Fate]) -> list[dict[str, Any]]:
    """As values JSON can hold."""
    return [asdict(fate) for fate in fates]


def unpacked(values: Iterable[dict[str, Any]]) -> list[Fate]:
    """What `packed` gave.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    return [Fate(dict(one["study"]), int(one["exit_code"]), bool(one.get("before"))) for one in values]


def to_json(fates: Iterable[Fate]) -> str:
    """One line of JSON."""
    return json.dumps(packed(fates))


def from_json(text: str) -> list[Fate]:
    """What `to_json` gave."""
    return unpacked(json.loads(text))
