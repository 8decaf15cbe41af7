"""Pictures: what they choose to show, and that they hold what they say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from volumes import enlarged, oblique, volume

from mesr import display, picture, preview
from mesr.errors import OutputError
from mesr.intensity import HU_WINDOW, Window
from mesr.volume import Volume


def slab(size: tuple[int, int, int] = (3, 64, 80)) -> Volume:
    """A body of water in air, with texture in one place."""
    y, x = np.mgrid[: size[1], : size[2]]
    body = np.where(np.hypot(y - size[1] / 2, x - size[2] / 2) < size[1] / 2.2, 40.0, -1000.0)
    body[20:36, 30:46] += 60 * ((y + x) % 3)[20:36, 30:46]
    whole = np.broadcast_to(body, size).astype(np.float32)
    return volume(replace(oblique(), size=size), whole, modality="CT", unit="HU")


def test_the_region_of_interest_is_where_the_detail_is() -> None:
    region = display.most_detailed(display.SOFT_TISSUE.grey(slab().slices[0].values))
    middle = (region.top + region.height / 2) * 64, (region.left + region.width / 2) * 80
    assert abs(middle[0] - 28) < 6
    assert abs(middle[1] - 38) < 6


def test_the_couch_has_no_say_where_the_detail_is() -> None:
    grey = np.zeros((100, 100), np.float32)
    grey[20:60, 20:60] = 0.5
    grey[30:40:4, 30:50] = 0.6
    grey[80:100:4] = 1.0
    patient = np.zeros(grey.shape, dtype=bool)
    patient[22:58, 22:58] = True
    assert display.most_detailed(grey).top > 0.6
    found = display.most_detailed(grey, inside=patient)
    assert found.top + found.height < 0.6
    assert display.most_detailed(grey, inside=~(grey >= 0)) == display.most_detailed(grey)


def test_a_region_shows_the_same_place_at_any_size() -> None:
    image = np.arange(64.0, dtype=np.float32).reshape(8, 8)
    region = display.Region(0.25, 0.5, 0.5, 0.25)
    np.testing.assert_array_equal(region.cut(image), image[2:6, 4:6])
    twice = image.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(region.cut(twice)[::2, ::2], image[2:6, 4:6])


def test_a_chest_is_shown_in_a_lung_window_and_a_pelvis_in_a_soft_one() -> None:
    pelvis = slab().slices[0].values
    chest = pelvis.copy()
    chest[20:44, 20:36] = chest[20:44, 44:60] = -850
    assert display.display_for(pelvis, "HU", HU_WINDOW) is display.SOFT_TISSUE
    assert display.display_for(chest, "HU", HU_WINDOW) is display.LUNG
    assert display.display_for(pelvis, "", Window(5, 95))[:2] == (5, 95)


def test_the_view_is_around_the_body() -> None:
    body = np.zeros((100, 200), dtype=bool)
    body[40:60, 50:150] = True
    view = display.around(body)
    assert view.top == pytest.approx(0.37)
    assert view.left == pytest.approx(0.22)
    assert view.width == pytest.approx(0.555, abs=0.01)
    assert display.around(np.zeros((5, 5), dtype=bool)) == (0, 0, 1, 1)


@pytest.mark.parametrize("scale", ["1", "2.5"])
def test_a_preview_shows_the_pixels_of_both(tmp_path: Path, scale: str) -> None:
    source = slab()
    preview.before_after(source, enlarged(source, scale), tmp_path / "preview.png")
    with Image.open(tmp_path / "preview.png") as image:
        assert image.width > 2 * 0.6 * preview.PANEL
        pixels = np.asarray(image)
    assert pixels[-1, -1].tolist() == [255, 255, 255]
    assert len(np.unique(pixels[..., 0])) > 10
    assert not image.info, "no text in the file"


def test_a_preview_replaces_nothing_unasked(tmp_path: Path) -> None:
    (tmp_path / "preview.png").write_text("mine")
    with pytest.raises(OutputError):
        preview.before_after(slab(), slab(), tmp_path / "preview.png")
    preview.before_after(slab(), slab(), tmp_path / "preview.png", force=True)


def test_a_preview_of_one_pixel_is_drawn(tmp_path: Path) -> None:
    one = volume(replace(oblique(), size=(1, 1, 1)), np.zeros((1, 1, 1), dtype=np.float32))
    preview.before_after(one, one, tmp_path / "preview.png")


def test_a_comparison_shows_every_method(tmp_path: Path) -> None:
    hr = slab().slices[0].values
    lr = hr.reshape(32, 2, 40, 2).mean((1, 3))
    images = {"nearest": lr.repeat(2, 0).repeat(2, 1), "perfect": hr}
    path = tmp_path / "figure.png"
    picture.comparison(lr, images, hr, path, title="pelvis, ×2")
    assert path.stat().st_size > 5000


def test_what_a_change_leads_to_is_told_by_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same change is away from one truth and nearer to another."""
    told: list[list[str]] = []

    def headings(figure: Figure, path: Path, dots: float, force: bool) -> None:
        told.append([axes.get_title() for axes in figure.axes])

    monkeypatch.setattr(picture, "_save", headings)
    before = slab().slices[0].values
    after = before + 10
    for hr in (before, after):
        picture.change(before[::2, ::2], before, after, hr, tmp_path / "figure.png", names=("plain", "sharp"))
    for found, moved in zip(told, ("away 10.0, nearer 0.0 HU", "away 0.0, nearer 10.0 HU"), strict=True):
        assert "changed by 10.0 HU" in found
        assert moved in found


def test_a_picture_for_a_page_is_small(tmp_path: Path) -> None:
    hr = slab().slices[0].values
    finish = picture.Finish(".webp", 100)
    for path, dots in (
        (tmp_path / "figure.png", picture.Finish().dots),
        (tmp_path / "figure.webp", finish.dots),
    ):
        picture.comparison(hr[::2, ::2], {"perfect": hr}, hr, path, dots=dots)
    with Image.open(tmp_path / "figure.webp") as small, Image.open(tmp_path / "figure.png") as large:
        assert small.format == "WEBP"
        assert small.width == pytest.approx(large.width / 1.5, abs=1)
    sizes = [path.stat().st_size for path in (tmp_path / "figure.webp", tmp_path / "figure.png")]
    assert sizes[0] < 0.7 * sizes[1]


def test_a_comparison_without_a_body_is_drawn(tmp_path: Path) -> None:
    air = np.full((40, 40), -1000, dtype=np.float32)
    picture.comparison(air[::2, ::2], {"same": air}, air, tmp_path / "figure.png")


@pytest.mark.parametrize(
    ("value", "end"), [(0, 1), (0.7, 1), (1.2, 2), (2.4, 3), (37, 50), (200, 200), (201, 300)]
)
def test_a_colour_bar_ends_at_a_round_number(value: float, end: float) -> None:
    assert picture._round_up(value) == pytest.approx(end)


def test_drawing_libraries_are_imported_when_drawing_only() -> None:
    code = "import sys, mesr.picture; sys.exit(any(n in sys.modules for n in ('matplotlib', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
