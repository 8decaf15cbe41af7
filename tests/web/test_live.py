"""What the page asks for while someone looks: `live.js` alone, in Node, with a server that answers when told to."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from conftest import require_program

STATIC = Path(__file__).parents[2] / "src" / "mesr" / "web" / "static"

SCRIPT = """
import { Live } from "./live.js";
const asked = [], told = [];
globalThis.fetch = (path) => new Promise((answer) => asked.push({ path, answer }));
const about = { rows: 1, columns: 1, planes: [], top: 0, left: 0, step: [1, 1] };
const answer = async (n) => {
  asked[n].answer({ ok: true, headers: { get: () => JSON.stringify(about) }, arrayBuffer: async () => new ArrayBuffer(0) });
  await new Promise((done) => setTimeout(done, 5));
};
let taken = true;
const live = new Live({
  source: () => told.push("source"),
  result: () => (told.push("result"), taken),
  settled: () => told.push("settled"),
  busy: () => {},
  refused: (error) => told.push(error.message),
});
const viewport = { view: () => ({ top: 0, bottom: 1, left: 0, right: 1 }) };
const ask = () => live.ask({ k: 0, target: { scale: "2" }, model: "auto", viewport }, "released");
live.open("/a", "");
"""


def _told(folder: Path, steps: str) -> Any:
    """What the viewer was told, and the number of requests, after some steps."""
    node = require_program("node")
    for name in ("live.js", "api.js", "frame.js"):
        shutil.copy(STATIC / name, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    end = "console.log(JSON.stringify([told, asked.length]));\nprocess.exit(0);\n"
    (folder / "steps.js").write_text(SCRIPT + steps + end, encoding="utf-8")
    done = subprocess.run([node, "steps.js"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_picture_that_is_shown_is_not_asked_for_again(tmp_path: Path) -> None:
    assert _told(tmp_path, "ask(); await answer(0); ask();") == [["result", "settled"], 1]


def test_a_picture_that_was_not_taken_is_asked_for_again(tmp_path: Path) -> None:
    steps = "taken = false; ask(); await answer(0); taken = true; ask(); await answer(1); ask();"
    assert _told(tmp_path, steps) == [["result", "result", "settled"], 2]


def test_a_picture_that_was_dropped_is_asked_for_again(tmp_path: Path) -> None:
    assert _told(tmp_path, "ask(); await answer(0); live.dropped(); ask();") == [["result"], 2]


def test_what_was_asked_of_another_modality_is_not_shown(tmp_path: Path) -> None:
    steps = "ask(); live.source(0); live.open('/a', 'mr'); await answer(0); await answer(1);"
    assert _told(tmp_path, steps) == [[], 2]
