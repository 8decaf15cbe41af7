"""`mesr demo`: what this does, on a real head CT, in one command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ..kernels import library
from .console import door, out, shown, tell


@door
def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder; one that a demo made before is replaced.")
    ] = Path("mesr-demo"),
    model: Annotated[str, typer.Option(help="auto, or a name from `mesr models`.")] = "auto",
) -> None:
    """Super-resolve a real head CT by 2.5, then shrink it, restore it, and measure against the truth."""
    began = time.perf_counter()
    library.build_ahead()
    from rich.table import Table

    from .. import demo as demonstration

    made = demonstration.demonstrate(output, model)
    scale = f"×{float(demonstration.SCALE):g}"
    out.print(f"A 512×512 head CT, super-resolved {scale} by {made.model}:")
    out.print(f"  result            {shown(made.result)}")
    out.print(f"  before and after  {shown(made.before_after)}")
    out.print(
        f"The same slice, shrunk by {float(demonstration.SCALE):g} and restored; how far from the truth:"
    )
    table = Table("method", "PSNR, dB", "RMSE in the body, HU", box=None, pad_edge=True)
    for name, measures in made.measures.items():
        table.add_row(name, f"{measures.psnr:.2f}", f"{measures.rmse_body:.1f}")
    out.print(table)
    out.print(f"  drawn             {shown(made.proof)}")
    tell(made.notes)
    out.print(f"{time.perf_counter() - began:.1f} s. {demonstration.RESEARCH}")
