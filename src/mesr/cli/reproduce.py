"""`mesr reproduce`: the paper's tables and figures from scans to a page of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import MesrError, UsageError
from .console import INTERRUPTED, door, duration, err, out, shown
from .training import bar

if TYPE_CHECKING:
    from ..progress import Progress
    from ..reproduce.rows import Row
    from ..reproduce.running import Runner

SOME_FAILED = 4


@door
def reproduce(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXPERIMENT…", help="table1, table2, table3, ablations, robustness, native, figures."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(envvar="MESR_DATA", help="Folder of the scans; without it those inside pydicom-data."),
    ] = None,
    budget: Annotated[
        Literal["smoke", "cpu", "gpu"], typer.Option(help="How large the networks, how many steps.")
    ] = "smoke",
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder; what it holds is not done again.")
    ] = Path("mesr-reproduction"),
    page: Annotated[
        Path | None, typer.Option(help="Where the results are written; OUT/results.md without it.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Comma list of systems, such as mesr,meta-rdn.")] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Only tell what would run, its size, and how long it would take.")
    ] = False,
    vgg: Annotated[
        str | None,
        typer.Option(
            help="Of the perceptual loss: vgg19, vgg16 or a file; without it the output folder's, else what is in the cache."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bf16"],
        typer.Option(help="Of the convolutions, in training and measuring."),
    ] = "auto",
) -> None:
    """Train and measure every system of the paper's tables, and write the results; the same command goes on."""
    from .. import reproduce as reproduction
    from ..losses.vgg import at_hand
    from ..reproduce.budgets import BUDGETS
    from ..reproduce.running import Runner
    from ..reproduce.sources import source
    from ..reproduce.state import vgg_of
    from ..reproduce.telling import Telling
    from ..reproduce.trainings import Setting

    _known(experiments or [], reproduction.EXPERIMENTS, "experiment")
    asked = _systems(only)
    setting = Setting(BUDGETS[budget], source(data), vgg or vgg_of(output) or at_hand())
    if setting.source.warning:
        err.print(f"WARNING: {setting.source.warning}")
    wanted = [one for one in reproduction.EXPERIMENTS if not experiments or one in experiments]
    for sentence in setting.source.missing if {"table3", "native"} & {*wanted} else ():
        err.print(sentence)
    if listing:
        runner = Runner(setting, output, device=device, precision=precision)
        _list(reproduction.chosen(wanted, runner, asked), runner)
        return
    target = page or output / "results.md"
    with bar("steps") as tell:

        def step(progress: Progress) -> None:
            tell(progress.step, progress.steps)

        runner = Runner(setting, output, device=device, precision=precision, telling=Telling(err.print, step))
        try:
            fates = reproduction.reproduce(wanted, runner, target, asked)
        except KeyboardInterrupt:
            out.print(f"Stopped; what is done is in {shown(target)}. The same command goes on.")
            raise typer.Exit(INTERRUPTED) from None
    failed = [name for name, fate in fates.items() if fate.status == "failed"]
    done = sum(fate.status == "done" for fate in fates.values())
    out.print(f"{shown(target)}: {done} rows, {len(failed)} failed")
    for name in failed:
        out.print(f"  {name}: {fates[name].sentence} ({fates[name].code})")
    if worse := reproduction.worse(reproduction.chosen(wanted, runner, asked), runner):
        out.print(f"note: PSNR in validation did not rise in: {', '.join(worse)}")
    if failed:
        raise typer.Exit(SOME_FAILED if done else MesrError.exit_code)


def _systems(only: str | None) -> list[str]:
    """The systems of a comma list.

    Raises:
        UsageError: there is none of that name.
    """
    from ..models.weights import shipped
    from ..reproduce.systems import SYSTEMS, UNTRAINED

    names = [name.strip() for name in (only or "").split(",") if name.strip()]
    _known(names, [*SYSTEMS, *UNTRAINED, *shipped()], "system")
    return names


def _known(names: Sequence[str], known: Sequence[str], kind: str) -> None:
    for name in names:
        if name not in known:
            raise UsageError(
                "not-in-plan", f"No {kind} is called {name[:40]!r}.", f"Known are: {', '.join(known)}."
            )


def _list(rows: list[Row], runner: Runner) -> None:
    """What would run: a line a row, its name last and whole however narrow the terminal, and the sum."""
    from ..reproduce.estimate import estimates
    from ..reproduce.measured import NONE, millions

    wide = max(len(row.system) for row in rows)
    out.print(
        f"{'state':<16}{'parameters':>11}{'mult-adds a pixel':>19}{'steps':>7}{'minutes':>9}  {'system':<{wide}}  row"
    )
    found = estimates(rows, runner.state, runner.options.device)
    for one in found:
        minutes = NONE if one.minutes is None else f"{'>' * one.least}{one.minutes:.1f}"
        costs = (one.cost.parameters, one.cost.pixel) if one.cost else ()
        parameters, pixel = map(millions, costs) if costs else (NONE, NONE)
        out.print(
            f"{one.row.absent or one.status:<16}{parameters:>11}{pixel:>19}{one.steps:>7,}{minutes:>9}  "
            f"{one.row.system:<{wide}}  {one.row.id}"
        )
    told = "nothing is to be trained"
    if any(one.steps for one in found):
        more = "more than" if any(one.least for one in found) else "about"
        told = f"training takes {more} {duration(sum(60 * (one.minutes or 0) for one in found))} on this machine as it is now"
    out.print(f"{len(rows)} rows; {told}, measuring not counted.")
