"""Numbers from a header: finite, and as many as there should be, or refused."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pydicom import Dataset

from ...errors import UnreadableInput


def number(dataset: Dataset, keyword: str) -> float | None:
    """The finite number of an attribute; None where it is absent or empty."""
    values = numbers(dataset, keyword, 1)
    return None if values is None else values[0]


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """The `count` finite numbers of an attribute; None where it is absent or empty.

    Raises:
        UnreadableInput: code `number`.
        ValueError: the text is no number; pydicom's message quotes it.
    """
    values = items(dataset.get(keyword))
    if not values or values == [""]:
        return None
    found = tuple(float(str(value)) for value in values)
    if len(found) != count or not all(math.isfinite(value) for value in found):
        raise UnreadableInput(
            "number", f"Expected {count} finite numbers as {keyword}, found {len(found)}, not all finite."
        )
    return found


def items(value: object) -> list[object]:
    """The items of an attribute of any multiplicity."""
    if value is None:
        return []
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def integer(dataset: Dataset, keyword: str, bits: int, signed: bool) -> int | None:
    """A value of VR "US or SS", read with the sign of the pixels whatever VR the file gave it."""
    value = dataset.get(keyword)
    if not isinstance(value, int):
        return None
    modulus = 1 << bits
    value = int(value) % modulus
    return value - modulus if signed and value >= modulus // 2 else value
