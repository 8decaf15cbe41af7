"""`mesr info` and `mesr models`: what an input is, and what there is to do it with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import door, numbers, out, show, tell

if TYPE_CHECKING:
    from ..geometry import Geometry
    from ..io import Item
    from ..volume import Volume


@door
def info(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT…", help="Files, folders or zips.")],
) -> None:
    """What is in the inputs: geometry and notes, no patient data."""
    from .. import io
    from ..errors import MesrError

    found = io.discover(inputs)
    status: list[int] = []
    for item in found.items:
        try:
            _describe(item, item.open())
        except MesrError as error:
            show(error, f"{item.label} ({item.id})")
            status.append(error.exit_code)
    for refused in found.refused:
        show(refused.error, f"{refused.label} ({refused.id})")
        status.append(refused.error.exit_code)
    tell(found.notes, indent="")
    if status:
        raise typer.Exit(max(status) if len(status) == len(found.items) + len(found.refused) else 4)


def _describe(item: Item, volume: Volume) -> None:
    geometry = volume.geometry
    out.print(f"{item.label} ({item.id})")
    out.print(f"  format     {item.format}, {len(item.paths)} file{'s' * (len(item.paths) > 1)}")
    out.print(f"  modality   {volume.modality or 'not said'}{', values in HU' * (volume.unit == 'HU')}")
    out.print(f"  size       {numbers(geometry.size, 6)} (slices × rows × columns)")
    if geometry.known:
        _place(geometry)
    else:
        out.print("  spacing    not said; scale and size can be asked for, spacing cannot")
    tell(volume.notes)


def _place(geometry: Geometry) -> None:
    """Spacing and position in the scanner's coordinates, DICOM's LPS."""
    extent = [n * d for n, d in zip(geometry.size, geometry.spacing, strict=True)]
    out.print(f"  spacing    {numbers(geometry.spacing, 6)} mm")
    out.print(f"  extent     {numbers(extent)} mm")
    out.print(f"  origin     {', '.join(f'{x:.6g}' for x in geometry.origin)} mm (LPS)")
    named = zip(("slices", "rows", "columns"), geometry.directions, strict=True)
    for name, direction in named:
        out.print(f"  {name:<10} along {', '.join(f'{x:.4g}' for x in direction + 0.0)}")
    if geometry.tilt_degrees > 0.05:
        out.print(f"  tilt       {geometry.tilt_degrees:.1f}°")


@door
def models(
    name: Annotated[str | None, typer.Argument(help="Print this one's card.")] = None,
) -> None:
    """The weights and interpolators there are, or the card of one."""
    from ..models import weights

    if name is not None:
        _card(name)
        return
    from rich.table import Table

    table = Table("name", "also", "parameters", "trained on", "scales", box=None, pad_edge=False)
    alias = {weight: short for short, weight in weights.ALIASES.items()}
    for one in [*weights.shipped(), *weights.untrained()]:
        model, card = weights.load(one)
        count = f"{model.parameter_count / 1e6:.2f} M" if model.parameter_count else "none"
        trained = ", ".join(card.modalities) or ("nothing" if not model.parameter_count else "not said")
        trained += " (perceptual)" * card.perceptual
        table.add_row(one, alias.get(one, ""), count, trained, str(model.scales))
    out.print(table)
    if not weights.shipped():
        out.print("No trained weights come with this installation; --model takes a .safetensors file.")


def _card(name: str) -> None:
    import yaml

    from ..models import weights

    model, card = weights.load(name)
    about = {
        "name": card.name,
        "architecture": card.spec["name"],
        "arguments": dict(card.spec.get("args") or {}),
        "parameters": model.parameter_count,
        "scales": str(model.scales),
        "weights_id": card.weights_id,
        **card.about,
    }
    out.print(yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=100).rstrip())
