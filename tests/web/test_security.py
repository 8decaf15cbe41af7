"""Who may ask the page: names, origins, tokens, sizes; and what its answers tell a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from mesr.limits import MAX_REQUEST_BYTES
from mesr.web.security import Guard, is_loopback

HOME = "http://127.0.0.1:8642"
OURS = {"origin": HOME}
STATIC = Path(__file__).parents[2] / "src" / "mesr" / "web" / "static"


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes everything and says OK."""
    if scope["path"] == "/api/bug":
        raise ValueError("ZZPHI^MARKER")
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"OK"})


def _client(base: str = HOME, **policy: Any) -> TestClient:
    return TestClient(Guard(_echo, **policy), base_url=base)


@pytest.fixture(name="client")
def _default() -> TestClient:
    return _client()


@pytest.mark.parametrize("host", ["127.0.0.1:8642", "localhost:8642", "LOCALHOST", "[::1]:8642"])
def test_this_machine_is_known_by_its_names(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8642", "", "localhost.:8642", "[::1"]
)
def test_a_name_that_was_rebound_to_us_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/api/about", headers={"host": host})
    assert answer.status_code == 421
    assert answer.json()["code"] == "foreign-host"


def test_another_name_is_known_when_it_was_given() -> None:
    client = _client(names=["Mesr.Hospital.example"])
    assert client.get("/", headers={"host": "mesr.hospital.example:8642"}).status_code == 200


def test_the_address_a_connection_came_to_is_our_own() -> None:
    client = _client("http://10.1.2.3:8642")
    assert client.get("/").status_code == 200
    assert client.get("/", headers={"host": "10.1.2.4:8642"}).status_code == 421


def test_an_address_of_ipv4_in_ipv6_is_the_same() -> None:
    client = _client("http://[::ffff:10.1.2.3]:8642")
    assert client.get("/", headers={"host": "10.1.2.3:8642"}).status_code == 200
    assert client.get("/", headers={"host": "10.1.2.4:8642"}).status_code == 421
    client = _client("http://10.1.2.3:8642")
    assert client.get("/", headers={"host": "[::ffff:10.1.2.3]:8642"}).status_code == 200
    assert client.get("/", headers={"host": "[::10.1.2.3]:8642"}).status_code == 421


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    "origin", [None, "http://evil.example", "null", "https://127.0.0.1:8642", "http://127.0.0.1"]
)
def test_what_changes_something_comes_from_the_page_alone(
    client: TestClient, method: str, origin: str | None
) -> None:
    headers = {} if origin is None else {"origin": origin}
    answer = client.request(method, "/api/jobs", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["code"] == "foreign-origin"
    assert client.request(method, "/api/jobs", headers=OURS).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_cannot_even_embed_an_image_of_ours(client: TestClient, site: str) -> None:
    assert client.get("/api/x", headers={"sec-fetch-site": site}).status_code == 403
    assert client.get("/static/page.css", headers={"sec-fetch-site": site}).status_code == 403
    # Following a link to the page is what a user may do.
    assert client.get("/", headers={"sec-fetch-site": site}).status_code == 200
    assert client.get("/api/x", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_a_token_is_asked_for_everything_but_the_page() -> None:
    client = _client(token="right")
    assert client.get("/").status_code == 200
    assert client.get("/static/main.js").status_code == 200
    assert client.post("/api/session", headers=OURS).status_code == 200
    for cookie in ("", "mesr-8642=wrong", "mesr-8642=", "other=right; mesr-8642=righ", "mesr-8643=right"):
        answer = client.get("/api/about", headers={"cookie": cookie})
        assert answer.status_code == 401
        assert answer.json()["code"] == "token"
    assert client.get("/api/about", headers={"cookie": "mesr-8643=other; mesr-8642=right"}).status_code == 200


def test_every_answer_shuts_out_other_sources(client: TestClient) -> None:
    for path in ("/", "/api/about", "/static/main.js"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
    assert client.get("/api/about").headers["cache-control"] == "no-store"
    assert client.get("/", headers={"host": "evil.example"}).headers["content-security-policy"]


def test_the_page_itself_has_no_inline_script_or_style_and_no_other_source() -> None:
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    for word in ("<style", "style=", "onclick", "onload", "http:", "https:", "//"):
        assert word not in text.replace("http://www.w3.org/2000/svg", ""), word
    for script in STATIC.glob("*.js"):
        code = script.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https:"):
            assert word not in code, f"{script.name}: {word}"


@pytest.mark.parametrize("said", [True, False])
def test_a_body_larger_than_any_request_is_refused(client: TestClient, said: bool) -> None:
    size = MAX_REQUEST_BYTES + 1
    content = b"x" * size if said else iter([b"x" * (size // 2 + 1)] * 2)
    answer = client.post("/api/jobs", headers=OURS, content=content)
    assert answer.status_code == 413
    assert answer.json()["code"] == "request-too-large"


def test_a_bug_tells_its_kind_and_nothing_of_its_text(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/api/bug")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "ValueError" in answer.text
    assert "ZZPHI" not in answer.text
    assert "ZZPHI" not in "".join(record.getMessage() for record in caplog.records)


def test_an_address_of_this_machine_alone_is_told_from_others() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("127.8.9.1")
    assert is_loopback("::1")
    assert is_loopback("::ffff:127.0.0.1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("192.168.1.4")
