"""The 3D Slicer module, with stand-ins for Slicer's own: it calls the real program and brings back its result.

Slicer itself is no package that could be installed here; its panel is built from the stand-ins alone.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import nrrd
import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "slicer" / "MesrSuperResolution.py"
PROGRAM = str(Path(sys.executable).with_name("mesr"))


class Node:
    """A volume node: an array and a name."""

    def __init__(self, array: np.ndarray, name: str = "scan") -> None:
        self.array, self.name = array, name

    def GetName(self) -> str:  # noqa: N802
        return self.name

    def SetName(self, name: str) -> None:  # noqa: N802
        self.name = name


def _save(node: Node, path: str) -> None:
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([0.8, 0.8, 2.0]),
        "space origin": [1, 2, 3],
    }
    nrrd.write(path, node.array.astype(np.int16), header)


@pytest.fixture(name="module")
def _module(monkeypatch: pytest.MonkeyPatch) -> Any:
    slicer = ModuleType("slicer")
    slicer.util = MagicMock(saveNode=_save, loadVolume=lambda path, _: Node(nrrd.read(path)[0]))  # type: ignore[attr-defined]
    slicer.qMRMLNodeComboBox, slicer.mrmlScene = MagicMock(), MagicMock()  # type: ignore[attr-defined]
    bases = ModuleType("slicer.ScriptedLoadableModule")
    for name in ("", "Logic", "Widget"):
        base = type(
            "Base",
            (),
            {
                "__init__": lambda self, parent=None: setattr(self, "parent", parent),
                "setup": lambda _: None,
                "layout": MagicMock(),
            },
        )
        setattr(bases, f"ScriptedLoadableModule{name}", base)
    for name, stand_in in (
        ("slicer", slicer),
        ("slicer.ScriptedLoadableModule", bases),
        ("qt", MagicMock()),
        ("ctk", MagicMock()),
    ):
        monkeypatch.setitem(sys.modules, name, stand_in)
    spec = importlib.util.spec_from_file_location("MesrSuperResolution", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_volume_goes_to_the_program_and_comes_back(module: Any) -> None:
    image = np.random.default_rng(0).integers(-1000, 1000, (10, 12, 2))
    found = module.MesrSuperResolutionLogic().process(
        Node(image), PROGRAM, target="--spacing", value="0.4", modality="ct", model="sinc"
    )
    assert found.array.shape == (20, 24, 2)
    assert found.name == "scan finer"


def test_what_the_program_refuses_is_said_in_its_words(module: Any) -> None:
    logic = module.MesrSuperResolutionLogic()
    image = np.zeros((10, 12, 2))
    with pytest.raises(RuntimeError, match="scale"):
        logic.process(Node(image), PROGRAM, target="--scale", value="two", modality="ct")
    with pytest.raises(ValueError, match="pip install mesr"):
        logic.process(Node(image), "/nowhere/mesr", target="--scale", value="2", modality="ct")
    with pytest.raises(ValueError, match="Choose a volume"):
        logic.process(None, PROGRAM, target="--scale", value="2", modality="ct")


def test_the_panel_is_built_and_applies(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = module.MesrSuperResolutionWidget()
    panel.setup()
    asked: dict[str, Any] = {}
    monkeypatch.setattr(panel.logic, "process", lambda *_, **given: asked.update(given))
    panel.target, panel.modality = MagicMock(currentIndex=0), MagicMock(currentIndex=1)
    panel.on_apply()
    assert asked["target"] == "--scale"
    assert asked["modality"] == "mr"


def test_slicers_own_variables_stay_with_slicer(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    module.MesrSuperResolutionLogic.run([PROGRAM, "--version"])
