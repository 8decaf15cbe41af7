"""The figures: quality against what it costs, each site restored by several methods, and what a critic adds.

matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from ..files import atomic_path
from ..gallery import illustrate, illustrate_scales
from ..picture import Finish
from . import charts
from .ablations import LOSS
from .charts import Point
from .findings import Finding
from .measured import Measured
from .perception import DETAIL, PSNR, invented
from .plan import EQUAL, headline_sites, on_equal_terms
from .rows import Row, before
from .running import Runner
from .systems import SYSTEMS, UNTRAINED
from .timing import SECONDS
from .trainings import compound

Captioned = tuple[str, Path]

SHOWN = ("bicubic", "sinc", "edsr", "meta-rdn", "mesr", "mesr-compound")
"""Systems in the pictures."""

PERCEIVED = (
    "bicubic",
    "sinc",
    *(name for s in SYSTEMS.values() if s.after for name in (s.after.name, s.name)),
)
"""Systems whose distortion and perception are told: the untrained ones, and networks before and after a critic."""

PICTURED = ("2", "4")
LIST = "figures.json"

KEPT = Finish(".webp", 100)
"""Pictures of the page, which are many, take an eighth of what they would as PNG at the usual size."""


def draw(
    rows: Sequence[Row],
    measured: Measured,
    runner: Runner,
    page: Path,
    seen: Sequence[Finding] = (),
    timed: Sequence[Finding] = (),
    *,
    keeping: bool = False,
) -> None:
    """Draw every figure into a folder beside the page, with the list of their captions.

    Args:
        rows: of the whole plan.
        seen: of `perception`.
        timed: of `timing`.
        keeping: whether earlier figures that are not drawn now stay.
    """
    folder = page.parent / page.stem
    earlier = drawn(page) if keeping else []
    site = next(iter(headline_sites(runner.setting)), "")
    table2 = [row for row in rows if row.experiment == "table2"]
    made = plots(table2, measured, runner, folder, site, timed)
    if seen:
        path = folder / "psnr-detail.png"
        stand = list(places(table2, seen).values())
        charts.points(stand, path, f"{DETAIL}, against the reference", PSNR, at=0.0)
        made.append(
            (f"Distortion against perception, ×2, mean over sites{runner.setting.budget.mark}.", path)
        )
    made += pictures(table2, runner, folder, {path.name for _, path in earlier})
    made += scales(rows, runner, folder)
    made += changes(rows, runner, folder)
    names = {path.name for _, path in made}
    made += [(caption, path) for caption, path in earlier if path.name not in names]
    with atomic_path(folder / LIST, force=True) as temporary:
        text = json.dumps([[caption, path.name] for caption, path in made], indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def drawn(page: Path) -> list[Captioned]:
    """What `draw` drew beside the page, now or in an earlier call."""
    folder = page.parent / page.stem
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [(caption, folder / name) for caption, name in listed if (folder / name).is_file()]


def plots(
    rows: Sequence[Row],
    measured: Measured,
    runner: Runner,
    folder: Path,
    site: str,
    timed: Sequence[Finding] = (),
) -> list[Captioned]:
    """PSNR at ×2 on equal terms against parameters and time a slice, and in validation against samples seen.

    Args:
        rows: Table 2's.
        site: whose slices; all where empty.
        timed: of `timing`; without them nothing is drawn against time.
    """
    own = [row for row in rows if on_equal_terms(row) and "2" in row.scales and measured.of(row, "2", site)]
    networks = [row for row in own if row.trainings]
    if not own:
        return []
    mark = f"{site or 'all sites'}, ×2, on equal terms{runner.setting.budget.mark}"
    made = []
    path = folder / "psnr-parameters.png"
    millions = {row.title: row.cost.parameters / 1e6 for row in networks if row.cost is not None}
    _against(millions, networks, measured, site, "parameters, millions", mark, path)
    made.append((f"PSNR against parameters: {mark}.", path))
    path = folder / "psnr-work.png"
    work = {row.title: row.cost.pixel / 1e6 for row in networks if row.cost is not None}
    _against(work, networks, measured, site, "multiply-adds a low-resolution pixel, millions", mark, path)
    made.append((f"PSNR against work: {mark}.", path))
    there = [one for one in timed if one.method in {row.title for row in own}]
    if there:
        path = folder / "psnr-seconds.png"
        seconds = {one.method: one.value for one in there}
        _against(seconds, own, measured, site, SECONDS, mark, path)
        made.append((f"PSNR against time, medians of warm slices, {there[0].scan}: {mark}.", path))
    path = folder / "psnr-samples.png"
    charts.curves(curves(networks, runner), [row.title for row in networks if _own(row.system)], path)
    made.append((f"PSNR in validation against samples seen{runner.setting.budget.mark}.", path))
    return made


def _against(
    costs: Mapping[str, float], rows: Sequence[Row], measured: Measured, site: str, across: str, title: str, path: Path
) -> None:  # fmt: skip
    """PSNR at ×2 over what it costs, by title."""
    found = [
        Point(row.title, costs[row.title], mean.mean, _own(row.system), bool(row.trainings))
        for row in rows
        if row.title in costs and (mean := measured.mean(row, "2", site=site)) is not None
    ]
    charts.points(found, path, across, "PSNR, dB", title=title, logarithmic=True)


def scales(rows: Sequence[Row], runner: Runner, folder: Path) -> list[Captioned]:
    """The paper's Figures 3 to 5: pelvis at every scale, and other sites by the network that has seen pelvis alone."""
    source, made = runner.setting.source, []
    for experiment, sites, name, told in (
        ("table2", source.pelvis, "scales", "After the paper's Figure 3: {site}, every scale"),
        (
            "table3",
            source.elsewhere,
            "scales-one-site",
            f"After the paper's Figures 4 and 5: {{site}}, every scale, by MESR trained on {source.one_site} only",
        ),
    ):
        row = next(
            (r for r in rows if r.experiment == experiment and r.system == "mesr" and not r.control), None
        )
        if row is None or not runner.shows(row):
            continue
        drawn = illustrate_scales(
            ["bicubic", runner.networks.path(row.trainings[0])], runner.spec, folder, runner.setting.budget.scales,
            sites=sites, name=name, options=runner.options, names=_names([row]), finish=KEPT,
        )  # fmt: skip
        made += [
            (f"{told.format(site=path.stem.removesuffix(f'-{name}'))}{runner.setting.budget.mark}.", path)
            for path in drawn
        ]
    return made


