"""Each study once, whatever dies: what was begun and what became of it, one small file a study beside the results.

A result is whole or absent, since it is renamed into place. The journal says of one that is there whether this call
made it: only then may a second attempt replace it. It holds no names and no patient data, and may be removed when a
call is finished.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import OutputError, UsageError
from ..files import atomic_path
from .fates import Fate, packed, unpacked

FOLDER = ".mesr-cluster"
"""In the output folder; hidden, so that nothing takes it for an input."""

FORMAT = 2

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP)
"""A file system without locks does without."""


@dataclass
class Entry:
    """What is known of one study.

    Attributes:
        key: what was asked for (`work.key_of`).
        run: the call that has it now.
        attempt: how often that call began it.
        claimed: digests of the places that were free when a call with this key began.
        fates: what became of it; None while it is under way.
        made: what is done of it, by the digest of its place: of a series with several volumes some may be refused.
        earlier: the key and the fates of what another call did, which holds for as long as this one changes nothing.
    """

    key: str
    run: str
    attempt: int
    claimed: list[str] = field(default_factory=list)
    fates: list[Fate] | None = None
    made: dict[str, Fate] = field(default_factory=dict)
    earlier: tuple[str, list[Fate]] | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return bool(self.fates) and all(fate.done for fate in self.fates or ())


class Journal:
    """The journal of an output folder.

    Args:
        out: what the user named: a folder, or the file of a single result, beside which the journal then lies.
    """

    def __init__(self, out: Path, *, is_file: bool = False) -> None:
        self.folder = (out.parent if is_file else out).absolute() / FOLDER

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Held by the one call that writes into the output folder; a killed one lets go.

        Raises:
            UsageError: code `in-use`.
            OutputError: code `unwritable`.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        except OSError:
            raise OutputError(
                "unwritable",
                "The output folder cannot be written.",
                "Choose another folder.",
                self.folder.parent,
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    "in-use",
                    "Another call is writing into this output folder.",
                    "Wait for it, or choose another folder.",
                    self.folder.parent,
                ) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            yield

    def finished(self, tag: str, key: str) -> list[Fate] | None:
        """What became of a study that an earlier call with this key did; None where anything is left to do."""
        entry = self._read(tag)
        return entry.fates if entry is not None and entry.key == key and entry.done else None

    def begin(self, tag: str, key: str, run: str) -> Entry:
        """Note that a study is begun, once more or for the first time in this run, and give what is known of it.

        A study that this run has ended keeps its fates, and is not begun.
        """
        before = self._read(tag)
        if before is not None and (before.run, before.key) == (run, key) and before.fates is not None:
            return before
        entry = Entry(key, run, 1)
        if before is not None and before.key != key:
            entry.earlier = (before.key, before.fates) if before.done and before.fates else before.earlier
        elif before is not None:
            entry.earlier = before.earlier
            entry.made = before.made
            # What an attempt left that nobody ended is ours; what was ended and then found in the way is not.
            entry.claimed = before.claimed if before.fates is None else list(before.made)
            entry.attempt += before.attempt if before.run == run else 0
        self._write(tag, entry)
        return entry

    def claim(self, tag: str, entry: Entry, place: Path) -> bool:
        """Whether what may lie at `place` is an earlier attempt's; a free place is claimed for this one."""
        digest = _digest(place)
        if digest in entry.claimed:
            return True
        if not place.exists():
            entry.claimed.append(digest)
            self._write(tag, entry)
        return False

    def made(self, entry: Entry, place: Path) -> Fate | None:
        """What lies at `place`, where an earlier call with this key made it."""
        fate = entry.made.get(_digest(place))
        return replace(fate, before=True) if fate is not None and place.exists() else None

    def keep(self, entry: Entry, place: Path, fate: Fate) -> None:
        """Remember what was made at `place`, from `end` on."""
        if fate.done:
            entry.made[_digest(place)] = fate

    def end(self, tag: str, entry: Entry, fates: Sequence[Fate]) -> None:
        """Note what became of it, unless a later attempt has begun: this one was only believed dead.

        Where it was refused, another call's result still lies there, and what is known of that comes back.
        """
        now = self._read(tag)
        if now is not None and (now.run, now.attempt) != (entry.run, entry.attempt):
            return
        if entry.earlier is not None and not any(fate.done for fate in fates):
            key, fates = entry.earlier
            entry = Entry(key, entry.run, entry.attempt)
        self._write(tag, replace(entry, fates=list(fates), earlier=None))

    def _path(self, tag: str) -> Path:
        return self.folder / f"{tag}.json"

    def _read(self, tag: str) -> Entry | None:
        """The entry; None where there is none, or none that can be read."""
        try:
            values: dict[str, Any] = json.loads(self._path(tag).read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT:
                return None
            if values["fates"] is not None:
                values["fates"] = unpacked(values["fates"])
            if values["earlier"] is not None:
                key, fates = values["earlier"]
                values["earlier"] = str(key), unpacked(fates)
            values["made"] = dict(zip(values["made"], unpacked(values["made"].values()), strict=True))
            return Entry(**values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _write(self, tag: str, entry: Entry) -> None:
        values = {"format": FORMAT, **asdict(entry)}
        values["fates"] = None if entry.fates is None else packed(entry.fates)
        values["made"] = dict(zip(entry.made, packed(entry.made.values()), strict=True))
        if entry.earlier is not None:
            values["earlier"] = [entry.earlier[0], packed(entry.earlier[1])]
        with atomic_path(self._path(tag), force=True) as temporary:
            temporary.write_text(json.dumps(values), encoding="utf-8")


def _digest(place: Path) -> str:
    return hashlib.sha256(str(place).encode("utf-8", "surrogateescape")).hexdigest()[:16]
