"""Means, paired differences, intervals and the floor, on results whose answers are known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from measurements import row, versus

from mesr import tables
from mesr.errors import InputError

FLOOR = Path(__file__).parents[1] / "configs" / "floor.csv"


def test_a_mean_says_over_how_many_slices_and_patients() -> None:
    rows = [row(slice=n, patient=p, psnr=v) for n, p, v in ((0, "a", 40.0), (1, "a", 42.0), (0, "b", 44.0))]
    found = tables.summary(rows)["pelvis", "2", "sinc"]
    assert found == (42.0, 2.0, 3, 2)


def test_slices_without_the_measure_are_left_out_of_its_mean_only() -> None:
    rows = [row(slice=0, mae_above=math.nan), row(slice=1, mae_above=50.0)]
    assert tables.summary(rows, "mae_above")["pelvis", "2", "sinc"][::2] == (50.0, 1)
    assert tables.summary(rows, "psnr")["pelvis", "2", "sinc"].slices == 2


def test_five_patients_are_resampled_as_patients() -> None:
    chance = np.random.default_rng(0)
    offsets = {f"p{n}": float(v) for n, v in enumerate(chance.normal(5, 2, 8))}
    found = tables.paired(versus({(p, n): v for p, v in offsets.items() for n in range(20)}), "ours")
    one = found["pelvis", "2"]
    values = np.array(list(offsets.values()))
    assert one.mean == pytest.approx(values.mean())
    assert (one.slices, one.patients, one.over) == (160, 8, "8 patients")
    # The interval is that of 8 patients (± 2 standard errors or so), not of 160 slices.
    error = values.std() / math.sqrt(8)
    assert one.high - one.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_one_patient_is_resampled_in_blocks_of_neighbouring_slices_and_says_so() -> None:
    waves = {("p", n): 5 + math.sin(2 * math.pi * n / 32) for n in range(64)}
    mixed = dict(zip(waves, np.random.default_rng(0).permutation(list(waves.values())), strict=True))
    slow, fast = (tables.paired(versus(gains), "ours")["pelvis", "2"] for gains in (waves, mixed))
    assert slow.over == "blocks of slices, one patient"
    assert slow.low < 5 < slow.high
    assert slow.high - slow.low > 1.5 * (fast.high - fast.low), "neighbours that agree count less"


def test_a_single_slice_has_no_interval() -> None:
    one = tables.paired(versus({("p", 0): 1.0}), "ours")["pelvis", "2"]
    assert one.mean == pytest.approx(1.0)
    assert math.isnan(one.low)


def test_only_slices_that_both_have_are_compared() -> None:
    rows = versus({("a", 0): 1.0, ("a", 1): 3.0})
    assert tables.paired(rows[:-1], "ours")["pelvis", "2"].slices == 1
    assert tables.paired(rows, "nobody") == {}


def test_the_interval_is_the_same_each_time() -> None:
    rows = versus({(f"p{n}", 0): float(n) for n in range(6)})
    assert tables.paired(rows, "ours") == tables.paired(rows[::-1], "ours")


def test_the_floor_passes_and_fails_cell_by_cell() -> None:
    floor = {("pelvis", "2"): (4.0, 44.0), ("pelvis", "4"): (4.0, 60.0), ("head", "2"): (1.0, 30.0)}
    rows = [*versus({("p", 0): 5.0}), *versus({("p", 0): 5.0}, scale="4")]
    good, low, absent = tables.compare_floor(rows, floor, "ours")
    assert good.passed
    assert good.gain == pytest.approx(5.0)
    assert not low.passed, "the gain is reached, the PSNR is not"
    assert not absent.passed, "what was not measured has not passed"
    text = tables.floor_table([good, low, absent])
    assert text.count("✓") == 1
    assert "✗ floor 4.0 (60.0)" in text


def test_the_committed_floor_has_five_sites_at_six_scales() -> None:
    floor = tables.read_floor(FLOOR)
    assert len({site for site, _ in floor}) == 5
    assert len({scale for _, scale in floor}) == 6
    assert len(floor) == 30
    assert floor["liver", "2.5"] == (7.3, 47.6)


def test_a_file_that_is_no_floor_is_refused(tmp_path: Path) -> None:
    (tmp_path / "floor.csv").write_text("site,scale\na,2\n")
    with pytest.raises(InputError, match="columns"):
        tables.read_floor(tmp_path / "floor.csv")


def test_the_gain_table_has_a_row_a_site_and_a_column_a_scale() -> None:
    rows = [*versus({("p", 0): 5.0, ("p", 1): 6.0}), *versus({("p", 0): 4.0}, site="head", scale="4")]
    lines = tables.gain_table(rows, "ours").splitlines()
    assert "gain over sinc" in lines[0]
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["site", "×2", "×4"]
    pelvis = [cell.strip() for cell in lines[4].split("|")[1:-1]]
    assert pelvis == ["pelvis (2 slices; blocks of slices, one patient)", "+5.50 [+5.00, +6.00] (46.00)", "–"]
    assert "(44.00)" in lines[5]


def test_the_gain_table_shows_a_dash_where_one_slice_gives_no_interval_and_says_why() -> None:
    lines = tables.gain_table(versus({("p", 0): 5.0}), "ours").splitlines()
    assert "which takes two" in lines[0]
    assert [cell.strip() for cell in lines[4].split("|")[1:-1]][1] == "+5.00 [–] (45.00)"
    assert "nan" not in "".join(lines)


def test_the_report_shows_every_site_scale_and_method_with_its_numbers() -> None:
    text = tables.report([*versus({("a", 0): 5.0, ("b", 1): 5.0}), *versus({("a", 0): 5.0}, scale="1.3x2.2")])
    assert "**pelvis ×2** – 2 slices, 2 patients" in text
    assert "**pelvis ×1.3x2.2** – 1 slice, one patient" in text
    assert "45.50 ± 0.71" in text
    assert text.count("| ours") == 2


def test_a_report_of_nothing_comparable_is_still_a_report() -> None:
    assert "**pelvis ×2**" in tables.report([row(model="ours")])
    assert "–" in tables.report([row(model="ours", mae_above=math.nan)])


def test_a_blank_slice_made_exactly_is_left_out_of_the_mean_and_said_to_be() -> None:
    rows = [row(slice=0, psnr=math.inf), row(slice=1, psnr=40.0), row(slice=2, psnr=42.0)]
    assert tables.summary(rows)["pelvis", "2", "sinc"] == (41.0, math.sqrt(2), 2, 1)
    assert "2 of 3 slices, one patient" in tables.site_table(rows, "pelvis", "2")
    (below,) = tables.compare_floor(rows, {("pelvis", "2"): (-1.0, 60.0)}, "sinc")
    assert not below.passed


def test_a_slice_that_one_method_makes_exactly_is_in_no_method_s_mean() -> None:
    both = [*versus({("p", 0): 1.0}), *versus({("p", 1): 1.0})]
    rows = [
        replace(one, psnr=math.inf if one.model == "sinc" else 150.0) if one.slice == 0 else one
        for one in both
    ]
    found = tables.summary(rows)
    assert [found["pelvis", "2", name].mean for name in ("sinc", "ours")] == [41.0, 42.0]
    assert "+1.00 [–] (42.00)" in tables.gain_table(rows, "ours")
    assert "150" not in tables.site_table(rows, "pelvis", "2")
