"""Rows of results made up for tests of files and tables."""

from __future__ import annotations

from typing import Any

from mesr.results import Row


def row(**columns: Any) -> Row:
    """A row with plain values, and those given."""
    plain = {
        "commit": "0123456789ab", "model": "sinc", "weights_id": "w", "precision": "float32", "seed": 0,
        "degradation": "bicubic", "scan": "scan", "site": "pelvis", "patient": "p1", "slice": 0,
        "modality": "CT", "unit": "HU", "scale": "2", "scale_rows": 2.0, "scale_columns": 2.0, "rows": 48,
        "columns": 56, "data_sha256": "d", "psnr": 40.0, "ssim": 0.99, "nrmse": 0.01, "psnr_body": 37.0,
        "mae_body": 10.0, "rmse_body": 20.0, "mae_above": 100.0, "pixels_body": 900, "pixels_above": 30,
        "seconds": 0.1,
    }  # fmt: skip
    made = plain | columns
    return Row(**(made | {"weights_id": columns.get("weights_id", f"id of {made['model']}")}))


def versus(gains: dict[tuple[str, int], float], **columns: Any) -> list[Row]:
    """The windowed sinc and a network `ours` that is so many dB better, by (patient, slice)."""
    rows = []
    for (patient, number), gain in gains.items():
        base = 40.0 + number
        place = {"patient": patient, "slice": number, "data_sha256": f"{patient}-{number}"}
        rows.append(row(model="sinc", psnr=base, **place, **columns))
        rows.append(row(model="ours", psnr=base + gain, **place, **columns))
    return rows
