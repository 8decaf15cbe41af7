"""What the charts of the document say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mesr.reproduce import charts
from mesr.reproduce.charts import Point


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were written."""
    found: list[Figure] = []
    save = Figure.savefig

    def savefig(figure: Figure, path: Path) -> None:
        found.append(figure)
        save(figure, path)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return found


def _legend(figure: Figure) -> list[str]:
    return [one.get_text() for one in figure.legends[0].get_texts()]


def test_methods_are_numbered_from_the_best_and_untrained_ones_have_a_part_of_their_own(
    tmp_path: Path, kept: list[Figure]
) -> None:
    start = Point("first", 1.0, 40.0)
    found = [
        Point("sinc", 0.1, 30.0, trained=False),
        start,
        Point("after", 3.0, 41.0, own=True, before=start),
    ]
    charts.points(found, tmp_path / "points.png", "seconds", "PSNR, dB")
    assert (tmp_path / "points.png").stat().st_size > 5000
    (figure,) = kept
    assert _legend(figure) == ["1  after, 41.00", "2  first, 40.00", "3  sinc, 30.00"]
    above, below = figure.axes
    assert [one.get_text() for one in above.texts if one.get_text()] == ["2", "1"]
    assert [one.get_text() for one in below.texts] == ["3"]
    assert above.get_ylim()[0] > 30.0


def test_networks_alone_fill_the_chart(tmp_path: Path, kept: list[Figure]) -> None:
    found = [Point("one", 0.9, 40.0), Point("other", 5.5, 41.0)]
    charts.points(found, tmp_path / "points.png", "seconds", "PSNR, dB", logarithmic=True)
    (axes,) = kept[0].axes
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    told = [one.get_text() for one in axes.get_xticklabels() if low <= one.get_position()[0] <= high]
    assert told == ["1", "2", "5"]
    assert not any(one.get_text() for one in axes.get_xticklabels(minor=True))


def test_no_two_of_thirty_lines_look_alike(tmp_path: Path, kept: list[Figure]) -> None:
    found = {f"network {n}": [(1, 30.0), (2, 31.0 + n)] for n in range(30)} | {"unjudged": []}
    charts.curves(found, ["network 0"], tmp_path / "curves.png")
    (figure,) = kept
    lines = figure.axes[0].lines
    assert (
        len({(line.get_color(), line.get_linestyle()) for line in lines if np.size(line.get_xdata())}) == 30
    )
    assert _legend(figure)[0] == "network 29, 60.00"
    assert [line.get_linewidth() > 2 for line in lines if line.get_label() == "network 0, 31.00"] == [True]
