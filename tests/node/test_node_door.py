"""Who is let in, and how much of this machine they can take: strangers, floods, the slow and the silent."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import time
from pathlib import Path

import pytest
from conftest import require_program
from peers import Pacs, running, send, settings, wait_until
from pydicom import Dataset, dcmread
from pynetdicom import AE
from scans import dicom_series

from mesr.errors import UsageError
from mesr.node import door

pytestmark = pytest.mark.usefixtures("node_libraries")


def test_strangers_and_wrong_titles_are_refused(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(1, 12, 12))
    with running(settings(tmp_path, 1)) as node:
        assert send(node.receiver.port, scan.paths, calling="STRANGER") == [None]
        assert send(node.receiver.port, scan.paths, called="OTHER") == [None]
        assert node.counters.values()["associations_rejected_total", ()] == 2
        assert node.store.entries() == []
        assert send(node.receiver.port, scan.paths) == [0]


def test_an_echo_is_answered(tmp_path: Path) -> None:
    with running(settings(tmp_path, 1)) as node:
        ae = AE(ae_title="SENDER")
        ae.add_requested_context("1.2.840.10008.1.1")
        association = ae.associate("127.0.0.1", node.receiver.port, ae_title="MESR")
        assert association.send_c_echo().Status == 0
        association.release()


def test_objects_that_cannot_be_super_resolved_are_not_even_negotiated(tmp_path: Path) -> None:
    with running(settings(tmp_path, 1)) as node:
        ae = AE(ae_title="SENDER")
        ae.add_requested_context("1.2.840.10008.5.1.4.1.1.481.3")
        association = ae.associate("127.0.0.1", node.receiver.port, ae_title="MESR")
        assert association.accepted_contexts == []
        association.abort()


def test_an_object_that_is_none_is_answered_so(tmp_path: Path) -> None:
    scan = dicom_series(tmp_path / "in", size=(3, 12, 12))
    first, second, third = scan.paths
    data = dcmread(first)
    data.SeriesInstanceUID = ""
    data.save_as(first)
    data = dcmread(second)
    data.StudyInstanceUID = "../../etc"
    data.save_as(second)
    with running(settings(tmp_path, 1)) as node:
        assert send(node.receiver.port, [first, second, third]) == [0xC000, 0xC000, 0]
        assert len(list(node.spool.series.rglob("*.dcm"))) == 1
        assert list(node.spool.incoming.iterdir()) == []


def test_an_object_under_another_identifier_is_answered_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = dicom_series(tmp_path / "in", size=(1, 12, 12))
    with running(settings(tmp_path, 1)) as node:
        ae = AE(ae_title="SENDER")
        ae.add_requested_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
        association = ae.associate("127.0.0.1", node.receiver.port, ae_title="MESR")
        send_message = association.dimse.send_msg

        def renamed(primitive: object, context: int) -> None:
            primitive.AffectedSOPInstanceUID = "1.2.3.4"  # type: ignore[attr-defined]
            send_message(primitive, context)  # type: ignore[arg-type]

        monkeypatch.setattr(association.dimse, "send_msg", renamed)
        assert association.send_c_store(dcmread(scan.paths[0])).Status == 0xA900
        association.release()
        assert node.store.entries() == []


def test_an_object_beyond_the_limit_ends_its_association_only(tmp_path: Path) -> None:
    large = dicom_series(tmp_path / "large", size=(1, 1200, 1400), series="1.2.3.1")
    small = dicom_series(tmp_path / "small", size=(1, 12, 12), series="1.2.3.2")
    listening = {"calling": ["SENDER"], "port": 0, "max_object_mib": 1}
    with running(settings(tmp_path, 1, listen=listening)) as node:
        assert send(node.receiver.port, large.paths) == [None]
        assert send(node.receiver.port, small.paths) == [0]
        assert list(node.spool.incoming.iterdir()) == []
        assert len(node.store.entries()) == 1


def test_a_pdu_of_four_gigabytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesr.node.receive.NODE_REQUEST_SECONDS", 0.5)
    with running(settings(tmp_path, 1)) as node, _connected(node.receiver.port) as peer:
        peer.sendall(struct.pack(">BBL", 0x01, 0, 0xFFFFFFFF))
        assert _closes(peer, 5)


def test_garbage_and_silence_end_their_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = {"calling": ["SENDER"], "port": 0, "idle_seconds": 0.5}
    scan = dicom_series(tmp_path / "in", size=(1, 12, 12))
    monkeypatch.setattr("mesr.node.receive.NODE_REQUEST_SECONDS", 0.5)
    with running(settings(tmp_path, 1, listen=listening)) as node:
        port = node.receiver.port
        with _connected(port) as garbage, _connected(port) as silent, _connected(port) as dribbling:
            garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
            dribbling.sendall(struct.pack(">BBL", 0x01, 0, 4096))
            # One byte now and then keeps a timeout for each read from ever ending.
            wait_until(lambda: _is_closed_to_a_byte(dribbling), 10)
            assert _closes(garbage, 5)
            assert _closes(silent, 5)
        assert send(node.receiver.port, scan.paths) == [0]


def test_an_association_that_idles_is_ended(tmp_path: Path) -> None:
    listening = {"calling": ["SENDER"], "port": 0, "idle_seconds": 0.5}
    with running(settings(tmp_path, 1, listen=listening)) as node:
        ae = AE(ae_title="SENDER")
        ae.add_requested_context("1.2.840.10008.1.1")
        association = ae.associate("127.0.0.1", node.receiver.port, ae_title="MESR")
        assert association.is_established
        wait_until(lambda: not association.is_established, 10)


def test_more_associations_than_allowed_are_rejected(tmp_path: Path) -> None:
    listening = {"calling": ["SENDER"], "port": 0, "associations": 2}
    with running(settings(tmp_path, 1, listen=listening)) as node:
        ae = AE(ae_title="SENDER")
        ae.add_requested_context("1.2.840.10008.1.1")
        address = ("127.0.0.1", node.receiver.port)
        held = [ae.associate(*address, ae_title="MESR") for _ in range(3)]
        assert [one.is_established for one in held] == [True, True, False]
        held[0].release()
        wait_until(lambda: node.receiver.associations == 1)
        again = ae.associate(*address, ae_title="MESR")
        assert again.is_established
        for one in (held[1], again):
            one.release()


def test_a_flood_of_connections_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "NODE_CONNECTIONS", 2)
    monkeypatch.setattr("mesr.node.receive.NODE_REQUEST_SECONDS", 1.0)
    listening = {"calling": ["SENDER"], "port": 0, "associations": 1}
    with running(settings(tmp_path, 1, listen=listening)) as node:
        flood = [socket.create_connection(("127.0.0.1", node.receiver.port), 5) for _ in range(12)]
        wait_until(lambda: node.counters.values().get(("connections_refused_total", ()), 0) >= 1)
        assert node.receiver.associations <= 4
        for one in flood:
            one.close()


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with running(settings(tmp_path / "a", 1)) as node:
        listening = {"calling": ["SENDER"], "port": node.receiver.port}
        with pytest.raises(UsageError) as refused, running(settings(tmp_path / "b", 1, listen=listening)):
            pass
        assert refused.value.code == "listen"


@pytest.fixture(name="certificate")
def _certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    openssl = require_program("openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            openssl,
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_tls_is_spoken_and_only_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    scan = dicom_series(tmp_path / "in", size=(1, 12, 12))
    tls = {"certificate": str(certificate[0]), "key": str(certificate[1])}
    listening = {"calling": ["SENDER"], "port": 0, "tls": tls}
    with running(settings(tmp_path, 1, listen=listening)) as node:
        port = node.receiver.port
        # Whoever connects and says nothing holds up nobody else.
        with _connected(port):
            context = ssl.create_default_context(cafile=certificate[0])
            assert send(port, scan.paths, tls_args=(context, "localhost")) == [0]
        assert send(port, scan.paths) == [None]


def test_with_an_authority_only_its_peers_are_heard(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    scan = dicom_series(tmp_path / "in", size=(1, 12, 12))
    tls = {"certificate": str(certificate[0]), "key": str(certificate[1]), "clients": str(certificate[0])}
    listening = {"calling": ["SENDER"], "port": 0, "tls": tls}
    with running(settings(tmp_path, 1, listen=listening)) as node:
        context = ssl.create_default_context(cafile=certificate[0])
        assert send(node.receiver.port, scan.paths, tls_args=(context, "localhost")) == [None]
        context.load_cert_chain(*certificate)
        assert send(node.receiver.port, scan.paths, tls_args=(context, "localhost")) == [0]


def test_results_go_out_over_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """From one node to another, whose rules make nothing of it."""
    scan = dicom_series(tmp_path / "in", size=(1, 12, 12))
    tls = {"certificate": str(certificate[0]), "key": str(certificate[1])}
    listening = {"calling": ["MESR"], "called": ["PACS"], "port": 0, "tls": tls}
    with running(settings(tmp_path / "pacs", 1, listen=listening)) as pacs:
        values = settings(tmp_path, pacs.receiver.port)
        values["destinations"][0] |= {"host": "localhost", "tls": {"authority": str(certificate[0])}}
        with running(values) as node:
            send(node.receiver.port, scan.paths)
            wait_until(lambda: [one.code for one in pacs.store.entries()] == ["own-result"])


def test_a_certificate_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    tls = {"certificate": str(tmp_path / "no.pem"), "key": str(tmp_path / "no.pem")}
    with (
        pytest.raises(UsageError) as refused,
        running(settings(tmp_path, 1, listen={"calling": ["SENDER"], "port": 0, "tls": tls})),
    ):
        pass
    assert refused.value.code == "certificate"


def test_a_second_node_keeps_out_of_the_spool(tmp_path: Path) -> None:
    with running(settings(tmp_path, 1)):
        with pytest.raises(UsageError) as refused, running(settings(tmp_path, 1)):
            pass
        assert refused.value.code == "spool-in-use"


def test_no_patient_is_named_but_in_the_objects(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The marker of `scans` and one in a description: in no log, queue, name, answer of health or output."""

    def marked(data: Dataset, k: int) -> None:
        data.SeriesDescription = "ZZPHI description"

    scan = dicom_series(tmp_path / "in", size=(3, 12, 12), edit=marked)
    damaged = dicom_series(tmp_path / "damaged", size=(1, 12, 12), series="1.2.3.4")
    data = dcmread(damaged.paths[0])
    data.StudyInstanceUID = "ZZPHI"
    data.save_as(damaged.paths[0])
    caplog.set_level(0)
    with Pacs() as pacs, running(settings(tmp_path, pacs.port)) as node:
        pacs.answer = lambda uid: 0xA900
        send(node.receiver.port, [*scan.paths, *damaged.paths])
        send(node.receiver.port, scan.paths, calling="STRANGER")
        wait_until(lambda: node.store.refusals())
        said = node.metrics() + str(node.state()) + str(node.store.entries())
        pacs.answer = lambda uid: 0
        wait_until(lambda: node.store.entries() and not node.store.backlog())
        assert all("ZZPHI" in str(one.PatientName) for one in pacs.objects.values())
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("mesr"))
    captured = capfd.readouterr()
    assert "listening" in ours
    assert "ZZPHI" not in said + ours + captured.out + captured.err
    for path in (tmp_path / "spool").rglob("*"):
        assert "ZZPHI" not in path.name
        assert path.suffix == ".dcm" or path.is_dir() or b"ZZPHI" not in path.read_bytes()


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def _is_closed_to_a_byte(peer: socket.socket) -> bool:
    """Send one byte; whether the other side has ended the connection."""
    try:
        peer.sendall(b"\0")
    except OSError:
        return True
    return _closes(peer, 0.1)


def _closes(peer: socket.socket, seconds: float) -> bool:
    """Whether the other side ends the connection in time."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        peer.settimeout(left)
        try:
            if not peer.recv(4096):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False
