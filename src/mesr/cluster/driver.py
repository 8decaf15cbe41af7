"""A whole call on a cluster: what there is to do, what an earlier call did already, and the rest as it is done."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import job
from ..errors import MesrError, UsageError
from ..files import counted
from ..grid import Target
from ..io import Found
from ..io.formats import WRITTEN_BY_SUFFIX, suffix_of
from ..models import weights
from ..models.weights import ENSEMBLE
from ..volume import Note
from .dicomweb import Client
from .engine import Pool, joined, spread
from .fates import Fate
from .journal import Journal
from .work import Unit, remote_unit, units_of
from .worker import Plan


@dataclass(frozen=True)
class Told:
    """One study's fate, with what only the command line may say of it.

    Attributes:
        fate: what is reported.
        place: the result; None where there is none.
        about: the path it comes from, or empty.
        before: whether an earlier call had done it already.
    """

    fate: Fate
    place: Path | None = None
    about: str = ""
    before: bool = False


def queried(client: Client, out: Path) -> tuple[list[Unit], list[Note]]:
    """The CT and MR series that match a DICOMweb query, and what was left out.

    Raises:
        UsageError: code `needs-folder`, `out` names a file.
        InputError: as `Client.series`, or code `no-images`, nothing matches.
    """
    if suffix_of(out) in WRITTEN_BY_SUFFIX:
        raise UsageError("needs-folder", "Several results need a folder, found the name of one file.")
    found = list(client.series())
    images = [one for one in found if one.modality in ("CT", "MR", "")]
    notes = []
    if len(images) < len(found):
        text = counted(
            len(found) - len(images), "series of another modality was", "series of other modalities were"
        )
        notes.append(Note("other-series", f"{text} left out."))
    return [remote_unit(one.study, one.series, one.modality, one.instances) for one in images], notes


def run_all(
    found: Found,
    remote: Sequence[Unit],
    target: Target,
    out: Path,
    settings: job.Settings,
    pool: Pool,
    client: Client | None = None,
) -> Iterator[Told]:
    """One fate a study, as each is done: refusals first, then what an earlier call did, then the rest.

    Args:
        found: studies on disks that all machines share.
        remote: series on the server of `client` (`queried`).
        target, settings: as for `job.run`.
        out: folder on a disk that all machines share, or the file of a single result.
        pool: how the cluster is shared out.

    Raises:
        UsageError: at once, as `job.planned` and `Pool.check`; `cluster-share`, `in-use`.
        WeightsError: at once, there are no such weights.
        MissingExtra: Ray is not installed.
        MesrError: `no-cluster`, `cluster-failed`.
    """
    pool.check()
    settings, weights_id = _resolved(settings)
    units = [*units_of(found, out, settings), *remote]
    single = suffix_of(out) in WRITTEN_BY_SUFFIX
    journal = Journal(out, is_file=single)
    plan = Plan(
        target, out.absolute(), settings, weights_id, journal, secrets.token_hex(8), pool.cpus, client
    )  # fmt: skip

    def told() -> Iterator[Told]:
        yield from (Told(Fate.of(job.refused(one)), about=str(one.error.path or "")) for one in found.refused)
        with journal.locked():
            rest = []
            inputs = job.Inputs(found.files)
            for unit in units:
                known = _known(unit, plan, inputs)
                if known is None:
                    rest.append(unit)
                else:
                    yield from known
            if not rest:
                return
            with joined():
                for unit, fates in spread(rest, plan, pool):
                    yield from (
                        Told(fate, _place(unit, fate, plan), unit.about, fate.before) for fate in fates
                    )

    return told()


def _known(unit: Unit, plan: Plan, inputs: job.Inputs) -> list[Told] | None:
    """The fates of a unit that no worker needs to see; None of one that is to be done."""
    try:
        inputs.check([Path(place) for place in unit.places])
    except MesrError as error:
        return [Told(Fate.refusal(unit.id, unit.label, unit.format, error), about=unit.about)]
    if plan.settings.force:
        return None
    fates = plan.journal.finished(unit.tag, plan.key(unit))
    if fates is None:
        return None
    done = [Told(fate, _place(unit, fate, plan), unit.about, before=True) for fate in fates]
    return done if all(one.place is not None and one.place.exists() for one in done) else None


def _place(unit: Unit, fate: Fate, plan: Plan) -> Path | None:
    """Where a result lies."""
    if not fate.done:
        return None
    return Path(unit.places[0]) if unit.places else plan.out / str(fate.study["output"])


def _resolved(settings: job.Settings) -> tuple[job.Settings, str]:
    """The settings as they hold on other machines, and the id of the weights asked for.

    Raises:
        WeightsError: there are none.
    """
    if settings.model == "auto":
        return settings, "auto"
    _, card = weights.load(settings.model)
    model = settings.model
    if model.removesuffix(ENSEMBLE).endswith(".safetensors"):
        model = str(Path(model).absolute())
    return replace(settings, model=model), card.weights_id
