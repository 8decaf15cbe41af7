"""Regions of a scan as specifications name them: a name to the first and last number of its slices."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from .errors import InputError, UsageError

Regions = Mapping[str, Sequence[int]]


def assert_ranges(ranges: Regions, what: str) -> None:
    """Every region is from a first to a last slice, and no slice in two.

    Args:
        what: the specification's name for them.

    Raises:
        UsageError: one is not, code `config`.
    """
    for name, found in ranges.items():
        if len(found) != 2 or found[0] > found[1]:
            raise UsageError(
                "config",
                f"{what}.{name[:40]} must be a first and a last slice, such as [12, 40]; found {str(list(found))[:40]}.",
            )
    ordered = sorted(ranges.items(), key=lambda one: one[1][0])
    for (name, (_, last)), (other, (first, _)) in itertools.pairwise(ordered):
        if first <= last:
            raise UsageError(
                "config",
                f"{what}.{name[:40]} and {what}.{other[:40]} share slice {first}; a slice is in one of them.",
            )


def assert_covered(ranges: Regions, numbers: Sequence[int], scan: str, what: str = "sites") -> None:
    """Every region has a slice of the scan, where it has any at all.

    Args:
        ranges, what: as for `assert_ranges`.
        numbers: of its slices.
        scan: what the specification calls it.

    Raises:
        InputError: code `no-slices`.
    """
    for name, (first, last) in ranges.items():
        if numbers and not any(first <= number <= last for number in numbers):
            raise InputError(
                "no-slices",
                f"The scan {scan[:60]} has no slice in {what}.{name[:40]}, {first} to {last}; it has {min(numbers)} to"
                f" {max(numbers)}.",
                "Ranges are of the numbers in the file names, else of slice indices.",
            )


def covering(regions: Regions, number: int) -> str | None:
    """The region of a slice's number, None where none covers it."""
    return next((name for name, (first, last) in regions.items() if first <= number <= last), None)


def site_of(sites: Regions, number: int) -> str:
    """The body region of a slice's number, "all" where none covers it."""
    return covering(sites, number) or "all"
