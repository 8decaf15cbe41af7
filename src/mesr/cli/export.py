"""`mesr export`: a network as a file for programs without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import door, out, shown


@door
def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A name from `mesr models`, or a .safetensors file.")
    ],
    onnx: Annotated[Path, typer.Option("--onnx", help="The ONNX file to write.")],
    scale: Annotated[
        str | None,
        typer.Option(help="Magnification of the file: 2, 2.5, 5/2; without it any, the grid as an input."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a network as ONNX, checked against PyTorch. Research use only, not for diagnosis."""
    from ..errors import UsageError
    from ..grid import Target

    wanted = Target.of(scale=scale).scale if scale is not None else None
    if wanted is not None and len(set(wanted)) > 1:
        raise UsageError(
            "scales",
            "A file of one scale magnifies rows and columns alike.",
            "Leave --scale out: such a file takes any grid.",
        )
    from ..export import save_onnx
    from ..models import weights

    network, card = weights.load(model)
    made = save_onnx(network, card, onnx, None if wanted is None else wanted[0], force=force)
    what = "any scale, the grid as an input" if wanted is None else f"scale {scale}"
    out.print(f"{card.name}, {what} → {shown(made.path)}")
    out.print(f"  onnxruntime's answers are PyTorch's within {made.difference:.1e} of the network's range")
