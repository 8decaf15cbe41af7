"""A 3D Slicer module that super-resolves a volume by calling the program `mesr`, in its own environment.

Slicer keeps its own Python and no PyTorch is put into it: the volume goes to `mesr upscale` as NRRD in a private
temporary folder, and the result comes back beside it in the scene. Add this folder under Edit, Application Settings,
Modules, Additional module paths.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import ctk
import qt
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)

import slicer

SETTING = "MesrSuperResolution/program"


class MesrSuperResolution(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent: object) -> None:
        super().__init__(parent)
        self.parent.title = "Super-resolution (mesr)"
        self.parent.categories = ["Filtering"]
        self.parent.contributors = ["The mesr authors"]
        self.parent.helpText = (
            "Makes the pixels of CT and MR slices finer with the program mesr, which must be installed: "
            "pip install mesr. Research use only, not for diagnosis: fine detail is predicted, not measured."
        )


class MesrSuperResolutionWidget(ScriptedLoadableModuleWidget):
    """The panel: volume, modality, target, weights, program."""

    def setup(self) -> None:
        super().setup()
        self.logic = MesrSuperResolutionLogic()
        box = ctk.ctkCollapsibleButton()
        box.text = "Super-resolution"
        self.layout.addWidget(box)
        form = qt.QFormLayout(box)
        self.volume = slicer.qMRMLNodeComboBox()
        self.volume.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.volume.addEnabled = self.volume.removeEnabled = False
        self.volume.setMRMLScene(slicer.mrmlScene)
        self.modality = qt.QComboBox()
        self.modality.addItems(["CT (HU)", "MR"])
        self.target = qt.QComboBox()
        self.target.addItems(["scale", "spacing (mm)"])
        self.value = qt.QLineEdit("2")
        self.model = qt.QLineEdit("auto")
        self.program = ctk.ctkPathLineEdit()
        self.program.currentPath = qt.QSettings().value(SETTING) or shutil.which("mesr") or ""
        self.apply = qt.QPushButton("Apply")
        self.apply.connect("clicked()", self.on_apply)
        for label, widget in (
            ("Volume", self.volume),
            ("Modality", self.modality),
            ("Target", self.target),
            ("Value", self.value),
            ("Weights", self.model),
            ("Program mesr", self.program),
        ):
            form.addRow(label, widget)
        form.addRow(self.apply)
        self.layout.addStretch(1)

    def on_apply(self) -> None:
        """Super-resolve the chosen volume; what is wrong is shown in a sentence."""
        with slicer.util.tryWithErrorDisplay("The volume could not be super-resolved.", waitCursor=True):
            qt.QSettings().setValue(SETTING, self.program.currentPath)
            self.logic.process(
                self.volume.currentNode(),
                self.program.currentPath,
                target="--scale" if self.target.currentIndex == 0 else "--spacing",
                value=self.value.text,
                modality=("ct", "mr")[self.modality.currentIndex],
                model=self.model.text,
            )


class MesrSuperResolutionLogic(ScriptedLoadableModuleLogic):
    """The work, without the panel; scripts may call it."""

    def process(
        self, volume: object, program: str, *, target: str, value: str, modality: str, model: str = "auto"
    ) -> object:
        """A new volume node beside `volume`, super-resolved.

        Args:
            volume: a scalar volume node.
            program: path of `mesr`.
            target: "--scale" or "--spacing".
            value: magnification, or mm.
            modality: "ct" or "mr".
            model: weights, or "auto".

        Raises:
            ValueError: no volume was chosen, or there is no such program.
            RuntimeError: `mesr` refused, in its own words.
        """
        if volume is None:
            raise ValueError("Choose a volume first.")
        if not program or shutil.which(program) is None:
            raise ValueError(
                "The program mesr was not found. Install it with pip install mesr and give its path."
            )
        with tempfile.TemporaryDirectory(prefix="mesr-") as folder:
            given, made = Path(folder) / "volume.nrrd", Path(folder) / "finer.nrrd"
            slicer.util.saveNode(volume, str(given))
            self.run([program, "upscale", str(given), "-o", str(made), target, value, "--modality", modality,
                      "--model", model])  # fmt: skip
            result = slicer.util.loadVolume(str(made), {"show": True})
        result.SetName(f"{volume.GetName()} finer")
        return result

    @staticmethod
    def run(command: list[str]) -> None:
        """Run `mesr` outside Slicer's Python, whose variables would lead it to the wrong libraries.

        Raises:
            RuntimeError: it ended with an error, in its own words.
        """
        ours = (
            "PYTHONHOME",
            "PYTHONPATH",
            "PYTHONNOUSERSITE",
            "LD_LIBRARY_PATH",
            "LD_PRELOAD",
            "QT_PLUGIN_PATH",
        )
        kept = {name: text for name, text in os.environ.items() if name not in ours}
        done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip() or f"mesr ended with status {done.returncode}.")
