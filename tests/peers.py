"""The node's surroundings in a test: a configuration, a running node, a modality that sends, a PACS that takes.

Nothing here has a fixed port or sleeps for a guessed time: ports are the system's choice and waits poll to a deadline.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pynetdicom import AE, DEFAULT_TRANSFER_SYNTAXES, evt
from pynetdicom.transport import ThreadedAssociationServer

from mesr.node.cstore import keep_answers
from mesr.node.sockets import QuickSocket

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.90"]


def wait_until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Poll until it is true; fail where it never is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def settings(folder: Path, pacs_port: int, **changes: Any) -> dict[str, Any]:
    """What node.yaml holds in a test: twice as fine by the nearest pixel, to one PACS, in a hurry."""
    return {
        "spool": str(folder / "spool"),
        "listen": {"calling": ["SENDER"], "port": 0},
        "rules": [{"name": "twice", "model": "nearest", "scale": 2}],
        "destinations": [
            {"type": "c-store", "name": "pacs", "host": "127.0.0.1", "port": pacs_port, "called": "PACS"}
        ],
        "quiet_seconds": 0.2,
        "retry": {"first_seconds": 0.05, "most_seconds": 0.2},
        "health": {"port": 0},
        "min_free_mib": 0,
        "stop_seconds": 20,
    } | changes


@contextlib.contextmanager
def running(values: dict[str, Any]) -> Iterator[Any]:
    """A node in this process, working in a thread."""
    from mesr.node.config import NodeConfig
    from mesr.node.service import Node

    node = Node(NodeConfig.model_validate(values))
    thread = threading.Thread(target=node.run)
    thread.start()
    try:
        yield node
    finally:
        node.stop()
        thread.join(30)
        node.close()
        assert not thread.is_alive()


def send(
    port: int,
    files: Sequence[Path],
    *,
    calling: str = "SENDER",
    called: str = "MESR",
    **associate: Any,
) -> list[int | None]:
    """C-STORE the files in one association; the status of each, None where no answer came in time."""
    ae = AE(ae_title=calling)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = 10
    for sop_class in (CT, MR):
        for syntax in SYNTAXES:
            ae.add_requested_context(sop_class, syntax)
    handlers: list[Any] = [(evt.EVT_CONN_OPEN, opened)]
    association = ae.associate("127.0.0.1", port, ae_title=called, evt_handlers=handlers, **associate)
    if not association.is_established:
        return [None] * len(files)
    answers: list[int | None] = []
    for path in files:
        try:
            answers.append(association.send_c_store(dcmread(path)).get("Status"))
        except RuntimeError:
            break
        if answers[-1] is None:
            break
    association.release()
    return [*answers, *[None] * (len(files) - len(answers))]


def opened(event: Any) -> None:
    """On EVT_CONN_OPEN: small messages go at once, and an answer reaches the request that waits for it."""
    QuickSocket.of(event.assoc)
    keep_answers(event.assoc)


class Pacs:
    """A Storage SCP that keeps what it is sent, in memory.

    Attributes:
        received: each object that came, in order, as the bytes of its data set, by SOP Instance UID.
        answer: the status for an object's UID, success by default; a ConnectionAbortedError aborts its association.

    Args:
        port: where it listens; any that is free by default.
        syntaxes: transfer syntaxes it takes, the first in favour of the next.
    """

    def __init__(self, port: int = 0, syntaxes: Sequence[str] = DEFAULT_TRANSFER_SYNTAXES) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.answer: Callable[[str], int] = lambda uid: 0x0000
        ae = AE(ae_title="PACS")
        for sop_class in (CT, MR):
            ae.add_supported_context(sop_class, list(syntaxes))
        handlers: list[Any] = [(evt.EVT_C_STORE, self._take)]
        server = ae.make_server(
            ("127.0.0.1", port), evt_handlers=handlers, server_class=ThreadedAssociationServer
        )
        ae._servers.append(server)  # type: ignore[arg-type]
        self._server: Any = server
        self.port = int(server.server_address[1])
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Pacs:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def _take(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        try:
            status = self.answer(uid)
        except ConnectionAbortedError:
            event.assoc.abort()
            return 0xC000
        if status in (0x0000, 0xB000):
            self.received.append((uid, event.encoded_dataset()))
        return status

    @property
    def uids(self) -> set[str]:
        """What is there, without a look at it."""
        return {uid for uid, _ in list(self.received)}

    @property
    def objects(self) -> dict[str, Dataset]:
        """What is there: one object for each UID, as a PACS keeps them."""
        return {uid: dcmread(BytesIO(data)) for uid, data in list(self.received)}

    @property
    def series(self) -> dict[str, list[Dataset]]:
        """The objects by SeriesInstanceUID, in the order of their InstanceNumber."""
        found: dict[str, list[Dataset]] = {}
        for one in sorted(self.objects.values(), key=lambda one: int(one.InstanceNumber)):
            found.setdefault(str(one.SeriesInstanceUID), []).append(one)
        return found
