"""Charts of the document: methods by two of their figures, and how networks learned.

matplotlib is imported when something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..files import atomic_path
from ..picture import ACCENT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OTHERS, UNTRAINED, FAINT = "#33658a", "#777777", "#999999"


class Point(NamedTuple):
    """Where a method stands in a chart.

    Attributes:
        title: in the legend.
        x, y: its figures; the higher the y, the better.
        own: whether it is MESR or of its kind.
        trained: whether it is a network; what is not is drawn in a part of its own, as it lies far below.
        before: what its network was before a critic taught it; None where there is no such point.
    """

    title: str
    x: float
    y: float
    own: bool = False
    trained: bool = True
    before: Point | None = None

    @property
    def colour(self) -> str:
        """Red for its own, blue for other networks, grey for the rest."""
        if self.own:
            return ACCENT
        return OTHERS if self.trained else UNTRAINED


def points(
    found: Sequence[Point], path: Path, across: str, up: str, *, title: str = "", logarithmic: bool = False,
    at: float | None = None,
) -> None:  # fmt: skip
    """Methods as numbered points, the best first; the legend beside them tells the numbers.

    Args:
        found: at least one.
        across, up: what the axes show.
        logarithmic: whether x is.
        at: an x that is marked by a line.

    Raises:
        OutputError: the chart cannot be written there.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    ranked = sorted(found, key=lambda one: -one.y)
    parts = [part for kind in (True, False) if (part := [one for one in ranked if one.trained is kind])]
    figure = _figure()
    panels = figure.subplots(len(parts), 1, sharex=True, squeeze=False, height_ratios=(4, 1.6)[: len(parts)])[
        :, 0
    ]
    handles = []
    for axes, part in zip(panels, parts, strict=True):
        # The best is drawn last, over its neighbours.
        for one in reversed(part):
            _numbered(axes, one, ranked.index(one) + 1)
        if at is not None:
            axes.axvline(at, color=FAINT, linewidth=0.8)
        axes.grid(alpha=0.3)
        axes.margins(0.08)
        axes.set_ylabel(up)
    for number, one in enumerate(ranked, 1):
        label = f"{number}  {one.title}, {one.y:.2f}"
        handles.append(Line2D([], [], marker="o", linestyle="", color=one.colour, label=label))
    if logarithmic:
        panels[-1].set_xscale("log")
        panels[-1].xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panels[-1].xaxis.set_major_formatter(FormatStrFormatter("%g"))
        panels[-1].xaxis.set_minor_formatter(NullFormatter())
        panels[-1].tick_params(axis="x", labelsize=8)
    panels[-1].set_xlabel(across)
    panels[0].set_title(title, fontsize=9)
    figure.legend(handles=handles, loc="outside right upper", fontsize=7)
    _save(figure, path)


def _numbered(axes: Axes, one: Point, number: int) -> None:
    if one.before is not None:
        arrow = {"arrowstyle": "->", "color": FAINT, "shrinkA": 6, "shrinkB": 6}
        axes.annotate("", (one.x, one.y), (one.before.x, one.before.y), arrowprops=arrow)
    axes.plot(one.x, one.y, "o", color=one.colour, markersize=10, markeredgecolor="white")
    axes.annotate(
        str(number),
        (one.x, one.y),
        ha="center",
        va="center_baseline",
        fontsize=6,
        color="white",
        weight="bold",
    )


def curves(found: Mapping[str, Sequence[tuple[int, float]]], own: Sequence[str], path: Path) -> None:
    """How networks learned: a line each, from samples seen to PSNR in validation, the best at its end first.

    Args:
        found: by title.
        own: titles whose lines are thicker.

    Raises:
        OutputError: the chart cannot be written there.
    """
    figure = _figure()
    axes = figure.subplots()
    ranked = sorted(found.items(), key=lambda one: -one[1][-1][1] if one[1] else 0.0)
    for number, (title, course) in enumerate(ranked):
        last = f", {course[-1][1]:.2f}" if course else ""
        axes.plot(
            *zip(*course, strict=True),
            color=f"C{number % 10}", linestyle=("-", "--", ":")[number // 10 % 3],
            linewidth=2.4 if title in own else 1.2, marker=".", label=f"{title}{last}",
        )  # fmt: skip
    axes.set_xlabel("samples seen, of all scales; a second stage's are smaller")
    axes.set_ylabel("PSNR on slices to validate on,\n×2 or a network's own scale, dB")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7)
    _save(figure, path)


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure((9.0, 4.5), dpi=130, facecolor="white", layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    """Of 256 colours, which is all that lines need and a third of the size."""
    from PIL import Image

    with atomic_path(path, force=True) as temporary:
        figure.savefig(temporary)
        with Image.open(temporary) as drawn:
            few = drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(temporary, optimize=True)
