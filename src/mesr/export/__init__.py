"""Networks for programs without PyTorch: ONNX files that carry their spec.

graph    the networks in operations that ONNX has, on a grid given as arrays or made from a fixed scale
file     a weights' graph as a checked file
"""

from .file import TOLERANCE, Exported, save_onnx
from .graph import AnyScaleGraph, FixedScaleGraph, IntegerScaleGraph, grid_arrays

__all__ = [
    "TOLERANCE",
    "AnyScaleGraph",
    "Exported",
    "FixedScaleGraph",
    "IntegerScaleGraph",
    "grid_arrays",
    "save_onnx",
]
