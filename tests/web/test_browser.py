"""The page in a real browser (Chromium, headless): a study in, the swipe moved, the scale chosen, the result taken away.

The screenshots lie in the test's temporary folder, or where MESR_SCREENSHOTS says, to be looked at.
"""

from __future__ import annotations

import io
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from playwright.sync_api import expect, sync_playwright
from pydicom import dcmread
from scans import dicom_series

from mesr.web.app import VIEWER

SIZE = (6, 64, 80)
SECONDS = 30
PATIENCE = 1000 * SECONDS
SHOWN = "body[data-shown=exact]"


@dataclass
class Running:
    """A server of its own: its process, address, and the folder its temporary files go to."""

    process: subprocess.Popen[str]
    address: str
    temporary: Path


def _started(folder: Path, *options: str) -> Running:
    temporary = folder / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "mesr", "web", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if waiting.select(SECONDS) else ""
    found = re.search(r"http://\S+", line)
    if found is None:
        process.kill()
        pytest.fail(f"the server did not start: {line}{process.communicate()[0]}")
    return Running(process, found.group(), temporary)


def _ended(server: Running) -> str:
    """What it printed besides its address; it must go at a signal and take its files with it."""
    server.process.send_signal(signal.SIGINT)
    told, _ = server.process.communicate(timeout=SECONDS)
    assert server.process.returncode == 0
    assert [path.name for path in server.temporary.iterdir() if path.name.startswith("mesr")] == []
    return told


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Running]:
    server = _started(tmp_path)
    yield server
    if server.process.poll() is None:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    require("chromium", chromium is not None)
    require("npm", VIEWER.is_file())
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture(name="told")
def _told() -> list[str]:
    return []


@pytest.fixture(name="page")
def _page(browser: Any, told: list[str]) -> Iterator[Any]:
    """A page at 1280 pixels that remembers what went wrong in it."""
    expect.set_options(timeout=PATIENCE)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda line: told.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    yield page
    page.close()


def _screenshot(page: Any, folder: Path, name: str) -> None:
    place = Path(os.environ.get("MESR_SCREENSHOTS") or folder)
    page.screenshot(path=place / f"{name}.png")


def _pixel(page: Any, x: int, y: int) -> list[int]:
    found = page.evaluate(
        "([x, y]) => [...document.getElementById('canvas').getContext('2d').getImageData(x, y, 1, 1).data]",
        [x, y],
    )
    return list(found)[:3]


