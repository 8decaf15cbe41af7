"""How long the page takes from a move of the slider to the picture, in headless Chromium, for a 512² slice.

    python benchmarks/page.py [--size 512] [--scales 2.37,3.1,4,1.5]

Needs Debian's chromium, `playwright` and `make web`. The slice is noise: its content does not change the time.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import mesr

MOVE = """async (scale) => {
  const slider = document.getElementById("scale");
  const shown = (what) => new Promise((resolve) => {
    const look = () => what.includes(document.body.dataset.shown)
      ? requestAnimationFrame(() => resolve(performance.now())) : setTimeout(look, 1);
    look();
  });
  delete document.body.dataset.shown;
  slider.value = scale;
  let began = performance.now();
  slider.dispatchEvent(new Event("input"));
  const moving = (await shown(["moving"])) - began;
  await new Promise((resolve) => setTimeout(resolve, 20));
  delete document.body.dataset.shown;
  began = performance.now();
  slider.dispatchEvent(new Event("change"));
  return [moving, (await shown(["exact"])) - began];
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--scales", default="2.37,2,3.1,4,1.5,3.87")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "noise.nii")
        size = (1, arguments.size, arguments.size)
        values = np.random.default_rng(0).normal(0, 200, size).round().clip(-1000, 1000).astype(np.float32)
        values[:, : arguments.size // 4] = -1000  # Air, so that nobody doubts that it is CT.
        mesr.write(
            mesr.Volume(mesr.Geometry(size, (1, 0.7, 0.7)), mesr.ArraySlices(values), "CT", "HU"), path
        )
        server = subprocess.Popen(
            [sys.executable, "-m", "mesr", "web", "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            found = re.search(r"http\S+", server.stdout.readline())
            assert found is not None
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(found.group())
            page.wait_for_selector("body[data-ready]")
            page.set_input_files("#files", str(path))
            page.wait_for_selector("body[data-shown=exact]")
            moved, rested = [], []
            for scale in arguments.scales.split(","):
                moving, still = page.evaluate(MOVE, scale)
                moved.append(moving)
                rested.append(still)
                print(f"×{scale}: moving {moving:.0f} ms, let go {still:.0f} ms", flush=True)
            print(
                f"median: moving {statistics.median(moved):.0f} ms, let go {statistics.median(rested):.0f} ms"
            )
            browser.close()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


if __name__ == "__main__":
    main()
