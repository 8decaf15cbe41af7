"""`mesr prepare-pairs`: a training set of cone-beam CT and CT of the same patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import UsageError
from .console import door, out, shown, tell

if TYPE_CHECKING:
    from ..quality import Quality

Registering = Literal["none", "rigid", "deformable"]
SOME_REFUSED = 4


@door
def prepare_pairs(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER…",
            help="Folders of patients with a ct and a cbct each or the DICOM files of both, or one SPEC.yaml; with"
            " --simulate CT scans, one patient each.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the training set.")],
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Make the CBCT from the CT, by a simulated cone-beam scan.")
    ] = False,
    beam: Annotated[
        list[str] | None,
        typer.Option(metavar="key=value", help="Of the simulated scan, such as views=180; may be repeated."),
    ] = None,
    register: Annotated[
        Registering, typer.Option(help="How the CBCT is laid over the CT; none trusts the files.")
    ] = "rigid",
    size: Annotated[
        int, typer.Option(min=0, help="Pixels of the CT's longer side, never more than it has; 0 keeps them.")
    ] = 384,
    clip: Annotated[bool, typer.Option("--clip", help="Clip to −1000 to 1000 HU, as the paper did.")] = False,
    split: Annotated[
        str, typer.Option(metavar="TRAIN:VAL", help="Patients to train on and to validate on.")
    ] = "5:1",
    force: Annotated[bool, typer.Option("--force", help="Replace a set that is there.")] = False,
) -> None:
    """Make a paired training set: low resolution from the CBCT, the CT as the truth."""
    if beam and not simulate:
        raise UsageError("config", "--beam describes a simulated scan, and no --simulate was given.")
    from .. import config as configuration
    from ..degrade import ConeBeam
    from ..files import counted
    from ..paired import PairingConfig
    from ..pairing import prepare_pairs as prepare
    from ..patients import cohort, ratio_of

    settings = PairingConfig(
        size=size, register=register, clip=clip, ratio=ratio_of(split),
        beam=configuration.load(ConeBeam, None, beam or ()),
    )  # fmt: skip
    patients, notes = cohort(inputs, simulated=simulate)
    tell(notes, indent="")

    def on_patient(row: Quality) -> None:
        out.print(str(row))

    rows = prepare(patients, output, settings, force=force, on_patient=on_patient)
    train, val = ([row for row in rows if row.split == part] for part in ("train", "val"))
    out.print(
        f"{shown(output)}: {counted(len(train), 'patient', 'patients')} to train on ({sum(row.slices for row in train)} pairs),"
        f" {len(val)} to validate on ({sum(row.slices for row in val)}); quality.csv has the figures."
    )
    if not val:
        out.print("note: nothing is kept to validate on, which training needs; give more patients.")
    if len(train) + len(val) < len(rows):
        raise typer.Exit(SOME_REFUSED)
