"""C-STORE out: one association for a batch of files (PS3.4 annex B)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association

from ..io.dicom.frames import CLASSIC
from ..io.dicom.identity import IMPLEMENTATION_CLASS_UID
from ..limits import NODE_REQUEST_SECONDS
from .config import CStore
from .send import Answer
from .sockets import QuickSocket
from .tls import client_context

DUPLICATE = 0x0111
"""Duplicate SOP Instance (PS3.7 C.5): it is there already, and ours are the same under the same UID."""
_WARNINGS = range(0xB000, 0xC000)
_GENERAL_WARNINGS = (0x0001, 0x0107, 0x0116)


def is_sent(status: int) -> bool:
    """Whether a C-STORE status says that the object is there: success or a warning (PS3.4 B.2.3, PS3.7 annex C)."""
    return status in (0x0000, DUPLICATE, *_GENERAL_WARNINGS) or status in _WARNINGS


def keep_answers(association: Association) -> None:
    """Let an association's own loop take no message, so that each answer reaches the request that waits for it.

    pynetdicom pauses that loop for a request, but a request right behind another finds it still marked as paused while
    it wakes up. The loop then takes the answer, and the request waits for it until its timeout. As a sender we are
    asked nothing that the loop would have to serve.
    """
    take = association.dimse.get_msg

    def waiting_only(block: bool = False) -> Any:
        return take(block) if block else (None, None)

    association.dimse.get_msg = waiting_only  # type: ignore[method-assign]


class CStoreDestination:
    """A Storage SCP.

    Raises:
        UsageError: code `certificate`.
    """

    def __init__(self, config: CStore) -> None:
        self._config = config
        self._tls = None if config.tls is None else (client_context(config.tls), config.host)
        self._ae = AE(ae_title=config.calling)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = "MESR"
        self._ae.connection_timeout = self._ae.acse_timeout = 2 * NODE_REQUEST_SECONDS
        self._ae.dimse_timeout = self._ae.network_timeout = config.timeout_seconds
        for sop_class in CLASSIC:
            # Implicit VR too: it is the one that everyone must take (PS3.5 10.1).
            self._ae.add_requested_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])

    def _opened(self, event: Any) -> None:
        keep_answers(event.assoc)
        # Without it a peer that stops in the midst of a PDU is waited for without end.
        QuickSocket.of(event.assoc).connection.settimeout(self._config.timeout_seconds)

    def send(self, files: Sequence[Path]) -> Answer:
        """Send files one after the other until the association ends, however it does."""
        answer = Answer()
        path: Path | None = None
        try:
            association = self._ae.associate(
                self._config.host,
                self._config.port,
                ae_title=self._config.called,
                tls_args=self._tls,
                evt_handlers=[(evt.EVT_CONN_OPEN, self._opened)],
            )
        except (OSError, RuntimeError, ValueError) as error:
            return Answer(trouble=f"no association ({type(error).__name__})")
        if association.is_rejected:
            return Answer(trouble="the association was rejected")
        if not association.is_established:
            return Answer(trouble="no association")
        try:
            for path in files:
                try:
                    status = association.send_c_store(path).get("Status")
                except ValueError:
                    # No context for it was accepted, or it cannot be encoded in the one that was.
                    answer.refused[path] = "not accepted"
                    continue
                if status is None:
                    answer.trouble, answer.unanswered = "the association ended", path
                    break
                if is_sent(status):
                    answer.sent.append(path)
                else:
                    answer.refused[path] = f"status {status:04X}"
        except Exception as error:
            # What pydicom or the network raise here may quote a value.
            answer.trouble, answer.unanswered = f"the association broke ({type(error).__name__})", path
        finally:
            if association.is_established:
                association.release()
        return answer
