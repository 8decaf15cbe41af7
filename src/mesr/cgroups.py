"""The control groups around this process, version 2 and version 1: where Linux says what a container may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Group(NamedTuple):
    """A folder of files that tell of a group; `first` for version 1, whose files have other names."""

    place: Path
    first: bool


def around(controller: str, root: Path = Path("/")) -> Iterator[Group]:
    """This process's own group and those around it, inside out, that govern `"memory"` or `"cpu"`.

    Args:
        root: where Linux's `/proc` and `/sys` are found.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        first = controllers != ""
        if first and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controllers if first else "")
        # Inside a container the path may be the host's, of which only the container's own end can be seen.
        inner = base / path.strip("/")
        for place in (inner, *inner.parents):
            if place == base or base in place.parents:
                yield Group(place, first)
