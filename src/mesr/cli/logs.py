"""What the program logs, where it is asked to: `mesr`'s own records on stderr, and nobody else's.

Libraries quote values from files in their records, and `mesr` never does: its records hold no patient data, and no
paths below warnings.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """A record as one line of JSON: `time` (UTC), `level`, `logger`, `message`, and the thread."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
                "level": record.levelname.lower(),
                "logger": record.name,
                "thread": record.threadName,
                "message": record.getMessage(),
            },
            ensure_ascii=False,
        )


def start(level: str, *, as_json: bool = False) -> None:
    """Let `mesr`'s records of a level and above through, to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    own = logging.getLogger("mesr")
    own.addHandler(handler)
    own.setLevel(level.upper())
    own.propagate = False
    # A root that has a handler keeps others' records from Python's last resort, which prints them.
    logging.getLogger().addHandler(logging.NullHandler())
    logging.disable(logging.NOTSET)
