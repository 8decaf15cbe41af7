"""The page from made-up measurements: the paper's figures beside ours, and none that is not measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from measurements import row as result
from small_source import BRIEF, small_source

from mesr.degrade import recipe, text_of
from mesr.reproduce import comparison
from mesr.reproduce.document import document
from mesr.reproduce.findings import Finding, Findings
from mesr.reproduce.measured import Measured, interval, millions, population, spread
from mesr.reproduce.plan import EQUAL, EXPERIMENTS, plan
from mesr.reproduce.state import State, Trained
from mesr.reproduce.table2 import verdict
from mesr.reproduce.trainings import Setting
from mesr.results import ResultsFile
from mesr.tables import Difference, Mean


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(BRIEF, small_source(tmp_path / "scans"), "vgg19")


def _page(setting: Setting, out: Path, gains: dict[str, float]) -> str:
    """The page where every named row of Table 2 is so many dB better than 40 on two slices."""
    rows = [row for row in plan(["table2"], setting) if row.group == EQUAL]
    state = State(out, "smoke", "scans")
    file = ResultsFile(out / "results.csv")
    for row in rows:
        fate = state.fate(row)
        if row.id not in gains:
            continue
        fate.status, fate.weights_id, fate.commit = "done", f"id of {row.method}", "0123456789ab"
        for number in (1, 2):
            file.add(
                result(model=row.method, slice=number, data_sha256=str(number), psnr=40.0 + gains[row.id])
            )
    return document(out / "results.md", setting, rows, Measured(out, state))


def test_our_figures_stand_beside_the_papers(setting: Setting, tmp_path: Path) -> None:
    gains = {"table2/on-equal-terms/bicubic": 0.0, "table2/on-equal-terms/smoke-mesr": 1.5}
    text = _page(setting, tmp_path / "out", gains)
    (bicubic,) = [
        line
        for line in text.splitlines()
        if line.startswith("| bicubic") and "25.51" in line and "40.00" in line
    ]
    assert "+1.50" in bicubic
    (mesr,) = [line for line in text.splitlines() if line.startswith("| MESR (L1)") and "37.59" in line]
    assert "41.50 ± 0.00" in mesr
    assert "2 slices of one patient" in text
    assert "CC BY 4.0" in text


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
    fate.status, fate.weights_id, fate.commit = "done", "id of bicubic", "new"
    file = ResultsFile(tmp_path / "out" / "results.csv")
    file.add(result(model="bicubic", commit="old"))
    measured = Measured(tmp_path / "out", state)
    assert measured.of(bicubic) == []
    file.add(result(model="bicubic", commit="new"))
    assert len(Measured(tmp_path / "out", state).of(bicubic)) == 1


def test_figures_without_a_truth_are_told_with_their_units(setting: Setting, tmp_path: Path) -> None:
    found = [
        Finding("phantom", method, "w", measure, value)
        for method, value in (("as it is", 0.5), ("sinc", 0.25), ("MESR (L1)", 0.75))
        for measure in ("noise", "MTF50, strong contrast")
    ]
    state = State(tmp_path / "out", "smoke", "scans")
    text = document(
        tmp_path / "out" / "r.md", setting, [], Measured(tmp_path / "out", state), Findings(found)
    )
    assert "noise, HU" in text
    assert "MTF50, strong contrast, lp/mm" in text
    assert "| 0.250 " in text
    assert "| 0.750 (+0.500) " in text


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
        fate.status, fate.weights_id, fate.commit = "done", f"id of {row.method}", "0123456789ab"
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
    holds = [
        line.split("|")[1:4] for line in text.splitlines() if line.startswith("|") and " before the " in line
    ]
    told = {claim.strip(): (word.strip(), figure.strip()) for claim, word, figure in holds}
    first = told["MESR (L1) (smoke) before the 2 other networks measured, PSNR, dB, pelvis, ×2"]
    assert first == ("**no**", "-0.50 [-0.50, -0.50] against MetaRDN-A (smoke)")
    body = told["MESR (L1) (smoke) before the 2 other networks measured, body PSNR, dB, pelvis, ×2"]
    assert body == ("**no**", "+0.00 [+0.00, +0.00] against MetaRDN-A (smoke)")
    scales = {
        (cells[1], cells[2]): cells[3:]
        for line in text.splitlines()
        if (cells := [cell.strip() for cell in line.split("|")[:-1]])[1:2]
        and cells[1].startswith("MESR (L1) (smoke) before M")
    }
    lost = scales["MESR (L1) (smoke) before MetaRDN-A (smoke)", "PSNR, dB"]
    assert lost == ["pelvis", "**no** -0.50 [-0.50, -0.50]", "–"]
    won = scales["MESR (L1) (smoke) before MIASSR, first stage (L1) (smoke)", "PSNR, dB"]
    assert won == ["pelvis", "yes +0.50 [+0.50, +0.50]", "–"]
    assert not any("mesr-lite" in claim for claim in told)
    assert not any("one scale" in claim for claim in told)
    gains |= {
        f"{start}smoke-mesr-x2-alone": 3.0,
        f"{start}smoke-srcnn-x2": 2.5,
        f"{start}smoke-vdsr-x2": 2.75,
    }
    text = _page(setting, tmp_path / "more", gains)
    (line,) = (
        one for one in text.splitlines() if "before the 2 networks of one scale" in one and ", PSNR" in one
    )
    assert [cell.strip() for cell in line.split("|")[2:4]] == [
        "yes",
        "+0.25 [+0.25, +0.25] against VDSR (smoke)",
    ]


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
        assert line.split("|")[2].strip() == word


@pytest.mark.parametrize(
    ("ends", "higher", "lower"),
    [((0.1, 0.3), "yes", "**no**"), ((-0.3, -0.1), "**no**", "yes"), ((-0.1, 0.3), "undecided", "undecided")],
)
def test_a_difference_within_its_interval_decides_nothing(
    ends: tuple[float, float], higher: str, lower: str
) -> None:
    one = Difference(0.1, *ends, 9, 5, False)
    assert (verdict(one), verdict(one, lower=True)) == (higher, lower)


def test_a_training_that_got_worse_is_marked() -> None:
    def told(*values: float) -> str:
        return comparison._course(Trained("", "", 0, 0.0, 0, 0, 0, 0.0, list(enumerate(values))))

    assert told(30.0, 29.0, 31.0) == "30.00 → 31.00"
    assert told(31.0, 32.0, 31.0) == "31.00 → 31.00 **(worse)**"
