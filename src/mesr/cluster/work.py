"""What a worker is handed: a study by the paths it is read from or by its UIDs, and where its result goes.

The driver finds the studies as one machine does, so that names, identifiers and refusals are the same. A worker finds
its own study again from the paths, which every machine must see under the same names.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__, job
from ..errors import UnreadableInput
from ..files import safe_name
from ..grid import Target
from ..inference import REVISION
from ..io import Found, Item


@dataclass(frozen=True)
class Unit:
    """One study on disk, or one series on a DICOMweb server.

    Attributes:
        tag: among the rows and in the journal: the id, with a number behind it where two studies have the same.
        id: 12 hexadecimal digits, the same whenever the same study is found.
        label, format: for people, and of the input.
        name: `Item.name`.
        sources: files and zips it is read from, absolute; empty for a series to fetch.
        places: the result, and the preview if one is asked for, absolute; empty for a series to fetch, whose
            place is known when its modality is.
        series: Study and Series Instance UID on the server; empty for a study on disk.
        state: changes when the input does.
        instances: of a series on the server, how many it said there are; None where it did not say.
    """

    tag: str
    id: str
    label: str
    format: str
    name: str = ""
    sources: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    state: str = ""
    instances: int | None = None

    @property
    def about(self) -> str:
        """For people, and for the command line only: the path it comes from."""
        if not self.sources:
            return ""
        return self.sources[0] if len(self.sources) == 1 else str(Path(self.sources[0]).parent)

    def to_row(self) -> dict[str, str]:
        """A row of the data set: the tag, and the whole as ASCII, in which any file name can be said."""
        return {"tag": self.tag, "unit": json.dumps(asdict(self))}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Unit:
        """What `to_row` gave."""
        values: dict[str, Any] = json.loads(row["unit"])
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**values | lists)


def units_of(found: Found, out: Path, settings: job.Settings) -> Iterator[Unit]:
    """The studies that were found, with the places that `job.planned` gives them.

    Raises:
        UsageError: as `job.planned`.
    """
    seen: Counter[str] = Counter()
    for item, places in zip(found.items, job.planned(found, out, settings), strict=True):
        seen[item.id] += 1
        tag = item.id if seen[item.id] == 1 else f"{item.id}-{seen[item.id]}"
        sources = tuple(dict.fromkeys(_absolute(_source(path, found)) for path in item.paths))
        planned = tuple(_absolute(place) for place in places)
        yield Unit(tag, item.id, item.label, item.format, item.name, sources, planned, state=_state(sources))


def find(unit: Unit) -> Item:
    """The study of a unit on disk, found again.

    Raises:
        InputError: it is no longer there as the driver found it.
    """
    found = job.discover([Path(source) for source in unit.sources])
    paths = tuple(Path(source) for source in unit.sources)
    for item in found.items:
        if item.id == unit.id or item.paths == paths:
            return replace(item, id=unit.id, label=unit.label, name=unit.name)
    if found.refused:
        raise found.refused[0].error
    raise UnreadableInput("changed", "The input is not what it was when the call began.", "Run it again.")


def key_of(unit: Unit, target: Target, settings: job.Settings, weights_id: str) -> str:
    """What must be the same for an earlier result to be this call's: input, target, weights and settings.

    Args:
        weights_id: of the weights asked for; "auto" where the input decides.
    """
    asked = [
        __version__, REVISION, unit.id, unit.state, unit.places, repr(target), weights_id, settings.modality,
        settings.format, settings.keep_private, settings.preview, settings.difference,
        repr(settings.compute),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def remote_unit(study: str, series: str, modality: str, instances: int | None) -> Unit:
    """A series on a DICOMweb server, as a query told of it."""
    digest = hashlib.sha256(f"{study}\0{series}".encode()).hexdigest()[:12]
    count = "" if instances is None else f", {instances} instances"
    label = f"{safe_name(modality)} series{count}"
    return Unit(
        digest, digest, label, "dicom", series=(study, series), state=str(instances), instances=instances
    )


def _source(path: Path, found: Found) -> Path:
    """The file itself, or the zip that it came out of."""
    return next((zipped for folder, zipped in found.archives.items() if folder in path.parents), path)


def _absolute(path: Path | str) -> str:
    return str(Path(path).absolute())


def _state(sources: Sequence[str]) -> str:
    """Of sizes and times, without reading: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for source in sources:
        try:
            known = Path(source).stat()
        except OSError:
            digest.update(b"gone")
        else:
            digest.update(f"{known.st_size} {known.st_mtime_ns} ".encode())
    return digest.hexdigest()[:16]
