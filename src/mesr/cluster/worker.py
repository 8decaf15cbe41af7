"""A worker: one process with its share of a machine, which loads the weights once and does one study after another.

Nothing it does raises for a study, and nothing it prints or logs holds patient data: what Ray would keep of either
lies in files that others can read.
"""

from __future__ import annotations

import functools
import logging
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__, job
from ..errors import InternalError, MesrError
from ..files import sweep
from ..grid import Target
from ..io import Item
from ..io.archive import private_folder
from ..limits import STUDY_ATTEMPTS
from ..models import weights
from .dicomweb import Client
from .fates import Fate, to_json
from .journal import Entry, Journal
from .work import Unit, find, key_of


@dataclass(frozen=True)
class Plan:
    """What all workers of a call are told.

    Attributes:
        target, out, settings: of the call; `out` absolute.
        weights_id: of the weights asked for, or "auto".
        journal: beside the results.
        run: of this call, told apart from earlier ones.
        threads: of each worker.
        client: of the DICOMweb server, where studies come from one.
        version: of the driver's mesr, which the workers' must be.
    """

    target: Target
    out: Path
    settings: job.Settings
    weights_id: str
    journal: Journal
    run: str
    threads: int = 1
    client: Client | None = None
    version: str = __version__

    def key(self, unit: Unit) -> str:
        """`work.key_of` for this call."""
        return key_of(unit, self.target, self.settings, self.weights_id)


class Worker:
    """Made once in each process of the pool, called with every row it gets."""

    def __init__(self, plan: Plan) -> None:
        # Libraries warn with values from the file in the text.
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        import torch

        from .. import runtime

        runtime.keep_memory()
        torch.set_num_threads(plan.threads)
        self.plan = plan
        self.settings = replace(plan.settings, load=functools.cache(weights.load))

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        """A row with a unit (`Unit.to_row`) to a row with what became of it (`fates.to_json`)."""
        unit = Unit.from_row(row)
        try:
            fates = self.fates(unit)
        except MesrError as error:
            fates = [Fate.refusal(unit.id, unit.label, unit.format, error)]
        except Exception as bug:
            outcome = job.Outcome(unit.id, unit.label, unit.format, "failed", error=InternalError(bug))
            fates = [Fate.of(outcome)]
        return {"tag": unit.tag, "fates": to_json(fates)}

    def fates(self, unit: Unit) -> list[Fate]:
        """Do a unit, once more where a lost worker began it, unless it was the loss of too many.

        Raises:
            MesrError: nothing of it could be done.
        """
        if self.plan.version != __version__:
            raise MesrError(
                "other-version",
                f"The cluster's mesr must be {self.plan.version}, found {__version__} on a worker.",
                "Install the same version on every machine.",
            )
        journal = self.plan.journal
        entry = journal.begin(unit.tag, self.plan.key(unit), self.plan.run)
        if entry.fates is not None:
            return entry.fates
        if entry.attempt > STUDY_ATTEMPTS:
            # Left open in the journal: what an attempt may have finished stays ours for the next call.
            raise MesrError(
                "lost-worker",
                f"The worker was lost {STUDY_ATTEMPTS} times while it did this study.",
                "It may need more memory than a worker has: start fewer with --workers.",
            )
        try:
            if unit.series:
                fates = self._fetched(unit, entry)
            else:
                fates = [self._done(unit, entry, find(unit), Path(unit.places[0]))]
        except MesrError as error:
            fates = [Fate.refusal(unit.id, unit.label, unit.format, error)]
        journal.end(unit.tag, entry, fates)
        return fates

    def _fetched(self, unit: Unit, entry: Entry) -> list[Fate]:
        """What became of every volume in a series that is on the server."""
        assert self.plan.client is not None
        study, series = unit.series
        with private_folder() as folder:
            self.plan.client.fetch(study, series, Path(folder), unit.instances)
            found = job.discover([Path(folder)])
            planned = job.planned(found, self.plan.out, self.settings)
            done = [
                self._done(unit, entry, *one)
                for one in zip(found.items, (p[0] for p in planned), strict=True)
            ]
            return [*(Fate.of(job.refused(one)) for one in found.refused), *done]

    def _done(self, unit: Unit, entry: Entry, item: Item, place: Path) -> Fate:
        journal = self.plan.journal
        if not self.settings.force and (made := journal.made(entry, place)) is not None:
            return made
        again = journal.claim(unit.tag, entry, place)
        settings = replace(self.settings, force=True) if again else self.settings
        outcome = job.run(item, self.plan.target, place, settings)
        if again:
            sweep(place)
        fate = Fate.of(outcome)
        journal.keep(entry, place, fate)
        return fate
