"""What the page is told, as JSON: models, studies, series, works, notes. Never a path, nor anything of the patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..intensity import robust_window
from ..models import weights
from ..volume import Note
from . import downloads
from .jobs import Work
from .live import Place
from .security import body_of
from .session import Study


def of_models(offered: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the page tells of each."""
    found: list[dict[str, Any]] = []
    for name, place in offered.items():
        if name == "auto":
            continue
        model, card = weights.load(place)
        found.append(
            {
                "name": name,
                "trained": card.modalities,
                "scales": str(model.scales),
                "network": model.parameter_count > 0,
                "perceptual": card.perceptual,
            }
        )
    return sorted(found, key=lambda one: not one["network"])


def of_study(study: Study) -> dict[str, Any]:
    return {
        "id": study.id,
        "series": [
            {"label": one.label, "format": one.format, "modality": one.modality, "size": one.size}
            for one in study.found.items
        ],
        "refused": [{"label": one.label, **body_of(one.error)} for one in study.found.refused],
        "notes": of_notes(study.found.notes),
    }


def of_series(at: Place) -> dict[str, Any]:
    """A series opened: geometry in LPS mm, unit, notes, and the format its result can be had in."""
    volume = at.study.volume(at.series, at.modality)
    geometry = volume.geometry
    window = None
    if volume.unit != "HU":
        found = robust_window(volume)
        window = [found.low, found.high]
    return {
        "label": at.study.item(at.series).label,
        "format": at.study.item(at.series).format,
        "modality": volume.modality,
        "unit": volume.unit,
        "size": geometry.size,
        "spacing": geometry.spacing if geometry.known else None,
        "affine": geometry.affine.tolist() if geometry.known else None,
        "window": window,
        "notes": of_notes(volume.notes),
    }


def of_work(work: Work) -> dict[str, Any]:
    told: dict[str, Any] = {"id": work.id, "state": work.state, "done": work.done, "count": work.count}
    outcome = work.outcome
    if outcome is None:
        return told
    if outcome.error is not None:
        told["error"] = body_of(outcome.error)
    if outcome.after is not None and outcome.derivation is not None:
        told |= {
            "model": outcome.derivation.model,
            "requested": outcome.derivation.requested,
            "size": outcome.after.size,
            "spacing": outcome.after.spacing if outcome.after.known else None,
            "residual": outcome.residual,
            "unit": outcome.unit,
            "clipped": outcome.clipped,
            "kinds": ["dicom", "nifti"] if outcome.format == "dicom" else ["nifti"],
            "shown": downloads.is_shown(outcome.after.size),
        }
    return told | {"seconds": outcome.seconds.get("total"), "notes": of_notes(outcome.notes)}


def of_notes(notes: Sequence[Note]) -> list[dict[str, str]]:
    return [{"code": note.code, "text": note.text} for note in dict.fromkeys(notes)]
