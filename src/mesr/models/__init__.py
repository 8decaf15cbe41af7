"""The architectures, one a file, and the contract they answer to."""

from __future__ import annotations

from .contract import AnyScale, Encoded, IntegerScales, SuperResolver
from .registry import architectures, build

__all__ = ["AnyScale", "Encoded", "IntegerScales", "SuperResolver", "architectures", "build"]
