"""Results to tables: means with their spread and numbers, paired differences with their intervals, the floor.

Two methods are compared on the same slices only. The interval is a bootstrap over patients where there are at
least five, else over blocks of neighbouring slices, and then says of how many patients it speaks. It takes two of
either; a single slice has none.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .results import Row

BASELINE = "sinc"
"""What a careful user has today (`protocol.md`, Fair comparison)."""

LEAST_PATIENTS = 5
RESAMPLES = 2000

UNITS = {"study": ("study", "studies"), "CatPhan": ("phantom", "phantoms")}
"""What a specification's patients are instead, by how their names begin: studies that hide whose they are, and phantoms."""

_SHOWN = (
    ("psnr", "PSNR, dB", 2), ("ssim", "SSIM", 4), ("nrmse", "NRMSE", 4), ("psnr_body", "body PSNR, dB", 2),
    ("mae_body", "body MAE", 2), ("rmse_body", "body RMSE", 2), ("mae_above", "MAE over window", 1),
    ("seconds", "seconds", 2),
)  # fmt: skip


class Mean(NamedTuple):
    """Mean ± standard deviation over slices, and how many there were.

    Slices without the measure are left out, and for every method those that one makes exactly, whose PSNR has no end:
    blank ones.
    """

    mean: float
    sd: float
    slices: int
    patients: int


class Difference(NamedTuple):
    """The mean paired difference of two methods and its 95 % interval.

    Attributes:
        mean, low, high: in the measure's unit; method minus baseline. The interval's ends are NaN where there is
            only one to resample.
        slices, patients: how many.
        over: what was resampled, `"10 patients"`, or `"blocks of slices, one patient"` (`people`).
    """

    mean: float
    low: float
    high: float
    slices: int
    patients: int
    over: str


@dataclass(frozen=True)
class Verdict:
    """One cell of the floor and what was reached; both gains over the windowed sinc and PSNRs in dB."""

    site: str
    scale: str
    model: str
    gain: float
    least_gain: float
    psnr: float
    least_psnr: float

    @property
    def passed(self) -> bool:
        """Whether gain and PSNR reach the floor; NaN, where nothing was measured, does not."""
        return self.gain >= self.least_gain and self.psnr >= self.least_psnr


def summary(rows: Iterable[Row], measure: str = "psnr") -> dict[tuple[str, str, str], Mean]:
    """Mean ± SD of a measure by (site, scale, model), in the order of the rows."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in _comparable(rows, measure):
        groups[row.site, row.scale, row.model].append(row)
    return {key: _mean(found, measure) for key, found in groups.items()}


def paired(
    rows: Iterable[Row], model: str, baseline: str = BASELINE, measure: str = "psnr", seed: int = 0
) -> dict[tuple[str, str], Difference]:
    """Model minus baseline by (site, scale), slice by slice.

    Args:
        rows: of one run; slices that only one of the two has are left out.
        seed: of the bootstrap.
    """
    values: dict[tuple[str, str], dict[tuple[str, str, int, str], dict[str, float]]] = defaultdict(dict)
    for row in _comparable(rows, measure):
        if row.model in (model, baseline):
            slices = values[row.site, row.scale]
            slices.setdefault((row.patient, row.scan, row.slice, row.data_sha256), {})[row.model] = (
                row.measure(measure)
            )
    found = {}
    for key, slices in values.items():
        differences = {
            place: both[model] - both[baseline]
            for place, both in sorted(slices.items())
            if model in both and baseline in both and math.isfinite(both[model] - both[baseline])
        }
        if differences:
            found[key] = _difference(differences, np.random.default_rng(seed))
    return found


def neighbours_difference(values: Sequence[float], seed: int = 0) -> Difference:
    """Mean and interval of differences on slices of one scan, in their order.

    Args:
        values: one for each slice, all finite, one at least.
        seed: of the bootstrap.
    """
    places = {("", "", number, ""): value for number, value in enumerate(values)}
    return _difference(places, np.random.default_rng(seed))


def read_floor(path: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """A floor such as configs/floor.csv: (site, scale) to the least gain over the windowed sinc and least PSNR, dB.

    Raises:
        InputError: the file cannot be read or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                (one["site"], one["scale"]): (float(one["gain"]), float(one["psnr"]))
                for one in csv.DictReader(file)
            }
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        raise InputError(
            "floor", "A floor is a CSV file with the columns site, scale, gain and psnr.", path=path
        ) from None


