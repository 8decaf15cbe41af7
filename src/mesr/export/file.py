"""A network as an ONNX file that says what it is, written only after onnxruntime gave PyTorch's answers."""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .. import files
from ..errors import MesrError, MissingExtra
from ..grid import Axis, Grid
from ..intensity import HU_WINDOW
from ..models.contract import SuperResolver
from ..models.weights import Card
from .graph import AnyScaleGraph, graph_of, grid_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
OPSET = 18
KEY = "mesr"
"""Of the file's metadata: one JSON text, as in a weights file."""

TOLERANCE = 1e-3
"""The most a result may differ from PyTorch's, of the network's range: 2 HU of its window."""

_CHECKED = ((24, 19), (13, 32))
"""Sizes that a file is tried at before it is written; others than the one it was traced at."""
_CHECKED_SCALES = (Fraction(3, 2), Fraction("3.7"))


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: of the file.
        difference: the largest difference from PyTorch's answers, of the network's range.
    """

    path: Path
    difference: float


def save_onnx(
    model: SuperResolver, card: Card, path: Path, scale: Fraction | None = None, *, force: bool = False
) -> Exported:
    """Write a network as ONNX, for one scale or, with the grid as an input, for any.

    The input `lr` is (N, 1, H, W) float32 of any size, the intensity window of the metadata mapped to 0…1; the
    output `sr` is a whole image's answer, corrections included. The metadata key `mesr` holds JSON: `format`,
    `name`, `weights_id`, `spec`, `scale` (null for any), `window` for CT, and the card's training.

    Args:
        model, card: from `mesr.load`.
        path: of the file.
        scale: None for any scale.
        force: replace a file that is there.

    Raises:
        MissingExtra: onnx, onnxscript or onnxruntime is not installed.
        UsageError: code `export`, the model has no graph of this scale.
        OutputError: the file cannot be written, or is there.
        MesrError: code `export-differs`, onnxruntime's answers are not PyTorch's.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  PyTorch's exporter needs it.
    except ModuleNotFoundError as missing:
        raise MissingExtra(package=missing.name or "onnx", extra="onnx", purpose="Exporting") from None
    graph = graph_of(model, scale).eval()
    files.check_file(path, force=force)
    built: onnx.ModelProto = _traced(graph, model)
    built.producer_name = "mesr"
    about = {
        "format": FORMAT,
        "name": card.name,
        "weights_id": card.weights_id,
        "spec": card.spec,
        "scale": None if scale is None else str(scale),
        "window": {"CT": [HU_WINDOW.low, HU_WINDOW.high]},
        "training": card.about.get("training"),
    }
    onnx.helper.set_model_props(built, {KEY: json.dumps(about, sort_keys=True)})
    session = onnxruntime.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"])
    difference = max(
        _difference(session, model, size, tried)
        for size in _CHECKED
        for tried in ([scale] if scale is not None else _CHECKED_SCALES)
    )
    if not difference <= TOLERANCE:
        raise MesrError(
            "export-differs",
            f"The exported network must give PyTorch's answers within {TOLERANCE:g}, and differs by {difference:.2g}.",
        )
    with files.atomic_path(path, force=force) as temporary:
        onnx.save(built, temporary)
    return Exported(path, difference)


def _traced(graph: nn.Module, model: SuperResolver) -> Any:
    """The graph as an ONNX model whose sizes are open."""
    rows, columns = Axis.scaled(16, Fraction("2.3")), Axis.scaled(17, Fraction("1.6"))
    lr = torch.zeros(2, 1, rows.size_in, columns.size_in)
    sizes = torch.export.Dim
    shapes: dict[str, Any] = {"lr": {0: sizes("n"), 2: sizes("height"), 3: sizes("width")}}
    inputs: tuple[torch.Tensor, ...] = (lr,)
    if isinstance(graph, AnyScaleGraph):
        arrays = grid_arrays(model, Grid.plane(rows, columns))
        inputs += tuple(torch.from_numpy(values) for values in arrays.values())
        down, across = sizes("height_out"), sizes("width_out")
        for name in arrays:
            shapes[name] = None if name == "step" else {0: down if name.startswith("row") else across}
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph,
            inputs,
            dynamic_shapes=shapes,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(shapes),
            output_names=["sr"],
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _difference(session: Any, model: SuperResolver, size: tuple[int, int], scale: Fraction) -> float:
    """The largest difference between onnxruntime's and PyTorch's answer to an image of edges and noise."""
    height, width = size
    noise = np.random.default_rng(height).normal(0.0, 0.1, (1, 1, height, width))
    lr = (noise + (np.arange(width) > width // 2)).astype(np.float32)
    grid = Grid.plane(Axis.scaled(height, scale), Axis.scaled(width, scale))
    given: dict[str, npt.NDArray[Any]] = {"lr": lr}
    if len(session.get_inputs()) > 1:
        given |= grid_arrays(model, grid)
    found = session.run(None, given)[0]
    with torch.inference_mode():
        wanted = model.whole(torch.from_numpy(lr), grid).numpy()
    return float(np.abs(found - wanted).max()) if found.shape == wanted.shape else float("inf")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings about itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
