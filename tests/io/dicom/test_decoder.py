"""The decoding worker lives apart, is bounded, and is replaced when it dies (`dicom.md` §4 row 10)."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from scans import encoded

from mesr.errors import TooLarge, UnreadableInput
from mesr.io.dicom.decoder import Decoder

PATH = Path("scan.dcm")
IMAGE = (np.arange(64 * 48).reshape(64, 48) * 7 % 4096).astype(np.int32)
FRAME = encoded(IMAGE, JPEG2000Lossless, 12, signed=False)


@pytest.fixture(name="decoder")
def _decoder() -> Iterator[Decoder]:
    decoder = Decoder()
    yield decoder
    decoder.close()


def decode(decoder: Decoder, frame: bytes = FRAME, syntax: str = JPEG2000Lossless) -> np.ndarray:
    return decoder.decode(frame, syntax, (64, 48), 12, np.dtype("<u2"), PATH)


def test_one_worker_decodes_frame_after_frame(decoder: Decoder) -> None:
    np.testing.assert_array_equal(decode(decoder), IMAGE)
    worker = decoder.pid
    other = encoded(IMAGE, JPEGLSLossless, 12, signed=False)
    np.testing.assert_array_equal(decode(decoder, other, JPEGLSLossless), IMAGE)
    assert decoder.pid == worker


def test_a_worker_that_was_killed_is_replaced(decoder: Decoder) -> None:
    decode(decoder)
    assert decoder.pid is not None
    os.kill(decoder.pid, signal.SIGKILL)
    with contextlib.suppress(UnreadableInput):  # its death may be noticed during this frame or before it
        decode(decoder)
    np.testing.assert_array_equal(decode(decoder), IMAGE)


def test_damaged_data_is_refused_and_the_worker_lives_on(decoder: Decoder) -> None:
    rng = np.random.default_rng(0)
    for syntax in (JPEG2000Lossless, JPEGLSLossless, RLELossless):
        with pytest.raises(UnreadableInput) as caught:
            decode(decoder, rng.bytes(500), syntax)
        assert caught.value.code in ("damaged-pixels", "decoder-crash")
        assert caught.value.path == PATH
    np.testing.assert_array_equal(decode(decoder), IMAGE)


def test_a_frame_that_takes_too_long_is_refused() -> None:
    decoder = Decoder(seconds=0.001)
    try:
        with pytest.raises(UnreadableInput) as caught:
            decode(decoder)
        assert caught.value.code == "decoder-timeout"
        assert decoder.pid is None
    finally:
        decoder.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no address space limit")
def test_a_frame_that_takes_too_much_memory_is_refused() -> None:
    decoder = Decoder(extra_bytes=1 << 20)
    try:
        with pytest.raises((TooLarge, UnreadableInput)):
            decoder.decode(FRAME, RLELossless, (8192, 8192), 16, np.dtype("<u2"), PATH)
    finally:
        decoder.close()


def test_streams_with_the_wrong_sign_are_read_with_the_headers(decoder: Decoder) -> None:
    signed = (IMAGE - 2048).astype(np.int16)
    unsigned_stream = encoded(signed & 0xFFF, JPEG2000Lossless, 12, signed=False)
    found = decoder.decode(unsigned_stream, JPEG2000Lossless, (64, 48), 12, np.dtype("<i2"), PATH)
    np.testing.assert_array_equal(found, signed)