def compare_floor(
    rows: Sequence[Row], floor: dict[tuple[str, str], tuple[float, float]], model: str
) -> list[Verdict]:
    """Every cell of a floor, measured or not."""
    gains, means = paired(rows, model), summary(rows)
    verdicts = []
    for (site, scale), (gain, level) in floor.items():
        difference, mean = gains.get((site, scale)), means.get((site, scale, model))
        verdicts.append(
            Verdict(
                site, scale, model,
                difference.mean if difference else math.nan, gain,
                mean.mean if mean else math.nan, level,
            )
        )  # fmt: skip
    return verdicts


def report(rows: Sequence[Row], baseline: str = BASELINE) -> str:
    """Everything as Markdown: gains of every method, then all measures by site and scale."""
    models = list(dict.fromkeys(row.model for row in rows))
    parts = []
    if baseline in models:
        parts = [gain_table(rows, model, baseline) for model in models if model != baseline]
    for site, scale in dict.fromkeys((row.site, row.scale) for row in rows):
        parts.append(site_table(rows, site, scale))
    return "\n\n".join(parts) + "\n"


def gain_table(rows: Sequence[Row], model: str, baseline: str = BASELINE, measure: str = "psnr") -> str:
    """Sites × scales: mean gain over the baseline with its interval, and the model's own mean in brackets."""
    differences, means = paired(rows, model, baseline, measure), summary(rows, measure)
    sites, scales = (
        (list(dict.fromkeys(names)) for names in zip(*differences, strict=True)) if differences else ([], [])
    )
    body = []
    for site in sites:
        cells = []
        for scale in scales:
            one, own = differences.get((site, scale)), means.get((site, scale, model))
            cells.append(f"{one.mean:+.2f} [{_interval(one)}] ({own.mean:.2f})" if one and own else "–")
        some = next(one for (where, _), one in differences.items() if where == site)
        body.append([f"{site} ({_slices(some.slices)}; {some.over})", *cells])
    title = _titles().get(measure, measure)
    return (
        f"**{model}** – {title}: gain over {baseline} [95 % interval, over what the row names, which takes two] (its own mean)\n\n"
        + markdown(["site", *(f"×{scale}" for scale in scales)], body)
    )


def site_table(rows: Sequence[Row], site: str, scale: str) -> str:
    """Methods × measures at one site and scale, mean ± SD over slices."""
    here = [row for row in rows if row.site == site and row.scale == scale]
    models = list(dict.fromkeys(row.model for row in here))
    kept = {name: _comparable(here, name) for name, _, _ in _SHOWN}
    body = []
    for model in models:
        means = (_mean([row for row in kept[name] if row.model == model], name) for name, _, _ in _SHOWN)
        body.append([model, *(_spread(m, d) for m, (_, _, d) in zip(means, _SHOWN, strict=True))])
    first = [row for row in here if row.model == models[0]]
    whom = people(row.patient for row in first)
    most = _mean([row for row in kept["psnr"] if row.model == models[0]], "psnr")
    left_out = f"{most.slices} of " if most.slices < len(first) else ""
    unit = here[0].unit or "the scan's unit"
    effective = sorted({f"{row.scale_rows:.4g}x{row.scale_columns:.4g}" for row in here})
    heading = (
        f"**{site} ×{scale}** – {left_out}{_slices(len(first))}, {whom}; body and window errors in {unit};"
        f" effective scale {', '.join(effective)}; {here[0].degradation}"
    )
    return heading + "\n\n" + markdown(["method", *(title for _, title, _ in _SHOWN)], body)