def pictures(
    rows: Sequence[Row], runner: Runner, folder: Path, earlier: Collection[str] = ()
) -> list[Captioned]:
    """Each site's middle slice shrunk and restored by several systems, with difference maps.

    Args:
        earlier: names of pictures that stay where some network they show is no more at hand.
    """
    shown = [
        row for row in rows
        if on_equal_terms(row) and row.system in SHOWN and runner.done(row) and "2" in row.scales
    ]  # fmt: skip
    made: list[Captioned] = []
    options = runner.options
    for scale in PICTURED:
        whole = [row for row in shown if scale in row.scales]
        able = [row for row in whole if runner.shows(row)]
        if able != whole and any(name.endswith(f"-x{scale}{KEPT.suffix}") for name in earlier):
            continue
        models = [
            runner.networks.path(row.trainings[0]) if row.trainings else Path(row.system) for row in able
        ]
        if models:
            paths = illustrate(
                models, runner.spec, folder, scale=scale, options=options, names=_names(able), finish=KEPT
            )
            told = f", ×{scale}: shrunk, restored, and the errors{runner.setting.budget.mark}."
            made += [(path.stem.removesuffix(f"-x{scale}") + told, path) for path in paths]
    return made


def _names(rows: Sequence[Row]) -> dict[str, str]:
    """What a picture calls networks, by their runs' names."""
    return {row.trainings[0].name: SYSTEMS[row.system].title for row in rows if row.trainings}


def changes(rows: Sequence[Row], runner: Runner, folder: Path) -> list[Captioned]:
    """What the compound loss made of MESR's answer, and the adversarial term alone of mesr-lite's, on each site's middle slice."""
    done = [row for row in rows if row.trainings and runner.shows(row)]
    made: list[Captioned] = []
    for told, name, pair in (
        (
            "what the adversarial and perceptual terms changed, and where that leads away from the truth",
            "invented",
            _compound(done),
        ),
        (
            "what the adversarial term changed in mesr-lite, and where that leads away from the truth",
            "invented-by-critic",
            _critic(done, compound(runner.setting.budget)),
        ),
    ):
        if pair is not None:
            start, after = ((row.title, runner.networks.path(row.trainings[0])) for row in pair)
            drawn = invented(
                runner.spec, start, after, folder, runner.options, told=told, name=name, finish=KEPT
            )
            against = f"against {start[0]}{runner.setting.budget.mark}"
            made += [(f"{site}, ×2: {told}, {against}.", path) for site, path in drawn]
    return made


def _compound(done: Sequence[Row]) -> tuple[Row, Row] | None:
    """MESR (compound), behind the control that went on for as many steps on L1 alone, else behind its start."""
    equal = [row for row in done if row.experiment == "table2" and row.group == EQUAL and not row.averaged]
    after = next((row for row in equal if row.system == "mesr-compound"), None)
    start = before(after, equal) if after else None
    return (start, after) if start and after else None


def _critic(done: Sequence[Row], losses: Collection[str]) -> tuple[Row, Row] | None:
    """mesr-lite fine-tuned on all three losses, behind the one that went on for as many steps without a critic."""
    own = {frozenset(row.trainings[0].config.losses): row for row in done if row.group == LOSS}
    every = frozenset(losses)
    start, after = own.get(every - {"adversarial"}), own.get(every)
    return (start, after) if start and after else None


def places(rows: Sequence[Row], seen: Sequence[Finding]) -> dict[str, Point]:
    """Where every method stands between fine detail and PSNR, dB, means over sites; by its title.

    Args:
        rows: Table 2's.
    """
    systems = {row.title: row.system for row in rows if row.group == EQUAL and not row.control}
    titles = {systems[one.method]: one.method for one in seen}
    found: dict[str, Point] = {}
    # A network's origin comes before it in `SYSTEMS`, and so its place before its own.
    for system in sorted(titles, key=[*UNTRAINED, *SYSTEMS].index):
        told = (one for one in seen if one.method == titles[system])
        values: dict[str, list[float]] = {DETAIL: [], PSNR: []}
        for one in told:
            values[one.measure].append(one.value)
        origin = SYSTEMS[system].origin if system in SYSTEMS else ""
        found[titles[system]] = Point(
            titles[system], fmean(values[DETAIL]), fmean(values[PSNR]), _own(system), system in SYSTEMS,
            found.get(titles.get(origin, "")),
        )  # fmt: skip
    return found


def _own(system: str) -> bool:
    return system.startswith("mesr")


def curves(rows: Sequence[Row], runner: Runner) -> dict[str, list[tuple[int, float]]]:
    """Samples seen and PSNR at each validation of every row's first training, by title; not of what knows nothing yet."""
    found = {}
    for row in rows:
        one = row.trainings[0]
        trained = runner.state.trained(one)
        if trained is not None:
            earlier = one.after.samples if one.after else 0
            batch = one.config.sampling.batch
            points = [(earlier + step * batch, psnr) for step, psnr in trained.course]
            found[row.title] = [(samples, psnr) for samples, psnr in points if samples]
    return found