@pytest.mark.slow
def test_a_study_is_seen_before_and_after_and_taken_away(
    server: Running, page: Any, told: list[str], tmp_path: Path
) -> None:
    scan = dicom_series(tmp_path / "in", size=SIZE, bits_stored=12)
    page.goto(server.address)
    page.wait_for_selector("body[data-ready]")
    page.set_input_files("#folder", str(tmp_path / "in"))
    page.wait_for_selector(SHOWN)
    assert "ZZPHI" not in page.content()
    assert page.inner_text("#slice-number") == "4 / 6"
    assert "64 × 80" in page.inner_text("#facts") or "80 × 64" in page.inner_text("#facts")

    # The value and the place under the cursor.
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 - 40, box["y"] + box["height"] / 2)
    expect(page.locator("#at-before")).to_contain_text("HU")
    assert re.fullmatch(r"−?\d+ HU", page.inner_text("#at-after"))
    assert re.fullmatch(r"x −?[\d.]+ +y −?[\d.]+ +z −?[\d.]+ mm \(LPS\)", page.inner_text("#at-place"))
    shown = float(page.inner_text("#at-before").removesuffix(" HU").replace("−", "-"))
    assert scan.values[3].min() <= shown <= scan.values[3].max()

    # They follow the picture under a cursor that rests.
    place, value = page.inner_text("#at-place"), page.inner_text("#at-before")
    page.mouse.wheel(0, 60)
    expect(page.locator("#at-place")).not_to_have_text(place)
    page.mouse.wheel(0, -60)
    expect(page.locator("#at-place")).to_have_text(place)
    expect(page.locator("#at-before")).to_have_text(value)
    page.click("#closer")
    expect(page.locator("#at-place")).to_have_text("–")
    page.click("#fit")

    # Another model: nothing is called a result before it is one.
    page.wait_for_selector(SHOWN)
    page.select_option("#model", "sinc")
    assert page.evaluate("document.body.dataset.shown") is None
    page.wait_for_selector(SHOWN)
    page.select_option("#model", "auto")
    page.wait_for_selector(SHOWN)

    # The swipe, by hand and by key.
    handle = page.locator("#handle")
    place = handle.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 100, steps=4)
    page.mouse.up()
    expect(handle).to_have_attribute("aria-valuenow", re.compile("^2[456]$"))
    page.keyboard.press("ArrowRight")
    expect(handle).to_have_attribute("aria-valuenow", re.compile("^2[678]$"))

    # The window, by preset and by drag.
    page.click("text=Bone")
    assert (page.input_value("#centre"), page.input_value("#width")) == ("400", "1800")
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 360, box["y"] + 280, steps=3)
    page.mouse.up()
    assert float(page.input_value("#width")) > 1800
    assert float(page.input_value("#centre")) < 400
    page.keyboard.press("1")

    # The scale, while it moves and at rest; any value.
    page.evaluate(
        "document.body.dataset.shown = ''; const s = document.getElementById('scale');"
        " s.value = '2.6'; s.dispatchEvent(new Event('input'));"
    )
    expect(page.locator("body")).to_have_attribute("data-shown", re.compile("moving|exact"))
    page.fill("#scale-text", "2.37")
    page.press("#scale-text", "Enter")
    expect(page.locator("#plan")).to_contain_text("190 × 152")
    page.wait_for_selector(SHOWN)
    _screenshot(page, tmp_path, "swipe")

    # Slices and views, by key.
    page.focus("#canvas")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#slice-number") == "5 / 6"
    for key, mode in (("d", "difference"), ("b", "side"), ("s", "swipe")):
        page.keyboard.press(key)
        assert page.is_checked(f"input[name=mode][value={mode}]")
        page.wait_for_selector(SHOWN)
        _screenshot(page, tmp_path, mode)
    assert max(_pixel(page, 400, 300)) > 0

    # The whole study, and its files.
    page.click("#run")
    page.wait_for_selector("#result:not([hidden])")
    with page.expect_download() as caught:
        page.click("[data-kind=dicom]")
    with zipfile.ZipFile(io.BytesIO(Path(caught.value.path()).read_bytes())) as archive:
        found = [dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    assert "ZZPHI" not in caught.value.suggested_filename
    assert [(one.Rows, one.Columns) for one in found] == [(152, 190)] * 6
    assert {str(one.PatientName) for one in found} == {"ZZPHI^MARKER"}
    assert {one.StudyInstanceUID for one in found} == {dcmread(scan.paths[0]).StudyInstanceUID}
    with page.expect_download() as caught:
        page.click("[data-kind=nifti]")
    assert Path(caught.value.path()).read_bytes()[:2] == b"\x1f\x8b"
    _screenshot(page, tmp_path, "done")

    # Another one in its place: the first one's files go.
    first = page.get_attribute("[data-kind=nifti]", "href")
    page.click("#run")
    expect(page.locator("[data-kind=nifti]")).not_to_have_attribute("href", first)
    page.wait_for_selector("#result:not([hidden])")
    (study,) = server.temporary.glob("mesr-web-*/*/")
    for _ in range(10 * SECONDS):
        if len(found := {path.parent for path in study.glob("*/CT-*")}) == 1:
            break
        page.wait_for_timeout(100)
    assert len(found) == 1

    # The volume view, in the same window; then a tablet.
    page.click("text=Volume")
    page.wait_for_selector("#volume:not([hidden])")
    page.wait_for_selector("body[data-volume='2']")
    _screenshot(page, tmp_path, "volume")
    page.click("text=Swipe")
    page.set_viewport_size({"width": 820, "height": 1180})
    page.wait_for_selector(SHOWN)
    assert page.evaluate("document.documentElement.scrollWidth") <= 820
    _screenshot(page, tmp_path, "tablet")

    page.click("#close")
    page.wait_for_selector("#drop")
    assert told == []
    printed = _ended(server)
    assert "ZZPHI" not in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_a_study_that_cannot_be_used_is_told_in_a_sentence(
    server: Running, page: Any, tmp_path: Path
) -> None:
    (tmp_path / "text.dcm").write_bytes(b"ZZPHI^MARKER")
    page.goto(server.address)
    page.wait_for_selector("body[data-ready]")
    page.set_input_files("#files", str(tmp_path / "text.dcm"))
    page.wait_for_selector("#alert:not([hidden])")
    assert "DICOM" in page.inner_text("#alert-text")
    _screenshot(page, tmp_path, "refused")
    assert "ZZPHI" not in _ended(server)


@pytest.mark.slow
def test_a_token_opens_the_page_and_leaves_the_address(browser: Any, tmp_path: Path) -> None:
    server = _started(tmp_path, "--token")
    try:
        stranger = browser.new_page()
        stranger.goto(server.address.partition("#")[0])
        stranger.wait_for_selector("#alert:not([hidden])")
        assert "token" in stranger.inner_text("#alert-text")
        stranger.goto("about:blank")
        stranger.goto(server.address)
        stranger.wait_for_selector("body[data-ready]")
        assert "token" not in stranger.url
        stranger.close()
    finally:
        _ended(server)