def floor_table(verdicts: Sequence[Verdict]) -> str:
    """The floor as Markdown: gain and PSNR of each cell, those below it marked."""
    scales = list(dict.fromkeys(one.scale for one in verdicts))
    cells: dict[str, dict[str, str]] = defaultdict(dict)
    for one in verdicts:
        mark = "✓" if one.passed else f"✗ floor {one.least_gain:.1f} ({one.least_psnr:.1f})"
        cells[one.site][one.scale] = f"{one.gain:.2f} ({one.psnr:.2f}) {mark}"
    body = [[site, *(found.get(scale, "–") for scale in scales)] for site, found in cells.items()]
    return markdown(["site", *(f"×{scale}" for scale in scales)], body)


def people(names: Iterable[str]) -> str:
    """`6 patients`, `one phantom`, `13 patients and 6 studies` (`UNITS`), from the patients of some rows."""
    counts: dict[tuple[str, str], int] = {}
    for name in dict.fromkeys(names):
        words = next(
            (words for start, words in UNITS.items() if name.startswith(start)), ("patient", "patients")
        )
        counts[words] = counts.get(words, 0) + 1
    told = [f"one {one}" if count == 1 else f"{count} {many}" for (one, many), count in counts.items()]
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns lined up for reading as text."""
    lines = [list(header), *map(list, body)]
    widths = [max(3, *(len(line[n]) for line in lines)) for n in range(len(header))]
    texts = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([texts[0], rule, *texts[1:]])


def _comparable(rows: Iterable[Row], measure: str) -> list[Row]:
    """Those of slices that no method has without end: what is left out of one mean is left out of all."""
    found = list(rows)
    endless = {_place(row) for row in found if math.isinf(row.measure(measure))}
    return [row for row in found if _place(row) not in endless] if endless else found


def _place(row: Row) -> tuple[str, str, str, int, str]:
    return row.site, row.scale, row.scan, row.slice, row.data_sha256


def _mean(rows: Sequence[Row], measure: str) -> Mean:
    kept = [(row.measure(measure), row.patient) for row in rows]
    kept = [(value, patient) for value, patient in kept if math.isfinite(value)]
    values = np.array([value for value, _ in kept])
    mean = float(values.mean()) if len(values) else math.nan
    sd = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Mean(mean, sd, len(values), len({patient for _, patient in kept}))


def _difference(values: dict[tuple[str, str, int, str], float], chance: np.random.Generator) -> Difference:
    """From differences by (patient, scan, slice, digest), sorted."""
    patients = sorted({patient for patient, *_ in values})
    if len(patients) >= LEAST_PATIENTS:
        groups = [[v for place, v in values.items() if place[0] == patient] for patient in patients]
        over = people(patients)
    else:
        groups = _blocks(values)
        over = f"blocks of slices, {people(patients)}"
    mean = float(np.mean(list(values.values())))
    low, high = _bootstrap(groups, chance)
    return Difference(mean, low, high, len(values), len(patients), over)


def _blocks(values: dict[tuple[str, str, int, str], float]) -> list[list[float]]:
    """Neighbouring slices of one scan together, √n a block: they are too alike to count one by one."""
    scans: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (patient, scan, _, _), value in values.items():
        scans[patient, scan].append(value)
    blocks = []
    for found in scans.values():
        length = max(1, round(math.sqrt(len(found))))
        blocks += [found[n : n + length] for n in range(0, len(found), length)]
    return blocks


def _bootstrap(groups: Sequence[Sequence[float]], chance: np.random.Generator) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the mean over slices when whole groups are drawn with replacement."""
    if len(groups) < 2:
        return math.nan, math.nan
    sums: npt.NDArray[np.float64] = np.array([sum(group) for group in groups])
    counts = np.array([len(group) for group in groups])
    drawn = chance.integers(len(groups), size=(RESAMPLES, len(groups)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _interval(one: Difference) -> str:
    return "–" if math.isnan(one.low) else f"{one.low:+.2f}, {one.high:+.2f}"


def _spread(one: Mean, digits: int) -> str:
    if one.slices == 0:
        return "–"
    return f"{one.mean:.{digits}f}" + (f" ± {one.sd:.{digits}f}" if not math.isnan(one.sd) else "")


def _titles() -> dict[str, str]:
    return {name: title for name, title, _ in _SHOWN}


def _slices(count: int) -> str:
    return "1 slice" if count == 1 else f"{count} slices"
