"""What comes in: C-ECHO and C-STORE (PS3.4 annex B), from peers that are named, acknowledged once it is on the disk."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pydicom.filewriter import write_file_meta_info
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from ..errors import MesrError
from ..io.dicom.frames import CLASSIC, ENHANCED
from ..io.dicom.identity import IMPLEMENTATION_CLASS_UID
from ..io.dicom.layout import COMPRESSED, NATIVE
from ..limits import NODE_REQUEST_SECONDS
from .counters import Counters
from .door import BoundedServer, listen
from .facts import Facts, hashed, read_facts
from .rules import match
from .spool import Spool
from .store import Arrival, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import NodeConfig

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
_PDU = 128 << 10
"""What we ask peers to send at a time; the most that DCMTK, and with it Orthanc, does."""

log = logging.getLogger("mesr.node")


class Receiver:
    """The Storage SCP.

    Args:
        config: lists, limits and rules.
        spool, store: where objects go.
        counters: what is counted.
        heard: called with a series' id when anything of it came.

    Raises:
        UsageError: code `listen` or `certificate`.
    """

    def __init__(
        self, config: NodeConfig, spool: Spool, store: Store, counters: Counters, heard: Callable[[str], None]
    ) -> None:
        self._config, self._spool, self._store, self._counters = config, spool, store, counters
        self._heard = heard
        self._least_free = config.min_free_mib << 20
        self.server = self._listen()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.server_address[1])

    @property
    def associations(self) -> int:
        """How many there are now."""
        return len(self.server.active_associations)

    def close(self) -> None:
        """Accept no further association; those that are open go on."""
        self.server.shutdown()

    def abort(self) -> None:
        """End what is still open; what was acknowledged stays, and the peer sends the rest again."""
        for association in self.server.active_associations:
            association.abort()

    def _listen(self) -> BoundedServer:
        listening = self._config.listen
        ae = AE(ae_title=listening.called[0])
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = "MESR"
        ae.maximum_associations = listening.associations
        ae.maximum_pdu_size = _PDU
        ae.acse_timeout = NODE_REQUEST_SECONDS
        ae.dimse_timeout = ae.network_timeout = listening.idle_seconds
        ae.require_calling_aet = list(listening.calling)
        ae.require_called_aet = True
        ae.add_supported_context(Verification)
        for sop_class in (*CLASSIC, *ENHANCED):
            ae.add_supported_context(sop_class, sorted((*NATIVE, *COMPRESSED)))
        handlers = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_C_STORE, self._store_object),
        ]
        return listen(
            ae,
            (listening.host, listening.port),
            handlers,
            tls=listening.tls,
            object_bytes=listening.max_object_mib << 20,
            idle_seconds=listening.idle_seconds,
            on_refused=lambda: self._counters.add("connections_refused_total"),
        )

    def _requested(self, event: Any) -> None:
        """pynetdicom compares with one called AE title: with the peer's, where that is one of ours."""
        called = event.assoc.requestor.primitive.called_ae_title
        if called in self._config.listen.called:
            event.assoc.acceptor.ae_title = called

    def _rejected(self, event: Any) -> None:
        self._counters.add("associations_rejected_total")
        log.warning("an association was rejected")

    def _store_object(self, event: Any) -> int:
        """C-STORE-RQ: the status to answer with, success only where the object is safe."""
        status, reason = self._received(event)
        if status != SUCCESS:
            self._counters.add("objects_refused_total", status=f"{status:04X}")
            log.warning("an object was refused with status %04X: %s", status, reason)
        return status

    def _received(self, event: Any) -> tuple[int, str]:
        if self._spool.free_bytes() < self._least_free:
            return OUT_OF_RESOURCES, "little space is left"
        try:
            path = self._spool.write_incoming(lambda file: _write(file, event))
        except OSError:
            return OUT_OF_RESOURCES, "it could not be written"
        try:
            return self._take(path, event)
        except (OSError, sqlite3.Error):
            return OUT_OF_RESOURCES, "it could not be kept"
        except MesrError as error:
            return CANNOT_UNDERSTAND, error.code
        finally:
            path.unlink(missing_ok=True)

    def _take(self, path: Path, event: Any) -> tuple[int, str]:
        facts = read_facts(path)
        request = event.request
        if (facts.sop_class_uid, facts.sop_instance_uid) != (
            str(request.AffectedSOPClassUID),
            str(request.AffectedSOPInstanceUID),
        ):
            return DOES_NOT_MATCH, "it is not the object that was announced"
        arrival = self._arrival(facts, event.assoc)
        new = self._store.add(arrival, lambda: self._spool.settle(path, arrival.series, arrival.name))
        self._heard(arrival.series)
        self._counters.add("objects_received_total" if new else "objects_repeated_total")
        return SUCCESS, ""

    def _arrival(self, facts: Facts, association: Any) -> Arrival:
        calling, called = association.requestor.ae_title, association.acceptor.ae_title
        rule = match(self._config.rules, facts, calling, called)
        return Arrival(
            # Sent to another called title, which may ask for another result, a series is another one.
            series=hashed(called, facts.study_instance_uid, facts.series_instance_uid),
            name=hashed(facts.sop_instance_uid),
            calling=calling,
            called=called,
            expected=facts.expected if rule is None or rule.count is None else rule.count,
        )


def _write(file: BinaryIO, event: Any) -> None:
    """The object as a PS3.10 file, its bytes as they came."""
    file.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(file, event.file_meta)  # type: ignore[arg-type]
    file.write(event.request.DataSet.getbuffer())
