"""The page from made-up measurements: the paper's figures beside ours, and none that is not measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from measurements import row as result
from small_source import BRIEF, small_source

from mesr.degrade import recipe, text_of
from mesr.models.weights import ALIASES
from mesr.reproduce import comparison, in_short
from mesr.reproduce.ablations import NETWORK
from mesr.reproduce.document import document
from mesr.reproduce.findings import Finding, Findings
from mesr.reproduce.ladder import ladder
from mesr.reproduce.measured import Measured, interval, millions, population, spread
from mesr.reproduce.plan import (
    DEGRADATIONS,
    EQUAL,
    EXPERIMENTS,
    LONGER,
    PUBLISHED,
    SCANNED,
    SHIPPED,
    VARIED,
    plan,
)
from mesr.reproduce.state import Fate, State, Trained
from mesr.reproduce.table2 import table2
from mesr.reproduce.trainings import Setting, equal_optimiser
from mesr.reproduce.verdicts import Verdicts, verdict
from mesr.results import ResultsFile
from mesr.tables import Difference, Mean

MESR = ALIASES["mesr"]


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19")


def _done(fate: Fate, method: str, commit: str = "0123456789ab") -> None:
    fate.status, fate.weights_id, fate.commit, fate.precision = "done", f"id of {method}", commit, "float32"


def _page(
    setting: Setting, out: Path, gains: dict[str, float], scales: Sequence[str] = ("2",), body: float = 0.0
) -> str:
    """The page where every named row of Table 2 is so many dB better than 40 on two slices, `body` times that inside it."""
    rows = [row for row in plan(["table2"], setting) if row.group == EQUAL]
    state = State(out, "smoke", "scans")
    file = ResultsFile(out / "results.csv")
    for row in rows:
        fate = state.fate(row)
        if row.id not in gains:
            continue
        _done(fate, row.method)
        for scale, number in itertools.product(scales, (1, 2)):
            gain = gains[row.id]
            place = {"scale": scale, "slice": number, "data_sha256": str(number)}
            file.add(result(model=row.method, psnr=40.0 + gain, psnr_body=37.0 + body * gain, **place))
    text = document(out / "results.md", setting, rows, Measured(out, state))
    (out / "results.md").write_text(text, encoding="utf-8")
    return text


def _judged(text: str, claim: str) -> list[list[str]]:
    """The cells of the lines that judge a claim: the site and each measure."""
    lines = text.partition(f"**{claim}**")[2].strip().split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_our_figures_stand_beside_the_papers(setting: Setting, tmp_path: Path) -> None:
    start = "table2/on-equal-terms/"
    gains = {f"{start}bicubic": 0.0, f"{start}smoke-mesr": 1.5, f"{start}smoke-mesr-paper": 1.0}
    text = _page(setting, tmp_path / "out", gains)
    (bicubic,) = [
        line
        for line in text.splitlines()
        if line.startswith("| bicubic") and "25.51" in line and "40.00" in line
    ]
    assert "+1.50" in bicubic
    (ours,) = [line for line in text.splitlines() if "37.59" in line and "| 5.1 M" in line]
    assert ours.startswith("| MESR as printed (L1)"), (
        "the paper's own beside its network, not beside one of ours"
    )
    assert "41.00 ± 0.00" in ours
    assert "2 slices of one patient" in text
    assert "CC BY 4.0" in text


def test_scans_are_credited(setting: Setting, tmp_path: Path) -> None:
    one = replace(setting.source.test.scans[0], name="scan", licence="CC BY 3.0", source="an archive")
    credited = replace(setting.source, test=replace(setting.source.test, scans=[one]))
    text = _page(setting._replace(source=credited), tmp_path / "out", {"table2/on-equal-terms/bicubic": 0.0})
    (line,) = [line for line in text.splitlines() if "an archive" in line]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "pelvis", "CT", "2 slices of one patient", "scan", "an archive, CC BY 3.0",
    ]  # fmt: skip


def test_what_was_learned_from_is_listed_with_its_sites(setting: Setting, tmp_path: Path) -> None:
    scans = setting.source.training.scans
    some = replace(
        scans[0], sites={"pelvis": [45, 118], "chest": [119, 200]}, licence="MIT", source="an archive"
    )
    other = replace(scans[1], sites={"chest": [0, 9999]}, source="a second archive")
    source = replace(
        setting.source, training=replace(setting.source.training, scans=[some, other, *scans[2:]])
    )
    text = _page(setting._replace(source=source), tmp_path / "out", {"table2/on-equal-terms/bicubic": 0.0})
    (line,) = [line for line in text.splitlines() if "an archive" in line]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == [
        "train", "train (the one of “pelvis”)", "CT", "2", "pelvis 45–118, chest 119–200", "an archive, MIT",
    ]  # fmt: skip
    (line,) = [line for line in text.splitlines() if "a second archive" in line]
    assert "| chest " in line


def test_studies_and_phantoms_are_not_called_patients() -> None:
    def told(*patients: str) -> str:
        return population([result(patient=name, slice=n) for n, name in enumerate(patients)])

    assert told("study-1", "study-2") == "2 slices of 2 studies"
    assert told("CatPhan504") == "1 slice of one phantom"
    assert told("study-1", "A1") == "2 slices of one study and one patient"
    assert told("A1", "study-1", "study-2", "A2", "CatPhan504") == (
        "5 slices of 2 patients, 2 studies and one phantom"
    )


def test_a_second_stage_is_held_against_as_many_steps_of_l1(setting: Setting, tmp_path: Path) -> None:
    start = "table2/on-equal-terms/smoke-"
    gains = {
        f"{start}mesr": 1.0,
        f"{start}mesr-l1-more": 1.25,
        f"{start}mesr-compound": 0.5,
        f"{start}miassr": 0.75,
        f"{start}miassr-gan": 0.25,
    }
    text = _page(setting, tmp_path / "out", gains)
    part = text.partition("what a second stage changes")[2].partition("\n#")[0]
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if " minus " in line
    ]
    assert [line[:2] for line in lines[:2]] == [
        ["MIASSR (smoke) minus MIASSR's first stage (L1) (smoke)", "-0.50 [-0.50, -0.50]"],
        ["MESR (compound) (smoke) minus MESR (L1) for as many steps more (smoke)", "-0.75 [-0.75, -0.75]"],
    ]


def test_what_is_not_measured_has_no_figure(setting: Setting, tmp_path: Path) -> None:
    text = _page(setting, tmp_path / "out", {})
    assert "Nothing is measured yet." in text
    assert "`table2/on-equal-terms/smoke-mesr`" in text
    assert not [line for line in text.splitlines() if line.startswith("| MESR (L1)")]


def test_a_measurement_of_other_weights_or_code_is_not_shown(setting: Setting, tmp_path: Path) -> None:
    rows = plan(["table2"], setting)
    state = State(tmp_path / "out", "smoke", "scans")
    (bicubic, *_) = [row for row in rows if row.system == "bicubic"]
    fate = state.fate(bicubic)
    _done(fate, "bicubic", "new")
    file = ResultsFile(tmp_path / "out" / "results.csv")
    file.add(result(model="bicubic", commit="old"))
    measured = Measured(tmp_path / "out", state)
    assert measured.of(bicubic) == []
    file.add(result(model="bicubic", commit="new"))
    file.add(result(model="bicubic", commit="new", precision="bfloat16", psnr=30.0))
    measured = Measured(tmp_path / "out", state)
    assert [one.psnr for one in measured.of(bicubic)] == [40.0]


def test_figures_without_a_truth_are_told_with_their_units(setting: Setting, tmp_path: Path) -> None:
    found = [
        Finding("phantom", "as it is", "w", "noise", 0.5, 0.1, 3),
        Finding("phantom", "MESR (L1)", "w", "noise", 0.75, 0.1, 3, 0.5, 0.4, 0.6),
        Finding("phantom", "sinc", "w", "MTF50, strong contrast", 0.25),
    ]
    state = State(tmp_path / "out", "smoke", "scans")
    text = document(
        tmp_path / "out" / "r.md", setting, [], Measured(tmp_path / "out", state), Findings(found)
    )
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["noise, HU (3 slices)", "0.5 ± 0.1", "0.8 ± 0.1 (+0.5 [+0.4, +0.6])", "–"] in lines
    assert ["MTF50, strong contrast, lp/mm (1 slice)", "–", "–", "0.250"] in lines


def test_cells_say_spread_interval_and_population() -> None:
    assert spread(Mean(37.591, 1.158, 12, 6), 2) == "37.59 ± 1.16"
    assert spread(None, 2) == "–"
    assert interval(Difference(0.754, 0.61, 0.9, 12, 6, "")) == "+0.75 [+0.61, +0.90]"
    assert (
        population([result(slice=1, patient="a"), result(slice=2, patient="b")]) == "2 slices of 2 patients"
    )
    assert (millions(5_147_000), millions(26_000)) == ("5.1 M", "0.026 M")


def test_every_experiment_has_its_section_and_every_row_its_line(setting: Setting, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows, state = plan(EXPERIMENTS, setting), State(out, "smoke", "scans")
    file = ResultsFile(out / "results.csv")
    for row in rows:
        fate = state.fate(row)
        if row.absent:
            continue
        _done(fate, row.method)
        for scale in row.scales:
            place = {"scale": scale, "degradation": text_of(recipe(row.degradation))}
            file.add(result(model=row.method, **place))
    text = document(out / "results.md", setting, rows, Measured(out, state))
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    for wanted in ("Table 1", "Table 2", "Table 3", "Ablations", "Robustness"):
        assert any(wanted in line for line in headings)
    _, _, missing = text.partition("## Missing")
    told = [line.split("|")[1].strip() for line in missing.splitlines() if line.startswith("|")]
    assert told[2:] == ["`figures`"]  # The scans have no phantom and no two kernels.
    assert [row.title for row in rows if row.title not in text] == []


def test_table_1_has_the_papers_spread_beside_ours(setting: Setting, tmp_path: Path) -> None:
    rows = plan(["table1"], setting)
    text = comparison.table1(rows, Measured(tmp_path, State(tmp_path, "smoke", "scans")))
    assert "37.59 ± 1.16" in text
    assert "0.0152 ± 0.0014" in text


def test_what_holds_of_mesr_is_computed(setting: Setting, tmp_path: Path) -> None:
    start = "table2/on-equal-terms/"
    gains = {f"{start}smoke-mesr": 1.5, f"{start}smoke-meta-rdn": 2.0, f"{start}smoke-miassr": 1.0}
    text = _page(setting, tmp_path / "out", gains)
    place = "pelvis (2 slices of one patient)"
    (first,) = _judged(text, "MESR (L1) (smoke) ahead of every other network measured, 2 of them, ×2")
    assert first[:2] == [place, "**no**, -0.50 [-0.50, -0.50] against MetaRDN-A (smoke)"]
    beside = "; and MIASSR's first stage (L1) (smoke)"
    assert first[4] == f"**no**, +0.00 [+0.00, +0.00] against MetaRDN-A (smoke){beside}"
    scales = {
        (cells[1], cells[2]): cells[3:]
        for line in text.splitlines()
        if (cells := [cell.strip() for cell in line.split("|")[:-1]])[1:2]
        and cells[1].startswith("MESR (L1) (smoke) ahead of M")
    }
    lost = scales["MESR (L1) (smoke) ahead of MetaRDN-A (smoke)", "PSNR, dB"]
    assert lost == [place, "**no** -0.50 [-0.50, -0.50]", "–"]
    won = scales["MESR (L1) (smoke) ahead of MIASSR's first stage (L1) (smoke)", "PSNR, dB"]
    assert won == [place, "yes +0.50 [+0.50, +0.50]", "–"]
    assert not [claim for claim, _ in scales if "mesr-lite" in claim]
    assert "ahead of every network of one scale" not in text
    gains |= {
        f"{start}smoke-mesr-x2-alone": 3.0,
        f"{start}smoke-srcnn-x2": 2.5,
        f"{start}smoke-vdsr-x2": 2.75,
    }
    text = _page(setting, tmp_path / "more", gains)
    claim = "MESR (L1) at ×2 alone (smoke) ahead of every network of one scale and as many samples measured, 2 of them, ×2"
    (alone,) = _judged(text, claim)
    assert alone[1] == "yes, +0.25 [+0.25, +0.25] against VDSR (smoke)"


def test_what_was_measured_of_another_row_is_not_shown(setting: Setting, tmp_path: Path) -> None:
    (row,) = (one for one in plan(["table2"], setting) if one.system == "srcnn" and one.group == EQUAL)
    state = State(tmp_path, "smoke", "scans")
    state.fate(row).status = "done"
    assert Measured(tmp_path, state).fate(row).status == "done"
    (training,) = row.trainings
    other = replace(row, trainings=(replace(training, config=replace(training.config, steps=7)),))
    assert Measured(tmp_path, state).fate(other).status == "planned"


def test_a_margin_is_held_against_the_papers(setting: Setting, tmp_path: Path) -> None:
    start = "table2/on-equal-terms/"
    for gain, word in ((0.5, "**no**"), (1.0, "yes")):
        text = _page(
            setting, tmp_path / word.strip("*"), {f"{start}smoke-mesr": gain, f"{start}smoke-meta-rdn": 0.0}
        )
        (line,) = (one for one in text.splitlines() if "by the paper's 0.75 dB" in one)
        assert line.split(", ×2: ")[1].split(",")[0] == word
        assert line.endswith("; inside the body +0.00 [+0.00, +0.00] dB.")


@pytest.mark.parametrize(
    ("ends", "higher", "lower"),
    [
        ((0.1, 0.3), "yes", "**no**"),
        ((-0.3, -0.1), "**no**", "yes"),
        ((-0.1, 0.3), "undecided", "undecided"),
        ((math.nan, math.nan), "undecided", "undecided"),
    ],
)
def test_a_difference_within_its_interval_decides_nothing(
    ends: tuple[float, float], higher: str, lower: str
) -> None:
    one = Difference(sum(ends) / 2, *ends, 9, 5, "5 patients")
    assert (verdict(one), verdict(one, lower=True)) == (higher, lower)


def test_what_another_seed_changes_as_much_is_undecided() -> None:
    one = Difference(0.2, 0.1, 0.3, 9, 5, "5 patients")
    assert (verdict(one, chance=0.15), verdict(one, chance=0.25)) == ("yes", "undecided")
    assert (verdict(one, beyond=0.75, chance=0.25), verdict(one, beyond=0.4, chance=0.25)) == (
        "**no**",
        "undecided",
    )


def test_a_lead_is_weighed_by_another_seed_of_any_network(setting: Setting, tmp_path: Path) -> None:
    start = "table2/on-equal-terms/smoke-"
    gains = {
        f"{start}mesr": 1.5,
        f"{start}meta-rdn": 1.0,
        f"{start}miassr": 0.5,
        f"{start}meta-rdn-seed": 1.75,
    }

    def told(name: str) -> str:
        text = _page(setting, tmp_path / name, gains)
        return _judged(text, "MESR (L1) (smoke) ahead of every other network measured, 2 of them, ×2")[0][1]

    # Of its two trainings the mean: 1.375, and half as much more was moved by the seed.
    assert told("its own") == "undecided, +0.12 [+0.12, +0.12] against MetaRDN-A (smoke)"
    text = (tmp_path / "its own" / "results.md").read_text(encoding="utf-8")
    assert "with another seed: MetaRDN-A (smoke). **They are judged by the mean of both trainings" in text
    assert "equal one in 2 would" in text
    del gains[f"{start}meta-rdn-seed"]
    assert told("none") == "yes, +0.50 [+0.50, +0.50] against MetaRDN-A (smoke)"
    text = (tmp_path / "none" / "results.md").read_text(encoding="utf-8")
    assert "No other seed is measured yet" in text
    gains[f"{start}miassr-seed"] = 1.25
    undecided = (
        "undecided, +0.50 [+0.50, +0.50] against MetaRDN-A (smoke); and MIASSR's first stage (L1) (smoke)"
    )
    assert told("another's") == undecided


def test_a_system_that_was_trained_twice_is_judged_by_both(setting: Setting, tmp_path: Path) -> None:
    shown = setting._replace(budget=replace(setting.budget, tiny=False))
    rows = [row for row in plan(["table2"], shown) if row.group == EQUAL and not row.averaged]
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    psnr = {
        "sinc": {"2": 40.0}, "meta-rdn": {"2": 41.0, "2.5": 41.0}, "mesr": {"2": 42.0, "2.5": 42.0}, "mesr-seed": {"2": 41.5},
    }  # fmt: skip
    for row in rows:
        name = row.method.removeprefix("smoke-")
        for scale, value in psnr.get(name, {}).items() if not row.family else ():
            _done(state.fate(row), row.method)
            for number in (1, 2):
                place = {"scale": scale, "slice": number, "data_sha256": str(number)}
                file.add(result(model=row.method, psnr=value, **place))
    # The second training has a slice that the first has not: it has no mean.
    (again,) = (row for row in rows if row.method.endswith("mesr-seed"))
    file.add(result(model=again.method, psnr=99.0, slice=3, data_sha256="3"))
    measured = Measured(tmp_path, state)
    held = Verdicts(rows, rows, measured, ["pelvis"])
    ours, rival = held.leader, next(row for row in held.networks if row.system == "meta-rdn")
    assert ours is not None
    assert held.trainings_of(ours) == (ours, again)
    assert held.trainings_of(rival) == (rival,)
    twice = held.ahead(ours, rival, "2", site="pelvis")
    assert twice is not None
    assert (twice.mean, twice.slices) == (0.75, 2)
    thrice = held.ahead(ours, rival, "2.5", site="pelvis")
    assert thrice is not None
    assert thrice.mean == 1.0, "where the second was not measured the first stands alone"
    margin = held.margin(held.leaders[0], "pelvis")
    assert "+0.75 [+0.75, +0.75] dB (+1.00 and +0.50 by training)" in margin
    text = in_short.in_short(rows, [], measured, "pelvis", ["pelvis"])
    assert "* **Beside MetaRDN-A**, pelvis, ×2: MESR (L1) +0.75 [+0.75, +0.75] dB" in text
    assert "mean of 2 trainings" in text
    assert "by PSNR, SSIM and NRMSE not first on pelvis" in text, "by SSIM they are equal"


def test_where_no_other_scale_is_measured_a_pair_is_told_at_twice(setting: Setting, tmp_path: Path) -> None:
    shown = setting._replace(budget=replace(setting.budget, tiny=False, scales=("2", "3")))
    rows = [row for row in plan(["table2"], shown) if row.group == EQUAL and not row.averaged]
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    psnr = {"mesr": {"pelvis": 42.0, "liver": 40.0}, "meta-rdn": {"pelvis": 41.0, "liver": 41.0}}
    for row in rows:
        name = row.method.removeprefix("smoke-")
        for site, value in psnr.get(name, {}).items() if not row.family else ():
            _done(state.fate(row), row.method)
            for scale, number in itertools.product(("2", "3") if site == "pelvis" else ("2",), (1, 2)):
                place = {"scale": scale, "site": site, "scan": site, "slice": number}
                file.add(result(model=row.method, psnr=value, data_sha256=f"{site} {number}", **place))
    text = in_short.in_short(rows, [], Measured(tmp_path, state), "pelvis", ["pelvis", "liver"])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    of = {tuple(one[:2]): one[2:] for one in cells if len(one) > 2}
    claim = "MESR (L1) ahead of MetaRDN-A"
    assert of[claim, "PSNR at every scale"] == ["yes", "**no** at ×2"]


def test_the_small_network_beside_its_rival_is_in_short(setting: Setting, tmp_path: Path) -> None:
    shown = setting._replace(budget=replace(setting.budget, tiny=False, scales=("2", "3")))
    rows = [row for row in plan(["table2"], shown) if row.group == EQUAL and not row.averaged]
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    psnr = {
        "mesr": {"pelvis": 50.0, "liver": 50.0, "lung": 50.0},
        "mesr-lite": {"pelvis": 42.0, "liver": 42.0, "lung": 42.0},
        "miassr": {"pelvis": 41.0, "liver": 43.0, "lung": 42.0},
    }
    for row in rows:
        for site, value in psnr.get(row.method.removeprefix("smoke-"), {}).items() if not row.family else ():
            _done(state.fate(row), row.method)
            for scale, number in itertools.product(("2", "3"), (1, 2)):
                gain = 2.0 * (number - 1.5) if (site, row.system) == ("lung", "miassr") else 0.0
                place = {"scale": scale, "site": site, "scan": site, "slice": number}
                file.add(result(model=row.method, psnr=value + gain, data_sha256=f"{site} {number}", **place))
    text = in_short.in_short(rows, [], Measured(tmp_path, state), "pelvis", ["pelvis", "liver", "lung"])
    assert (
        "* **mesr-lite (L1) beside MIASSR's first stage (L1)**, a network of its size, PSNR at every scale:"
        " ahead on pelvis; undecided on lung (×2, ×3); not ahead on liver (×2, ×3)."
    ) in text


def test_what_is_made_of_simulated_scans_is_in_short(setting: Setting, tmp_path: Path) -> None:
    shown = setting._replace(budget=replace(setting.budget, tiny=False))
    rows = plan(["table1", "table2"], shown)
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    scan = text_of(recipe("cbct:views=60:element_mm=2"))
    for row in rows:
        ours = row.system == "mesr" and row.group == SCANNED
        if ours or row.id.endswith(("terms/smoke-mesr", "terms/smoke-meta-rdn")):
            _done(state.fate(row), row.method)
            own = {
                "psnr": 43.0 if row.method.endswith("cbct") else 37.5,
                "degradation": text_of(recipe(row.degradation)),
            }
            for number in (1, 2):
                file.add(result(model=row.method, slice=number, data_sha256=str(number), **own))
    assert {text_of(recipe(row.degradation)) for row in rows if row.group == SCANNED} == {scan}
    text = document(tmp_path / "results.md", shown, rows, Measured(tmp_path, state))
    assert (
        "* **[Simulated CBCT to CT](#table-1-six-scales)**, pelvis, ×2, dB:"
        " MESR (L1), trained on bicubic LR of pelvis 37.50 ± 0.00; MESR (L1), trained on simulated CBCT of pelvis 43.00 ± 0.00."
    ) in text


def test_the_page_begins_with_where_its_parts_are(setting: Setting, tmp_path: Path) -> None:
    text = _page(setting, tmp_path, {"table2/on-equal-terms/bicubic": 0.0})
    (line,) = [line for line in text.splitlines() if line.startswith("Parts: ")]
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert [part.partition("]")[0] for part in line.split("[")[1:]] == headings
    assert "[Table 2: systems at ×2](#table-2-systems-at-2)" in line


def test_the_page_says_how_networks_were_trained(setting: Setting, tmp_path: Path) -> None:
    text = _page(setting, tmp_path, {})
    told = text.partition("## Protocol")[2].partition("\n## ")[0]
    lines = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in told.splitlines() if "|" in line
    }
    equal = equal_optimiser(setting.budget.steps)
    assert lines["optimiser on equal terms"].startswith(
        f"Muon at {equal.muon_rate:g} for the body's kernels, Adam at {equal.rate:g} for all else;"
    )
    assert "Adam at each system's own rate; times 0.5 every" in lines["optimiser as published"]
    assert "warm-up" in lines["optimiser as published"]
    assert "moving average" not in lines["optimiser as published"]


def test_what_is_trained_for_longer_has_the_chance_of_the_shorter_training(
    setting: Setting, tmp_path: Path
) -> None:
    setting = setting._replace(budget=replace(setting.budget, longer=8))
    rows = plan(["table2"], setting)
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    psnr = {"mesr": 42.0, "meta-rdn": 41.0, "meta-rdn-seed": 41.75, "mesr-8": 43.0, "meta-rdn-8": 42.5}
    for row in rows:
        name = row.method.removeprefix("smoke-")
        if name in psnr and not row.averaged and row.group in (EQUAL, LONGER):
            _done(state.fate(row), row.method)
            for number in (1, 2):
                file.add(result(model=row.method, slice=number, data_sha256=str(number), psnr=psnr[name]))
    longer = [row for row in rows if row.group == LONGER]
    held = Verdicts(longer, rows, Measured(tmp_path, state), ["pelvis"])
    assert "undecided, +0.50 [+0.50, +0.50] against MetaRDN-A" in held.text("pelvis")
    assert "What was trained otherwise is given the chance of these networks" in held.text("pelvis")


def test_the_papers_own_network_is_judged_as_published(setting: Setting, tmp_path: Path) -> None:
    """It leads there, and nowhere where MESR is to be measured."""
    rows = plan(["table2"], setting)
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    psnr = {"mesr-paper": 41.0, "mesr-paper-published": 40.0, "rdn-x2-published": 41.0, "meta-rdn": 42.0}
    for row in rows:
        name = row.method.removeprefix("smoke-")
        if name in psnr and not row.averaged:
            _done(state.fate(row), row.method)
            for number in (1, 2):
                file.add(result(model=row.method, slice=number, data_sha256=str(number), psnr=psnr[name]))
    measured = Measured(tmp_path, state)
    held = {
        group: Verdicts([row for row in rows if row.group == group], rows, measured, ["pelvis"])
        for group in (EQUAL, PUBLISHED)
    }
    assert "**no**, -1.00 [-1.00, -1.00] against RDN-A" in held[PUBLISHED].text("pelvis")
    assert held[EQUAL].leader is None
    assert "MESR as printed (L1) (smoke) ahead of MetaRDN-A (smoke)" in held[EQUAL].at_every_scale()


def test_networks_on_equal_terms_stand_beside_what_is_shipped(setting: Setting, tmp_path: Path) -> None:
    shown = setting._replace(budget=replace(setting.budget, tiny=False))
    text = table2(
        plan(["table2"], shown), Measured(tmp_path, State(tmp_path, "smoke", "scans")), "pelvis", []
    )
    part = text.partition(f"### {SHIPPED}")[2].partition("###")[0]
    for told in ("far fewer steps", f"| {MESR} ", "| MetaRDN-A ", "| mesr-lite (L1) ", "| MESR (L1) "):
        assert told in part, told
    assert "nothing about its end" in text.partition(f"### {PUBLISHED}")[2]


def test_shipped_networks_are_held_against_the_windowed_sinc_where_scans_are_degraded(
    setting: Setting, tmp_path: Path
) -> None:
    shown = setting._replace(budget=replace(setting.budget, tiny=False))
    rows = [row for row in plan(["robustness"], shown) if row.group == "noise"]
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    psnr = {"sinc": 38.0, MESR: 37.0}
    for row in rows:
        _done(state.fate(row), row.method)
        figures = {"psnr": psnr.get(row.method, 40.0), "psnr_body": psnr.get(row.method, 40.0) - 5}
        file.add(result(model=row.method, degradation=text_of(recipe("noise")), **figures))
    text = comparison.robustness(rows, Measured(tmp_path, state))
    heads = [line for line in text.splitlines() if f"{MESR} minus sinc" in line]
    assert len(heads) == 2, "whole and inside the body"
    for head in heads:
        column = head.split("|").index(next(cell for cell in head.split("|") if f"{MESR} minus sinc" in cell))
        (line,) = (text.splitlines()[text.splitlines().index(head) + 2],)
        assert line.split("|")[column].strip() == "-1.00"


def test_the_page_says_in_short_what_holds(setting: Setting, tmp_path: Path) -> None:
    start = "table2/on-equal-terms/smoke-"
    gains = {f"{start}mesr": 1.5, f"{start}meta-rdn": 1.0, f"{start}miassr": 1.75}
    text = _page(setting, tmp_path / "smoke", gains)
    assert "## In short" not in text  # A smoke run shows nothing.
    shown = setting._replace(budget=replace(setting.budget, tiny=False))
    start = start.removesuffix("smoke-")
    rows = {row.system: row for row in plan(["table2"], shown) if row.group == EQUAL and not row.control}
    gains = {rows[system].id: gain for system, gain in (("mesr", 1.5), ("meta-rdn", 1.0), ("miassr", 1.75))}
    text = _page(shown, tmp_path / "shown", gains, shown.budget.scales, body=-1.0)
    told = text.partition("## In short")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()]
    of = {tuple(one[:2]): one[2:] for one in cells}
    assert of["claim, on equal terms unless it says otherwise", "measured by"] == ["pelvis"]
    first = of["MESR (L1) ahead of every other network, of 2", "PSNR, SSIM, NRMSE at ×2"]
    assert first == ["**no**"]
    assert of["MESR (L1) ahead of MetaRDN-A", "PSNR at every scale"] == ["yes"]
    assert of["MESR (L1) ahead of MIASSR's first stage (L1)", "PSNR at every scale"] == ["**no**"]
    assert of["MESR (L1) ahead of MetaRDN-A", "PSNR inside the body at every scale"] == ["**no**"]
    assert "ahead of MetaRDN-A by the paper's 0.75 dB" in told
    assert (
        "dB, so that what it gains lies outside. Ahead of it inside are MetaRDN-A +0.50 [+0.50, +0.50]."
        in told
    )
    assert "eight orientations" not in told


def test_in_short_knows_rivals_averaged_over_orientations_and_longer_trainings(
    setting: Setting, tmp_path: Path
) -> None:
    shown = setting._replace(budget=replace(setting.budget, tiny=False, longer=8))
    rows = [row for row in plan(["table2"], shown) if row.group in (EQUAL, LONGER, VARIED)]
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    psnr = {
        "mesr": 42.0,
        "mesr-16x8": 42.25,
        "meta-rdn": 41.0,
        "meta-rdn+": 42.5,
        "mesr-8": 43.0,
        "meta-rdn-8": 43.5,
        "mesr-lite-32-blocks-8": 44.0,
        "mesr-16x8-8-varied": 44.75,
        "mesr-8-varied": 44.5,
        "meta-rdn-8-varied": 44.0,
        "meta-rdn-8-varied+": 44.25,
    }
    for row in rows:
        if (name := row.method.removeprefix("smoke-")) in psnr and not row.family:
            _done(state.fate(row), row.method)
            for number in (1, 2):
                file.add(result(model=row.method, slice=number, data_sha256=str(number), psnr=psnr[name]))
    text = document(tmp_path / "results.md", shown, rows, Measured(tmp_path, state))
    told = text.partition("## In short")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()]
    at_twice = {one[0]: one[2] for one in cells if one[1:2] == ["PSNR, SSIM, NRMSE at ×2"]}
    assert at_twice["MESR (L1) ahead of every network averaged over eight orientations, of 1"] == "**no**"
    deeper, turned = "MESR (L1) (32 blocks in two orientations)", "MESR (L1) (16 blocks in four orientations)"
    rivals = "ahead of every network other than MESR, of 1"
    for one in (deeper, turned):  # SSIM and NRMSE are the same of all.
        assert f"{one} {rivals}, all after 8 steps" in at_twice
    assert at_twice[f"{turned} {rivals}, all after 8 steps"] == "**no**"
    assert at_twice[f"{deeper} {rivals}, all after 8 steps"] == "**no** SSIM, NRMSE"
    eight = "MESR (L1) in eight orientations"
    for one in ("MESR (L1)", eight):
        assert at_twice[f"{one} {rivals}"] == "**no** SSIM, NRMSE"
    lead = f"* **Beside MetaRDN-A**, pelvis, ×2: MESR (L1) +1.00 [+1.00, +1.00] dB, inside the body +0.00 [+0.00, +0.00]; {eight} +1.25"
    assert lead in told
    assert f"| {eight} (16 blocks), ×2 " in told, "each MESR has its table of sites"
    assert f"{eight} (16 blocks) ahead of MetaRDN-A by the paper's 0.75 dB" in told
    assert any(one[0] == f"{turned} ahead of MetaRDN-A, all after 8 steps" for one in cells if one)
    both = "beside MetaRDN-A, pelvis, ×2:"
    assert f"* **After 8 steps of both**, {both} {turned} -0.50 [-0.50, -0.50] dB" in told
    more = f"{eight} (16 blocks)"
    assert f"* **After 8 steps of both, from varied scans**, {both} {more} +0.75 [+0.75, +0.75] dB" in told
    assert f"; {turned} +0.50 [+0.50, +0.50] dB" in told
    averaged = (
        "ahead of every network averaged over eight orientations, of 1, all after 8 steps, from varied scans"
    )
    assert at_twice[f"{more} {averaged}"] == "**no** SSIM, NRMSE"
    assert at_twice[f"{turned} {averaged}"] == "**no** SSIM, NRMSE"
    assert at_twice[f"{more} {rivals}, all after 8 steps, from varied scans"] == "**no** SSIM, NRMSE"
    assert any(
        one[0] == f"{turned} ahead of MetaRDN-A, all after 8 steps, from varied scans" for one in cells if one
    )
    varied = text.partition(f"### {VARIED}")[2].partition("###")[0]
    assert f"| {turned}, 8 steps " in varied, "those of the same scans stand beside them"


def test_the_way_to_the_margin_is_told_step_by_step(setting: Setting, tmp_path: Path) -> None:
    rows = {name: plan([name], setting) for name in ("table2", "ablations")}
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    psnr = {
        "meta-rdn": 41.0, "miassr": 40.0, "mesr-lite-plain-stem": 40.75, "mesr-lite-differences": 40.5, "mesr-lite": 41.25, "mesr-lite-two-orientations": 41.5, "mesr": 42.0,
        "mesr-16x8": 42.25,
    }  # fmt: skip
    done = set()
    for row in (row for own in rows.values() for row in own if row.group != "As published"):
        name = row.method.removeprefix("smoke-")
        if name in psnr:
            _done(state.fate(row), row.method)
        for number in (1, 2) if name in psnr and name not in done else ():
            place = {"slice": number, "data_sha256": str(number), "psnr_body": 39.0}
            file.add(result(model=row.method, psnr=psnr[name], **place))
        done.add(name)
    measured = Measured(tmp_path, state)
    lines = ladder(rows["table2"], rows["ablations"], measured, "pelvis").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert [one[2].split(" ")[0] for one in cells] == ["-0.25", "-0.50", "+0.25", "+0.50", "+1.00", "+1.25"]
    assert cells[-1][1] == "42.25 ± 0.00"
    assert [one[4].split(" ")[0] for one in cells] == ["+0.75", "+0.50", "+1.25", "+1.50", "+2.00", "+2.25"]
    assert {one[n] for one in cells for n in (3, 5)} == {"+0.00 [+0.00, +0.00]"}
    assert ladder([], rows["ablations"], measured, "pelvis") == ""
    assert ladder(rows["table2"], [], measured, "pelvis") == "", "a step is missing"


def test_robustness_has_a_part_for_ct_and_one_for_mr(setting: Setting, tmp_path: Path) -> None:
    test = setting.source.test
    liver = replace(test.scans[0], path="liver", sites={"liver": [0, 9]})
    brain = replace(test.scans[0], path="brain", modality="MR", sites={"brain": [0, 9]})
    source = replace(setting.source, val=replace(test, scans=[*test.scans, liver, brain]))
    rows = plan(["robustness"], setting._replace(source=source))
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    assert comparison.robustness(rows, Measured(tmp_path, state)) == ""
    for row in rows[1:]:
        _done(state.fate(row), row.method)
        for site in row.sites:
            modality = "MR" if site == "brain" else "CT"
            shrunk = text_of(recipe(row.degradation))
            file.add(result(model=row.method, site=site, scan=site, modality=modality, degradation=shrunk))
    text = comparison.robustness(rows, Measured(tmp_path, state))
    assert "Patients' CT, pelvis, liver: 2 slices of one patient." in text, "the first row has nothing"
    assert "MR, brain: 1 slice of one patient." in text
    by_site = [line for line in text.splitlines() if "minus sinc" in line and "| pelvis (" in line]
    assert [line.split(" [")[0].split(", ", 1)[1] for line in by_site] == ["PSNR, dB", "body PSNR, dB"]
    assert all("liver" in line for line in by_site)


def test_scales_that_are_undecided_are_named_beside_those_that_are_lost(
    setting: Setting, tmp_path: Path
) -> None:
    shown = setting._replace(budget=replace(setting.budget, tiny=False))
    rows = [row for row in plan(["table2"], shown) if row.group == EQUAL and not row.control]
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    psnr = {"mesr": {"2": (40.0, 40.0), "2.5": (41.0, 39.0)}}
    psnr |= {
        name: {"2": (41.0, 41.0), "2.5": (40.0, 40.0)} for name in ("meta-rdn", "mesr-compound", "srgan-x2")
    }
    for row in rows:
        name = row.method.removeprefix("smoke-")
        if name in psnr and not row.family:
            _done(state.fate(row), row.method)
            for scale, values in psnr[name].items():
                for number, value in enumerate(values, 1):
                    place = {"slice": number, "data_sha256": f"{number}", "scale": scale}
                    file.add(result(model=row.method, psnr=value, **place))
    text = document(tmp_path / "results.md", shown, rows, Measured(tmp_path, state))
    told = text.partition("## In short")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()]
    of = {tuple(one[:2]): one[2:] for one in cells}
    lost = of["MESR (L1) ahead of MetaRDN-A", "PSNR at every scale"]
    assert lost == ["**no** ×2; undecided ×2.5"]
    assert ("MESR (compound) ahead of MetaRDN-A", "PSNR at every scale") in of
    second = of[
        "MESR (compound) ahead of every other network with a second stage, of 1", "PSNR, SSIM, NRMSE at ×2"
    ]
    assert second == ["**no**"]
    assert of["MESR (L1) ahead of every other network, of 2", "PSNR inside the body at ×2"] == ["**no**"]
    leads = next(one for one in cells if one[:2] == ["pelvis (2 slices of one patient)", "40.00 ± 0.00"])
    assert leads[3] == "-1.00 [-1.00, -1.00]"
    assert "are networks of ours" in text


def test_a_verdict_that_is_no_tells_who_else_is_not_behind(setting: Setting, tmp_path: Path) -> None:
    rows = {row.method: row for row in plan(["table2"], setting) if row.group == EQUAL}
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    known = {
        "mesr": (42.0, 42.0),
        "meta-rdn": (43.0, 43.0),
        "miassr": (43.0, 38.0),
        "mesr-lite": (41.0, 41.0),
    }
    for method, values in known.items():
        _done(state.fate(rows[f"smoke-{method}"]), f"smoke-{method}")
        for number, psnr in enumerate(values, 1):
            file.add(result(model=f"smoke-{method}", slice=number, data_sha256=str(number), psnr=psnr))
    held = Verdicts(list(rows.values()), list(rows.values()), Measured(tmp_path, state), ["pelvis"])
    ((row, others, _), *_) = held.claims()
    one = held.weakest(row, others, "pelvis", "psnr")
    assert one is not None
    assert (one.rival.system, one.others, [row.system for row in one.undecided]) == (
        "meta-rdn",
        (),
        ["miassr"],
    )
    assert "; undecided: MIASSR's first stage (L1) (smoke)" in held.text("pelvis")


def test_seconds_are_told_beside_those_of_mesr() -> None:
    found = [
        Finding("a machine", name, "w", "seconds", value)
        for name, value in (("RDN", 3.0), ("MESR (L1) (small)", 1.5), ("x", 0.25))
    ]
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in comparison.seconds(found).splitlines()
    ]
    assert lines[0] == ["a machine", "seconds", "times MESR (L1)"]
    assert lines[2:] == [["x", "0.25", "0.17"], ["MESR (L1) (small)", "1.5", "1"], ["RDN", "3", "2"]]


def test_table_3_is_in_short_as_well(setting: Setting, tmp_path: Path) -> None:
    shown = setting._replace(budget=replace(setting.budget, tiny=False))
    rows = plan(["table2", "table3"], shown)
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    psnr = {"mesr": 42.0, "rdn": 41.0, "edsr": 42.5}
    for row in rows:
        if row.experiment == "table3" and row.system in psnr:
            _done(state.fate(row), row.method)
            for number in (1, 2):
                place = {"slice": number, "data_sha256": str(number), "psnr": psnr[row.system]}
                file.add(result(model=row.method, **place))
    text = document(tmp_path / "results.md", shown, rows, Measured(tmp_path, state))
    told = text.partition("## In short")[2].partition("\n## ")[0]
    claim = "MESR (L1) ahead of every other network, of 2, all trained on pelvis only"
    (line, _) = [line for line in told.splitlines() if line.startswith(f"| {claim} ")]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[1:] == ["PSNR, SSIM, NRMSE at ×2", "**no**"]
    beside = "* **[Trained on pelvis only](#table-3-other-sites)**, beside RDN-A, ×2: pelvis +1.00 [+1.00, +1.00] dB,"
    assert beside in told


def test_the_rival_named_is_the_one_that_decides(setting: Setting, tmp_path: Path) -> None:
    """A lead over the best mean may be certain, and one over the next not."""
    rows = {row.method: row for row in plan(["table2"], setting) if row.group == EQUAL}
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    for method, first, second in (("mesr", 42.0, 42.0), ("meta-rdn", 41.0, 41.0), ("miassr", 43.0, 38.0)):
        _done(state.fate(rows[f"smoke-{method}"]), f"smoke-{method}")
        for number, psnr in ((1, first), (2, second)):
            file.add(result(model=f"smoke-{method}", slice=number, data_sha256=str(number), psnr=psnr))
    text = document(tmp_path / "results.md", setting, list(rows.values()), Measured(tmp_path, state))
    (site,) = _judged(text, "MESR (L1) (smoke) ahead of every other network measured, 2 of them, ×2")
    assert site[1] == "undecided, +1.50 [-1.00, +4.00] against MIASSR's first stage (L1) (smoke)"


def test_every_table_takes_what_is_compared_from_the_right_row(setting: Setting, tmp_path: Path) -> None:
    """Interpolators and the bases of the ablations have 40 dB, every other row half a decibel more."""
    plain = ("bicubic", "sinc", "smoke-mesr-lite", "smoke-mesr-lite-l1-more")
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    of = {name: plan([name], setting) for name in ("table3", "ablations", "robustness")}
    for row in (row for rows in of.values() for row in rows):
        _done(state.fate(row), row.method)
        psnr = 40.0 if row.method in plain else 40.5
        for scale in row.scales:
            place = {"scale": scale, "degradation": text_of(recipe(row.degradation))}
            file.add(result(model=row.method, psnr=psnr, psnr_body=psnr, **place))
    measured = Measured(tmp_path, state)

    def lines(text: str) -> list[list[str]]:
        """Cells of every line of figures."""
        found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
        return [cells for cells in found if cells and any("0.0" in cell or "0.5" in cell for cell in cells)]

    behind = {cells[0]: cells[4] for cells in lines(comparison.table3(of["table3"], measured))}
    assert behind["bicubic"] == "+0.50"
    gains = [cells[-1] for cells in lines(comparison.robustness(of["robustness"], measured))]
    assert len(gains) == 2 * len(DEGRADATIONS), "whole and inside the body"
    assert set(gains) == {"+0.50"}
    found = [cells[1:] for cells in lines(comparison.ablations(of["ablations"], measured, "pelvis"))]
    bases = [cells for cells in found if cells[0] == "40.00"]
    assert len(bases) == 3 * len({row.group for row in of["ablations"]})
    assert {cell for cells in found if cells not in bases for cell in cells} == {"+0.50"}


def test_without_its_base_a_group_of_ablations_is_left_out(setting: Setting, tmp_path: Path) -> None:
    """A run that was stopped has measured what is cheap, which need not be the base."""
    rows = plan(["ablations"], setting)
    group = NETWORK
    base, first, second, *_ = (row for row in rows if row.group == group)
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    for row in (first, second):
        _done(state.fate(row), row.method)
        for scale in row.scales:
            file.add(result(model=row.method, scale=scale))
    text = document(tmp_path / "r.md", setting, rows, Measured(tmp_path, state))
    assert f"**{group}**" not in text
    _done(state.fate(base), base.method)
    for scale in base.scales:
        file.add(result(model=base.method, scale=scale))
    text = document(tmp_path / "r.md", setting, rows, Measured(tmp_path, state))
    _, _, part = text.partition(f"**{group}**")
    titles = [line.split("|")[1].strip() for line in part.split("\n\n")[1].splitlines()[2:]]
    assert titles == [base.title, first.title, second.title]


def test_a_slice_that_one_method_makes_exactly_counts_for_none(setting: Setting, tmp_path: Path) -> None:
    rows = {row.method: row for row in plan(["table2"], setting) if row.group == EQUAL}
    state, file = State(tmp_path, "smoke", "scans"), ResultsFile(tmp_path / "results.csv")
    for method, second in (("bicubic", math.inf), ("smoke-mesr", 80.0)):
        _done(state.fate(rows[method]), method)
        for number, psnr in ((1, 40.0), (2, second)):
            file.add(result(model=method, slice=number, data_sha256=str(number), psnr=psnr, ssim=0.9))
    measured = Measured(tmp_path, state)
    for method in ("bicubic", "smoke-mesr"):
        mean = measured.mean(rows[method], "2")
        assert mean is not None
        assert (mean.mean, mean.slices) == (40.0, 1)
        of_ssim = measured.mean(rows[method], "2", "ssim")
        assert of_ssim is not None
        assert of_ssim.slices == 2


def test_a_training_that_got_worse_is_marked() -> None:
    def told(*values: float) -> str:
        return comparison._course(Trained("", "", 0, 0, 0, 0.0, list(enumerate(values))))

    assert told(30.0, 29.0, 31.0) == "30.00 → 31.00"
    assert told(31.0, 32.0, 31.0) == "31.00 → 31.00 **(worse)**"
    assert told(30.0, 33.0, 32.95) == "30.00 → 32.95"
    assert told(30.0, 33.0, 32.5) == "30.00 → 32.50 (best 33.00 at step 1)"
    worse = Trained("", "", 0, 0, 0, 0.0, [(0, 31.0), (1, 30.0)])
    assert comparison._course(worse, widened=True) == "31.00 → 30.00 (learns other scales)"


def test_what_goes_on_with_more_scales_is_not_judged_by_its_start(setting: Setting) -> None:
    rows = {row.method: row.trainings[0] for row in plan(["ablations"], setting) if row.trainings}
    widened = [name for name, one in rows.items() if comparison._widened(one)]
    assert widened == ["smoke-mesr-lite-two-parts"]


def test_what_a_training_for_realism_gives_up_is_told() -> None:
    def told(*values: float) -> str:
        course = list(enumerate(values))
        return comparison._course(Trained("", "", 0, 0, 0, 0.0, course, losses={"l1": 1, "adversarial": 0.1}))

    assert told(31.0, 32.0, 29.5) == "31.00 → 29.50 (1.50 given up)"
    assert told(31.0, 32.0, 31.5) == "31.00 → 31.50"


def test_a_difference_that_counts_is_not_printed_as_none() -> None:
    def told(*ends: float) -> str:
        return interval(Difference(*ends, 9, 5, "5 patients"), 4)

    assert told(0.00012, 0.00008, 0.00016) == "+0.0001 [+0.0001, +0.0002]"
    assert told(0.00004, 0.00003, 0.00005) == "+0.00004 [+0.00003, +0.00005]"
    assert told(0.0002, 0.00022, 0.00024) == "+0.00020 [+0.00022, +0.00024]"
    assert told(0.0, 0.0, 0.0) == "+0.0000 [+0.0000, +0.0000]"
    assert told(1e-9, 1e-9, 1e-9) == "+0.000000 [+0.000000, +0.000000]"
