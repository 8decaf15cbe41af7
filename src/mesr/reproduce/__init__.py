"""The paper's experiments in one call: plan the rows, train and measure them, write the document.

systems, budgets, sources   what there is: networks, sizes and steps, scans
trainings, rows, plan, ablations   what the paper's experiments ask for
running, networks, logs, simulated, state, estimate   doing it, and going on where it was stopped
measured, verdicts, findings, as_is, perception, timing   what was found
in_short, comparison, table2, ladder, charts, figures, document   telling it, beside the paper's figures
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ..errors import UsageError
from ..models import weights
from ..testset import log_look
from . import as_is, document, figures, findings, perception, timing
from .measured import Measured
from .plan import EXPERIMENTS, missing_of, on_equal_terms, patients_sites, plan
from .rows import Experiment, Row
from .running import Runner
from .state import Fate

__all__ = ["EXPERIMENTS", "chosen", "publish", "reproduce", "worse"]

NATIVE = ("bicubic", "sinc", "mesr", "mesr-compound")
"""Systems shown at native resolution."""

DRAWN: set[Experiment] = {"native", "figures"}
"""Experiments that look at scans again once the rows are done."""


def reproduce(
    experiments: Sequence[Experiment], runner: Runner, page: Path, only: Sequence[str] = ()
) -> dict[str, Fate]:
    """Run what is missing of the experiments, write the page, and give every row's fate.

    Args:
        only: systems; every one where empty.

    Raises:
        KeyboardInterrupt: it was stopped; the page shows what is done, the same call goes on.
        OutputError: something cannot be written.
    """
    rows = chosen(experiments, runner, only)
    try:
        fates = runner.run(rows)
        # Whatever becomes of the figures, the tables are there.
        publish(experiments, runner, page, drawing=False)
        if DRAWN & set(experiments):
            publish(experiments, runner, page, drawing=True)
    except KeyboardInterrupt:
        publish(experiments, runner, page, drawing=False)
        raise
    return fates


def chosen(experiments: Sequence[Experiment], runner: Runner, only: Sequence[str] = ()) -> list[Row]:
    """The rows of the experiments, of these systems. `native` and `figures` need some of Table 2's.

    Raises:
        UsageError: code `nothing-to-run`, none of the systems is in them, or the scans have none of their sites.
    """
    rows = {row.id: row for row in plan(experiments, runner.setting)}
    if DRAWN & set(experiments):
        wanted = {*NATIVE, *figures.SHOWN}
        shown = (
            row for row in plan(["table2"], runner.setting) if on_equal_terms(row) and row.system in wanted
        )
        rows = {row.id: row for row in shown} | rows
    found = [row for row in rows.values() if not only or row.system in only]
    if not found and not only:
        told = missing_of(runner.setting) or ["These scans have nothing to measure."]
        raise UsageError("nothing-to-run", " ".join(told), "Name other scans, or other experiments.")
    if not found:
        raise UsageError(
            "nothing-to-run",
            f"None of {', '.join(only)} is in {', '.join(experiments)}.",
            "Leave --only out, or name others.",
        )
    return found


def worse(rows: Sequence[Row], runner: Runner) -> list[str]:
    """Names of the rows' trainings whose validation did not rise."""
    steps = {step.name: step for row in rows for one in row.trainings for step in one.chain()}
    trained = {name: runner.state.trained(step) for name, step in steps.items()}
    return [name for name, one in trained.items() if one is not None and one.worse]


def publish(experiments: Sequence[Experiment], runner: Runner, page: Path, *, drawing: bool) -> None:
    """Write the page of everything the folder holds, whatever this call ran.

    Where a row is done but its network is no more at hand, what was found and drawn of it before stays.

    Args:
        experiments: whose figures and native resolution are renewed where `drawing`.
    """
    every = plan(EXPERIMENTS, runner.setting)
    begun = {row.experiment for row in every if runner.state.rows.keys() & {row.id}}
    rows = [row for row in every if row.experiment in begun]
    measured = Measured(runner.out, runner.state)
    table2 = [row for row in every if row.experiment == "table2"]
    gone = {row.title for row in every if measured.fate(row).status == "done" and not runner.shows(row)}
    notes, kernels, seen, timed = kept = [runner.out / f"{name}.csv" for name in findings.Findings._fields]
    if drawing:
        _log_look(runner, sorted(DRAWN & set(experiments)))
    if drawing and "native" in experiments:
        phantom = runner.setting.budget.split == "test"
        methods = _methods(table2, NATIVE, runner)
        methods += [(name, name) for name in weights.shipped() if not runner.setting.budget.tiny]
        source, options = runner.setting.source, runner.options
        findings.write(as_is.findings(source, methods, options, phantom=phantom), notes, gone)
        findings.write(perception.under_kernels(source, methods, options), kernels, gone)
    if drawing and "figures" in experiments:
        methods = _methods(table2, figures.PERCEIVED, runner)
        patients = patients_sites(runner.setting)
        findings.write(perception.findings(runner.spec, patients, methods, runner.options), seen, gone)
        specs = [
            (row.title, row.trainings[0].spec if row.trainings else {"name": row.system})
            for row in _at_two(table2)
            if runner.done(row)
        ]
        findings.write(timing.findings(specs, runner.options), timed)
        figures.draw(
            every, measured, runner, page, findings.read(seen), findings.read(timed), keeping=bool(gone)
        )
    found = findings.Findings(*map(findings.read, kept))
    document.write(page, runner.setting, rows, measured, found, figures.drawn(page))


def _log_look(runner: Runner, experiments: Sequence[str]) -> None:
    """They look at the test set as well."""
    if runner.spec.split == "test":
        command = f"mesr reproduce --budget {runner.setting.budget.name}: {', '.join(experiments)}"
        log_look(Path(runner.spec.looks), command)


def _methods(table2: Sequence[Row], systems: Collection[str], runner: Runner) -> list[findings.Method]:
    """Those of the systems that are done on equal terms, at ×2."""
    return [
        (row.title, runner.networks.path(row.trainings[0]) if row.trainings else row.system)
        for row in _at_two(table2)
        if row.system in systems and runner.shows(row)
    ]


def _at_two(table2: Sequence[Row]) -> list[Row]:
    """Those on equal terms that are measured at ×2."""
    return [row for row in table2 if on_equal_terms(row) and "2" in row.scales]
