"""Where to compute, and in which precision: what the user asks for against what the machine has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from .errors import UsageError
from .kernels import winograd

Precision = Literal["auto", "float32", "bf16"]


def resolve_device(name: str) -> torch.device:
    """A device by name; "auto" takes a GPU where there is one.

    Raises:
        UsageError: there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        raise UsageError(
            "device", f"There is no device {name[:40]!r} here.", "Use --device cpu, in a training device=cpu."
        ) from None
    return device


def convolutions(precision: Precision, device: torch.device) -> torch.dtype:
    """What the convolutions of a result are computed in: `use_bf16`'s answer, and float16 on a GPU that lacks bfloat16."""
    if use_bf16(precision, device):
        return torch.bfloat16
    return torch.float16 if precision == "auto" and device.type == "cuda" else torch.float32


def named(dtype: torch.dtype) -> str:
    """As records and results write it: `"float32"`, `"bfloat16"`, `"float16"`."""
    return str(dtype).removeprefix("torch.")


@contextmanager
def computing(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """The context in which convolutions run in a `dtype`, and those that stay in float32 are that.

    A GPU's TensorFloat-32, which cuDNN takes for float32 unless told otherwise, has steps of a HU.
    """
    reduced = dtype is not torch.float32
    exact, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        with torch.autocast(device.type, dtype if reduced else torch.bfloat16, enabled=reduced):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = exact


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether convolutions run in bfloat16, in training as well: as asked, or where that is the fastest form.

    A processor's matrix tiles (AMX) make bfloat16 six times as fast as float32. Its vector instructions alone
    (AVX512-BF16) make it twice as fast, and Winograd's form in float32 is faster still.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    if torch.cpu._is_amx_tile_supported():
        return True
    return bool(torch.cpu._is_avx512_bf16_supported()) and not winograd.available()
