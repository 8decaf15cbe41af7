"""The sentences a derived image carries about how it was made, for whoever meets it without its report.

Plain ASCII, whatever the source's character set; no path, host or user name.
"""

from __future__ import annotations

from ... import __version__
from ...files import plain_text
from ...geometry import Geometry
from ...volume import Derivation, Unit

RESEARCH = "Research use only, not for diagnosis."
LONGEST, _LO = 1024, 64
"""Characters of a short text and of a long string (PS3.5 table 6.2-1)."""


def series_description(source: str, derivation: Derivation | None) -> str:
    """The source's, cut so that model, scale and a warning fit behind it."""
    made = (
        "copy" if derivation is None else f"SR {ascii_text(derivation.model, 20)} x{scale_text(derivation)}"
    )
    suffix = f"{made} research only"
    return f"{plain_text(source, _LO)[: _LO - 1 - len(suffix)].rstrip()} {suffix}".strip()


def derivation_description(
    derivation: Derivation | None,
    geometry: Geometry,
    *,
    unit: Unit,
    clipped: int,
    residual: float | None,
    thickness: str,
    earlier: str,
) -> str:
    """What made the pixels of one slice.

    Args:
        derivation: None for values that come without an account of themselves.
        geometry: of the result.
        unit: of the values.
        clipped: voxels that did not fit the stored range.
        residual: largest |shrunk result − input|, where computed.
        thickness: the source's SliceThickness, mm, as text; may be empty.
        earlier: the source's own DerivationDescription; may be empty.
    """
    parts = [RESEARCH]
    if derivation is None:
        parts += [f"Values as given to mesr {__version__}; how they were computed is not recorded."]
    else:
        parts += [*_made(derivation), *_moved(derivation, geometry, thickness)]
    parts.append(f"Clipped voxels: {clipped}.")
    if residual is not None:
        parts.append(
            f"Shrunk again, the result differs from the source by at most {residual:.4g} {unit}".rstrip()
            + "."
        )
    if derivation is not None:
        parts.append(derivation.training)
    parts.append(f"Source: {earlier}" if earlier else "")
    return _joined(parts)


def contribution(derivation: Derivation | None) -> str:
    """What this software did, in one sentence."""
    what = "Copy" if derivation is None else f"Resampling in-plane, scale {scale_text(derivation)}"
    return f"{what}. {RESEARCH}"


def scale_text(derivation: Derivation) -> str:
    """The effective scale: `2.5`, or `1.3x2.2` for rows and columns where they differ."""
    rows, columns = (f"{value:.4g}" for value in derivation.grid.scale[1:])
    return rows if rows == columns else f"{rows}x{columns}"


def ascii_text(text: str, limit: int) -> str:
    """One line of at most `limit` printable ASCII characters; a backslash, which parts values, becomes a slash."""
    return plain_text(text, limit).encode("ascii", "replace").decode().replace("\\", "/")[:limit]


def _made(derivation: Derivation) -> list[str]:
    return [
        f"Resampled in-plane by mesr {__version__} with {derivation.model} (sha256 {derivation.weights_sha256}).",
        f"Requested {derivation.requested}; effective scale {scale_text(derivation)} (rows x columns).",
        f"Intensity map {derivation.intensity}; {derivation.precision}; revision {derivation.revision}.",
    ]


def _moved(derivation: Derivation, geometry: Geometry, thickness: str) -> list[str]:
    """The grid before and after; spacings only where they are known."""
    grid = derivation.grid
    size = f"{grid.rows.size_in} x {grid.columns.size_in} to {grid.rows.size_out} x {grid.columns.size_out} pixels"
    if not geometry.known:
        return [f"From {size}."]
    _, dy, dx = geometry.spacing
    before = f"{dy / float(grid.rows.step):.6g} x {dx / float(grid.columns.step):.6g}"
    unchanged = f", slice thickness {thickness} mm unchanged" if thickness else ""
    return [f"From {size}, spacing {before} to {dy:.6g} x {dx:.6g} mm{unchanged}."]


def _joined(parts: list[str]) -> str:
    """As many of the parts as fit, the first ones first."""
    text = ""
    for part in filter(None, parts):
        room = LONGEST - len(text) - 1
        text = f"{text} {ascii_text(part, room)}" if room > 1 else text
    return text.strip()
