"""Slices made one ahead: in order, one at a time, side by side with who asks, errors where they belong."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mesr.ahead import Ahead, Watched
from mesr.errors import UnreadableInput
from mesr.volume import Slice

TIMEOUT = 10.0


class Source:
    """Five slices; remembers which were made, and tells when."""

    def __init__(self, broken: int | None = None) -> None:
        self.made: list[int] = []
        self.arrived = [threading.Event() for _ in range(5)]
        self.threads: set[str] = set()
        self.broken = broken

    def __len__(self) -> int:
        return 5

    def __getitem__(self, k: int, /) -> Slice:
        self.made.append(k)
        self.threads.add(threading.current_thread().name)
        self.arrived[k].set()
        if k == self.broken:
            raise UnreadableInput("broken", "It is broken.")
        return Slice(np.full((1, 1), k, np.float32))


def test_each_slice_is_made_once_and_in_order() -> None:
    source = Source()
    with Ahead(source) as ahead:
        assert [float(ahead[k].values[0, 0]) for k in range(5)] == [0, 1, 2, 3, 4]
    assert source.made == [0, 1, 2, 3, 4]
    assert len(source.threads) == 1


def test_a_slice_that_is_kept_is_made_once() -> None:
    source = Source()
    watched = Watched(source, keep=2)
    with Ahead(watched) as ahead:
        for k in range(5):
            _ = ahead[k]
        assert float(ahead[2].values[0, 0]) == 2
        assert float(ahead[1].values[0, 0]) == 1
    assert source.made == [0, 1, 2, 3, 4, 1]


def test_the_next_is_made_while_one_is_in_use() -> None:
    source = Source()
    with Ahead(source) as ahead:
        _ = ahead[0]
        assert source.arrived[1].wait(TIMEOUT)
        assert not source.arrived[2].is_set()


def test_none_is_made_ahead_where_it_is_to_wait_or_out_of_order() -> None:
    source = Source()
    with Ahead(source, wait=True) as ahead:
        _ = ahead[0]
    with Ahead(source) as ahead:
        assert float(ahead[3].values[0, 0]) == 3
    assert source.made == [0, 3]


def test_an_error_comes_with_its_own_slice() -> None:
    with Ahead(Source(broken=2)) as ahead:
        _ = ahead[0], ahead[1]
        with pytest.raises(UnreadableInput, match="It is broken"):
            _ = ahead[2]
        assert float(ahead[3].values[0, 0]) == 3
