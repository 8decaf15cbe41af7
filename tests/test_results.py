"""results.csv as a contract: what is written is read back, and code that differs has another name."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from measurements import row

from mesr import results
from mesr.errors import InputError


def test_a_row_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = results.ResultsFile(tmp_path / "results.csv")
    one = row(psnr=math.inf, mae_above=math.nan, site="head, neck", patient='"p"')
    file.add(one)
    (back,) = results.read_results(file.path)
    assert math.isnan(back.mae_above)
    assert back.psnr == math.inf
    assert back.key == one.key
    assert (back.site, back.patient, back.pixels_body) == ("head, neck", '"p"', 900)


def test_of_two_rows_with_one_key_the_later_counts(tmp_path: Path) -> None:
    file = results.ResultsFile(tmp_path / "results.csv")
    file.add(row(psnr=1.0))
    file.add(row(psnr=2.0))
    assert [one.psnr for one in results.read_results(file.path)] == [2.0]


@pytest.mark.parametrize("column", results.Key._fields)
def test_whatever_decides_a_number_is_in_the_key(column: str) -> None:
    other = 7 if column in ("seed", "slice") else "other"
    assert row(**{column: other}).key != row().key


def test_a_damaged_file_is_refused_without_its_values(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text(",".join(results.COLUMNS) + "\n1,2,3\n")
    with pytest.raises(InputError) as caught:
        results.read_results(path)
    assert str(path) not in str(caught.value)


def test_the_code_has_a_name_that_changes_with_it() -> None:
    name = results.code_identity()
    assert re.fullmatch(r"([0-9a-f]{12}|[0-9.]+\w*)(\+[0-9a-f]{8})?", name)
