"""The service: answers, refusals, limits, and that no client can block the others."""

import asyncio
import contextlib
import io
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import PIL.Image
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Each
from rowscan.explanation import explain
from rowscan.io.pictures import open_image
from rowscan.line_explanation import explain_line
from rowscan.reader import Reader
from rowscan.reading import Reading
from rowscan.server import Limits, ServerLimits, create_app, schemas
from rowscan.server.connection import limited_server
from rowscan.server.guard import HEADERS

EXAMPLES = Path(__file__).parent.parent / "examples" / "digits"
SEVEN = (EXAMPLES / "7-13.png").read_bytes()
PATIENCE = 240.0  # seconds; longer than anything takes on a busy machine
LIMITS = Limits(body=300_000, pixels=1_000_000, lines=3, pages=3, seconds=PATIENCE)
STATIC = resources.files("rowscan.server").joinpath("static")


def png(image: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def sheet(*names: str, down: int = 1, apart: int = 140) -> bytes:
    """Example digits side by side, in several rows."""
    page = PIL.Image.new("L", (140 * len(names), 140 * down), "white")
    for row in range(down):
        for column, name in enumerate(names):
            with PIL.Image.open(EXAMPLES / name) as digit:
                page.paste(digit.convert("L"), (apart * column + 6, 140 * row + 6))
    return png(page)


def huge_png(width: int = 20_000, height: int = 10_000) -> bytes:
    """White paper of many pixels, 4 bits each, in some kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    rows = (b"\0" + b"\xff" * (width // 2)) * 100
    squeeze = zlib.compressobj(wbits=-15)  # without the header and the sum that zlib adds
    block = squeeze.compress(rows) + squeeze.flush(zlib.Z_FULL_FLUSH)
    total = 1
    for _ in range(height // 100):
        total = zlib.adler32(rows, total)
    pixels = b"\x78\x9c" + block * (height // 100) + b"\x03\0" + struct.pack(">I", total)
    header = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.fixture(scope="module")
def client(reader: Reader) -> Iterator[TestClient]:
    with TestClient(create_app(reader, limits=LIMITS)) as client:
        yield client


# Answers


@pytest.mark.parametrize("content", [SEVEN, sheet("4-08.png", "0-00.png")])
def test_the_answer_is_that_of_the_reader(
    content: bytes, client: TestClient, reader: Reader
) -> None:
    expected = reader.read(content).to_dict()
    raw = client.post("/v1/read", content=content)
    form = client.post("/v1/read", files={"file": ("../../etc/passwd", content)})
    assert raw.status_code == form.status_code == 200
    assert raw.json() == form.json() == {"path": "-"} | json.loads(json.dumps(expected))
    assert raw.json()["text"]
    # The schema has exactly these fields.
    assert schemas.ReadingSchema.model_validate(raw.json()).model_dump(mode="json") == raw.json()


def test_what_may_be_read_is_a_parameter_or_a_field(client: TestClient) -> None:
    for options in ({"alphabet": "012345689"}, {"pattern": "[^7]"}):
        query = client.post("/v1/read", content=SEVEN, params=options).json()
        form = client.post("/v1/read", files={"file": SEVEN}, data=options).json()
        assert query == form
        assert "7" not in query["text"]
        assert query["confidence"] < 0.9
    assert client.post("/v1/read", content=SEVEN, params={"pattern": r"\d"}).json()["text"] == "7"


def test_blank_paper_is_a_reading_without_lines(client: TestClient) -> None:
    answer = client.post("/v1/read", content=png(PIL.Image.new("L", (90, 60), "white")))
    assert answer.status_code == 200
    assert (answer.json()["text"], answer.json()["lines"]) == ("", [])
    assert (answer.json()["width"], answer.json()["height"]) == (90, 60)


def test_a_digit_below_the_minimum_confidence_is_a_question_mark(client: TestClient) -> None:
    answer = client.post("/v1/read?min_confidence=1", content=SEVEN)
    assert answer.json()["text"] == "?"


def test_an_explanation_holds_the_belief_after_each_row(client: TestClient, reader: Reader) -> None:
    expected = explain(open_image(SEVEN), reader)
    answer = client.post("/v1/explain", content=SEVEN)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["digit"], found["scan"]) == (7, expected.scan)
    assert found["picture"] == expected.picture.tolist()
    assert np.asarray(found["belief"]) == pytest.approx(expected.belief, abs=1e-4)
    assert found["confidence"] == pytest.approx(expected.confidence, abs=1e-4)
    assert schemas.ExplanationSchema.model_validate(found).model_dump(mode="json") == found


def test_a_line_of_the_reading_is_explained(client: TestClient, reader: Reader) -> None:
    page = sheet("4-08.png", "7-13.png", apart=90)
    found = client.post("/v1/explain?line=1", content=page).json()
    expected = explain_line(page, 1, reader)
    assert found["text"] == "47"
    assert found["alphabet"] == list(reader.line_model.alphabet)
    np.testing.assert_allclose(found["belief"], expected.belief, atol=1e-4)
    np.testing.assert_array_equal(found["picture"], expected.picture)
    assert schemas.LineExplanationSchema.model_validate(found).model_dump(mode="json") == found
    digit = client.post("/v1/explain?line=1&character=2", content=page).json()
    assert digit["digit"] == 7
    assert schemas.ExplanationSchema.model_validate(digit).model_dump(mode="json") == digit
    for query in ("line=2", "line=1&character=3", "line=0"):
        assert client.post(f"/v1/explain?{query}", content=page).status_code == 422


def test_numbers_and_single_digits_can_have_different_readers(reader: Reader) -> None:
    class Silent(Reader):
        def read_opened(self, pages: Any, **options: Any) -> Iterator[Reading]:
            return (Reading(width=1, height=2, lines=(), confidence=1.0) for _ in pages)

    with TestClient(create_app(Silent(), reader)) as client:
        assert client.post("/v1/read", content=SEVEN).json()["width"] == 1
        assert client.post("/v1/explain", content=SEVEN).json()["digit"] == 7


def test_health_and_metrics(client: TestClient) -> None:
    def count(line: str) -> float:
        (found,) = re.findall(rf"^{re.escape(line)} (\S+)$", client.get("/metrics").text, re.M)
        return float(found)

    health = 'rowscan_requests_total{method="GET",path="/healthz",status="200"}'
    lost = 'rowscan_requests_total{method="other",path="other",status="404"}'
    assert client.get("/healthz").json()["status"] == "ok"
    client.request("BREW", "/coffee/1")
    before = count(health), count(lost)
    client.get("/healthz")
    client.request("BREW", "/coffee/2")
    assert (count(health), count(lost)) == (before[0] + 1, before[1] + 1)
    assert "coffee" not in client.get("/metrics").text  # otherwise each path would take memory
    assert count("rowscan_pictures_pending") == count("rowscan_body_bytes_held") == 0


# Refusals


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ({"content": b""}, 400, "empty"),
        ({"files": {"file": b""}}, 400, "empty"),
        ({"files": {"picture": SEVEN}}, 400, "no file named 'file'"),
        ({"data": {"file": "7"}, "files": {"x": b"1"}}, 400, "no file named 'file'"),
        (
            {"content": SEVEN, "headers": {"Content-Type": "multipart/form-data"}},
            400,
            "not a form",
        ),
        ({"content": b"x" * 300_001}, 413, "larger than 300,000 bytes"),
        ({"files": {"file": b"x" * 300_001}}, 413, "larger than 300,000 bytes"),
        ({"content": png(PIL.Image.new("1", (1001, 1000)))}, 413, "1001 x 1000 pixels"),
        ({"content": huge_png()}, 413, "more than 1 megapixels"),
        ({"content": b"no picture"}, 415, "not an image"),
        ({"content": b"%PDF-1.7 and so on"}, 422, "damaged or unsupported PDF"),
        ({"content": SEVEN, "params": {"page": 2}}, 422, "it has no page 2"),
        ({"content": SEVEN, "params": {"show_other": "?"}}, 422, "show_other: "),
        ({"content": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"}, 415, "not an image"),
        ({"content": SEVEN[: len(SEVEN) // 2]}, 422, "damaged"),
        ({"content": SEVEN, "params": {"min_confidence": "2"}}, 422, "min_confidence: "),
        ({"content": SEVEN, "params": {"min_confidence": "nan"}}, 422, "min_confidence: "),
        ({"content": SEVEN, "params": {"pattern": "(7"}}, 422, "a group is not closed"),
        ({"content": SEVEN, "params": {"alphabet": "7x"}}, 422, "the model does not know 'x'"),
        ({"content": SEVEN, "params": {"pattern": "7" * 101}}, 422, "pattern: "),
        ({"content": SEVEN, "params": {"patern": "7"}}, 422, "patern: "),
    ],
    ids=lambda value: str(value)[:50],
)
def test_refusals(request_: dict[str, Any], status: int, detail: str, client: TestClient) -> None:
    answer = client.post("/v1/read", **request_)
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"]
    assert detail in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    if "params" not in request_:
        assert client.post("/v1/explain", **request_).status_code == status


def test_too_many_lines_are_refused(client: TestClient) -> None:
    assert client.post("/v1/read", content=sheet("7-13.png", down=3)).status_code == 200
    answer = client.post("/v1/read", content=sheet("7-13.png", down=4))
    assert answer.status_code == 413
    assert answer.json() == {"detail": "more than 3 lines of writing; cut it into parts"}


def document(*digits: str) -> bytes:
    """A TIFF with a digit on each page."""
    pages = [PIL.Image.open(EXAMPLES / name).convert("L") for name in digits]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


def test_all_pages_of_a_document_are_read_or_the_one_that_is_asked_for(client: TestClient) -> None:
    content = document("7-13.png", "4-08.png", "0-00.png")
    answer = client.post("/v1/read", content=content).json()
    assert [(page["page"], page["text"]) for page in answer["pages"]] == [
        (1, "7"),
        (2, "4"),
        (3, "0"),
    ]
    assert schemas.PagesSchema.model_validate(answer).model_dump(mode="json") == answer
    for body in ({"content": content, "params": {"page": 2}}, {"files": {"file": content}}):
        one = client.post("/v1/read", **body, data={"page": "2"} if "files" in body else None)
        assert one.json() == {**answer["pages"][1], "path": "-"}
    longer = document(*["7-13.png"] * 4)
    refused = client.post("/v1/read", content=longer)
    assert (refused.status_code, refused.json()["detail"]) == (
        413,
        "more than 3 pages",
    )
    assert client.post("/v1/read", content=longer, params={"page": 4}).json()["text"] == "7"


def test_several_files_are_entries_of_one_answer(client: TestClient) -> None:
    sent = [("a.png", SEVEN), ("b.txt", b"no picture"), ("c.tif", document("4-08.png", "0-00.png"))]
    answer = client.post("/v1/read", files=[("file", part) for part in sent])
    assert answer.status_code == 200
    found = answer.json()
    assert [(page["path"], page["status"], page["text"]) for page in found["pages"]] == [
        ("a.png", "read", "7"),
        ("b.txt", "error", ""),
        ("c.tif", "error", ""),  # more pages than are left
    ]
    assert schemas.PagesSchema.model_validate(found).model_dump(mode="json") == found


def test_unknown_paths_and_methods(client: TestClient) -> None:
    assert client.get("/nowhere").json() == {"detail": "Not Found"}
    wrong = client.put("/v1/read", content=SEVEN)
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    for path in ("/static/../app.py", "/static/%2e%2e%2fapp.py", "/static/", "/static/a/b"):
        assert client.get(path).status_code == 404


def test_an_exception_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Reader):
        def read_opened(self, pages: Any, **options: Any) -> Iterator[Reading]:
            raise RuntimeError("a secret")

    with TestClient(create_app(Broken())) as client:
        answer = client.post("/v1/read", content=SEVEN)
        assert (answer.status_code, answer.json()) == (500, {"detail": "internal error"})
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert 'status="500"' in client.get("/metrics").text
    assert "a secret" in caplog.text


class Held(Reader):
    """A reader that waits until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def read_opened(self, pages: Any, **options: Any) -> Iterator[Reading]:
        self.begun.set()
        assert self.go.wait(PATIENCE)
        return super().read_opened(pages, **options)


@pytest.mark.parametrize(
    "limits",
    [Limits(waiting=2), Limits(held=3 * len(SEVEN) + 1)],
    ids=["too many wait", "too much in memory"],
)
def test_too_much_at_once_is_answered_with_503(limits: Limits) -> None:
    reader = Held()
    app = create_app(reader, limits=limits, threads=1)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            asking = [
                asyncio.create_task(client.post("/v1/read", content=SEVEN)) for _ in range(10)
            ]
            await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            assert (await client.get("/healthz")).status_code == 200
            reader.go.set()
            answers = await asyncio.gather(*asking)
            # The queue is empty again.
            again = [await client.post("/v1/read", content=SEVEN) for _ in range(4)]
            metrics = (await client.get("/metrics")).text
            assert "rowscan_pictures_pending 0.0" in metrics
            assert "rowscan_body_bytes_held 0.0" in metrics
            assert [answer.status_code for answer in again] == [200] * 4
            return answers

    answers = asyncio.run(ask())
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 7
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["detail"].startswith("busy: ")
        else:
            assert answer.json()["text"] == "7"


# Browsers


def test_every_answer_has_the_security_headers(client: TestClient) -> None:
    answers = [
        client.get("/"),
        client.get("/docs"),
        client.get("/static/page.js"),
        client.get("/nowhere"),
        client.get("/metrics"),
        client.options("/v1/read"),
        client.post("/v1/read", content=SEVEN),
        client.post("/v1/read", content=b"x" * 300_001),
        client.post("/v1/read", params={"min_confidence": "x"}),
    ]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert answer.headers["Cache-Control"] in ("no-store", "no-cache")
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_only_named_origins_are_allowed(reader: Reader) -> None:
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    for allowed in ((), ("https://example.org",)):
        with TestClient(create_app(reader, allow_origins=allowed)) as client:
            sent = client.post("/v1/read", content=SEVEN, headers=headers)
            assert sent.status_code == (200 if allowed else 403)
            for answer in (client.options("/v1/read", headers=headers), sent):
                found = answer.headers.get("Access-Control-Allow-Origin")
                assert found == (allowed[0] if allowed else None)
            other = client.get("/healthz", headers={"Origin": "https://example.com"})
            assert "Access-Control-Allow-Origin" not in other.headers
            for origin in ("https://example.com", "null", "http://testserver:81"):
                foreign = client.post("/v1/read", content=SEVEN, headers={"Origin": origin})
                assert foreign.status_code == 403
            own = client.post("/v1/read", content=SEVEN, headers={"Origin": "http://testserver"})
            assert own.status_code == 200


def test_no_redirect_follows_the_host(client: TestClient) -> None:
    answer = client.get("/docs/", headers={"Host": "evil.example"}, follow_redirects=False)
    assert answer.status_code == 404


# The files of the page; test_page_in_browser.py tests their behaviour


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        assert "style" not in named
        assert not [name for name in named if name.startswith("on")]
        if tag in ("script", "img", "link") and (tag != "img" or "src" in named):
            self.loaded.append(str(named.get("src") or named["href"]))  # none is inline


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_loads_only_files_of_the_service(path: str, client: TestClient) -> None:
    page = client.get(path)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert client.head(path).headers["ETag"] == page.headers["ETag"]
    links = Links()
    links.feed(page.text)
    assert "static/style.css" in links.loaded
    kinds = {
        "css": "text/css",
        "js": "text/javascript",
        "svg": "image/svg+xml",
        "jpg": "image/jpeg",
    }
    for link in links.loaded:
        found = client.get(f"/{link}")
        assert found.status_code == 200
        assert found.headers["Content-Type"].startswith(kinds[link.rpartition(".")[2]])


def test_no_file_of_the_page_mentions_another_host() -> None:
    for entry in STATIC.iterdir():
        if entry.name.endswith(".jpg"):
            continue
        text = entry.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"(?:https?:)?//[\w-]+\.\w+", text) == []


def test_a_cached_file_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/static/page.js")
    again = client.get("/static/page.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/static/words.js").headers["ETag"] != first.headers["ETag"]


# Arbitrary requests

JPEG = io.BytesIO()
PIL.Image.open(io.BytesIO(SEVEN)).convert("RGB").save(JPEG, "JPEG")
GIF = io.BytesIO()
PIL.Image.open(io.BytesIO(SEVEN)).convert("L").save(GIF, "GIF")
TIFF = io.BytesIO()
PIL.Image.open(io.BytesIO(SEVEN)).convert("L").save(TIFF, "TIFF", compression="tiff_lzw")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A picture with changed or missing bytes."""
    content = bytearray(
        draw(st.sampled_from([SEVEN, JPEG.getvalue(), GIF.getvalue(), TIFF.getvalue()]))
    )
    for _ in range(draw(st.integers(0, 4))):
        # Changes in the header have more effect.
        place = draw(st.integers(0, 60) | st.integers(0, len(content) - 1))
        content[place] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.just(len(content)) | st.integers(1, len(content)))])


KINDS = st.sampled_from(
    ["image/png", "multipart/form-data; boundary=b", "multipart/form-data", "text/plain", "", "é"]
)
PARTS = st.sampled_from(
    [
        b"--b\r\n",
        b"--b--\r\n",
        b'Content-Disposition: form-data; name="file"; filename="a"\r\n',
        b'Content-Disposition: form-data; name="file"\r\n',
        b"Content-Type: image/png\r\n",
        b"\r\n",
        SEVEN + b"\r\n",
    ]
)
BODIES = damaged() | st.binary(max_size=300) | st.lists(PARTS, max_size=8).map(b"".join)


@pytest.fixture(scope="module")
def description(client: TestClient) -> Any:
    return client.get("/openapi.json").json()


@settings(
    max_examples=250,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    what=st.tuples(
        st.sampled_from(["POST", "POST", "GET", "HEAD", "PUT", "OPTIONS"]),
        st.sampled_from(["/v1/read", "/v1/read", "/v1/explain", "/healthz", "/metrics"]),
    ),
    body=BODIES,
    kind=KINDS,
    confidence=st.none() | st.floats().map(str) | st.text(max_size=5),
)
def test_every_answer_is_in_the_openapi_description(
    *,
    what: tuple[str, str],
    body: bytes,
    kind: str,
    confidence: str | None,
    client: TestClient,
    description: dict[str, Any],
) -> None:
    method, path = what
    answer = client.request(
        method,
        path,
        content=body,
        headers={b"Content-Type": kind.encode()},
        params={} if confidence is None else {"min_confidence": confidence},
    )
    operation = description["paths"][path].get(method.lower())
    if operation is None:
        assert answer.status_code == 405
        return
    documented = operation["responses"][str(answer.status_code)]
    if answer.status_code >= 400:
        assert documented["content"]["application/json"]["schema"]["$ref"].endswith("/Error")
        assert schemas.Error.model_validate(answer.json()).model_dump() == answer.json()
    elif method == "POST":
        read = schemas.PagesSchema if "pages" in answer.json() else schemas.ReadingSchema
        schema = read if path == "/v1/read" else schemas.ExplanationSchema
        assert schema.model_validate(answer.json()).model_dump(mode="json") == answer.json()


# Connections


@contextlib.contextmanager
def listening(
    reader: Reader, limits: Limits | None = None, server_limits: ServerLimits | None = None
) -> Iterator[int]:
    """The port of a server in a thread; it is stopped at the end."""
    app = create_app(reader, limits=limits, threads=1)
    server = limited_server(app, server_limits or ServerLimits())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def received(connection: socket.socket) -> bytes:
    """Everything until the other side closes the connection."""
    connection.settimeout(PATIENCE)
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


HEAD = b"POST /v1/read HTTP/1.1\r\nHost: test\r\nContent-Type: image/png\r\n"


WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(SEVEN) + SEVEN


def exchange(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back on a connection, until the server closes it."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for part in parts:
            with contextlib.suppress(OSError):
                connection.sendall(part)
            time.sleep(pause)
        return received(connection)


@pytest.mark.parametrize(
    "parts",
    [[], [HEAD], [HEAD[i : i + 1] for i in range(12)]],
    ids=["nothing", "half a head", "byte by byte"],
)
def test_a_connection_without_a_request_is_closed(parts: list[bytes], reader: Reader) -> None:
    with listening(reader, server_limits=ServerLimits(head_seconds=0.3)) as port:
        assert exchange(port, *parts, pause=0.05) == b""


def test_half_a_body_is_answered_with_408(reader: Reader) -> None:
    with listening(reader, Limits(body_seconds=0.3)) as port:
        answer = exchange(port, WHOLE[:-20])
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


def test_an_idle_connection_is_closed(reader: Reader) -> None:
    limits = ServerLimits(idle_seconds=1, head_seconds=3600.0)
    with listening(reader, server_limits=limits) as port:
        start = time.monotonic()
        assert exchange(port, WHOLE).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - start > 0.9


def test_half_a_second_request_is_not_answered(reader: Reader) -> None:
    limits = ServerLimits(idle_seconds=1, head_seconds=2.0)
    with listening(reader, server_limits=limits) as port:
        assert exchange(port, WHOLE, HEAD).count(b"HTTP/1.1") == 1


def test_a_malformed_body_is_answered_with_400(reader: Reader) -> None:
    with listening(reader) as port:
        body = b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nx\r\n"
        assert exchange(port, HEAD + body).startswith(b"HTTP/1.1 400 ")


def test_a_request_in_progress_delays_the_end_only_for_a_time() -> None:
    reader = Held()
    with contextlib.ExitStack() as stack:
        with listening(reader, server_limits=ServerLimits(shutdown_seconds=1)) as port:
            connection = socket.create_connection(("127.0.0.1", port))
            stack.enter_context(connection).sendall(WHOLE)
            assert reader.begun.wait(PATIENCE)
        assert not reader.go.is_set()  # the server has ended, the reader has not
        reader.go.set()


def test_too_many_connections_are_refused(reader: Reader) -> None:
    limits = ServerLimits(connections=3)
    with listening(reader, server_limits=limits) as port, contextlib.ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
            assert client.recv(1)  # it has been accepted
        with socket.create_connection(("127.0.0.1", port)) as fourth:
            answer = received(fourth)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in head
        assert b"Content-Length: %d" % len(body) in head
        assert json.loads(body)["detail"].startswith("busy")
        stack.close()
        while httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE).status_code == 503:
            time.sleep(0.05)


def test_a_body_of_unknown_length_is_refused_at_the_limit(reader: Reader) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 100_000
            yield bytes(100_000)

    with listening(reader, LIMITS) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/read", content=endless(), timeout=PATIENCE)
        assert answer.status_code == 413
        gauges = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text
        assert "rowscan_body_bytes_held 0.0" in gauges


# The process


class Service:
    """A process of `rowscan serve`."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rowscan", "serve", "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        self.url = next(iter(re.findall(r"http://\S+", self.first_line)), "")

    def check(self) -> None:
        """Fail if the process has ended, with its errors."""
        if self.process.poll() is not None:
            _, errors = self.process.communicate(timeout=PATIENCE)
            pytest.fail(f"the service ended by itself: {self.process.returncode}, {errors!r}")

    def end(self, how: signal.Signals = signal.SIGTERM) -> str:
        """Stop it; its standard error."""
        self.check()
        self.process.send_signal(how)
        _, errors = self.process.communicate(timeout=PATIENCE)
        return errors


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = Service()
    yield service
    assert service.end() == ""


def test_the_command_serves(service: Service) -> None:
    assert re.fullmatch(
        r"Rowscan reads at http://127\.0\.0\.1:\d+ \(Ctrl-C ends it\)\n", service.first_line
    )
    with httpx.Client(base_url=service.url) as client:
        assert client.post("/v1/read", content=SEVEN).json()["text"] == "7"
        assert client.post("/v1/explain", content=SEVEN).json()["digit"] == 7
        assert "Rowscan" in client.get("/").text
        assert client.get("/docs").status_code == 200


def test_a_name_that_the_service_does_not_have_is_refused(service: Service) -> None:
    """A page whose own name was made to resolve to this machine sends that name."""
    with httpx.Client(base_url=service.url) as client:
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::1].evil"):
            answer = client.post("/v1/read", content=SEVEN, headers={"Host": host})
            assert answer.status_code == 421
            assert answer.json()["detail"].startswith("the service does not have the name in Host")
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8000", socket.gethostname()):
            answer = client.post("/v1/read", content=SEVEN, headers={"Host": host})
            assert answer.status_code == 200


def test_the_documented_request_and_limits_are_true(service: Service) -> None:
    def without_confidence(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without_confidence(v) for k, v in value.items() if k != "confidence"}
        return [without_confidence(v) for v in value] if isinstance(value, list) else value

    document = (Path(__file__).parent.parent / "docs" / "service.md").read_text(encoding="utf-8")
    (request,) = re.findall(
        r"^\$ curl --data-binary @(\S+) http://[\d.:]+(\S+)\n(.*)$", document, re.M
    )
    name, path, expected = request
    content = (Path(__file__).parent.parent / name).read_bytes()
    answer = httpx.post(f"{service.url}{path}", content=content, timeout=PATIENCE).json()
    assert without_confidence(answer) == without_confidence(json.loads(expected))
    for name, value in {**vars(Limits()), **vars(ServerLimits())}.items():
        assert f"| `{name}` | {value:,.0f} |" in document


def test_slow_clients_do_not_block_others(reader: Reader) -> None:
    """Others are answered beside clients with half a head, half a body or a refused body.

    None of them is disconnected during the test, so waiting for them would be for ever.
    """
    patient = Limits(body_seconds=1e6), ServerLimits(head_seconds=1e6)
    with listening(reader, *patient) as port, contextlib.ExitStack() as stack:
        for content in [
            b"",
            HEAD,
            HEAD + b"Content-Length: 100000\r\n\r\nhalf",
            HEAD + b"Content-Length: 50000000\r\n\r\n" + bytes(1_000_000),
        ] * 5:
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.settimeout(PATIENCE)
            slow.sendall(content)
        url = f"http://127.0.0.1:{port}/v1/read"
        assert httpx.post(url, content=huge_png(), timeout=PATIENCE).status_code == 413
        for _ in range(5):
            answer = httpx.post(url, content=SEVEN, timeout=PATIENCE)
            assert answer.json()["text"] == "7"


def test_clients_that_disconnect_early_do_not_end_it(service: Service) -> None:
    host, port = "127.0.0.1", int(service.url.rpartition(":")[2])
    for _ in range(20):
        with socket.create_connection((host, port)) as client:
            client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
    seen = 'rowscan_requests_total{method="GET",path="other",status="404"} 20.0'
    while seen not in httpx.get(f"{service.url}/metrics", timeout=PATIENCE).text:
        service.check()
        time.sleep(0.05)
    assert httpx.get(f"{service.url}/healthz", timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_progress_are_finished_at_the_end(how: signal.Signals) -> None:
    rng = np.random.default_rng(3)
    noise = rng.integers(200, 255, (2000, 2000), dtype=np.uint8)
    content = png(PIL.Image.fromarray(noise))
    service = Service()
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(httpx.post(f"{service.url}/v1/read", content=content, timeout=PATIENCE))

    asking = threading.Thread(target=ask)
    asking.start()
    seen = "rowscan_pictures_pending 1.0"
    while seen not in httpx.get(f"{service.url}/metrics", timeout=PATIENCE).text:
        assert not answers
    errors = service.end(how)
    asking.join()
    assert answers[0].status_code == 200
    assert errors.strip() == ""
    assert service.process.returncode == (130 if how == signal.SIGINT else -how)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{service.url}/healthz", timeout=PATIENCE)


def test_it_warns_when_others_can_reach_it() -> None:
    service = Service("--host", "0.0.0.0")
    errors = service.end()
    assert errors.startswith("rowscan: listening on 0.0.0.0: anyone who can reach this machine")
    assert errors.count("\n") == 1


def test_an_address_or_model_that_cannot_be_used_gives_one_line(
    service: Service, rowscan_each: Each
) -> None:
    port = service.url.rpartition(":")[2]
    done = rowscan_each(
        [
            ["serve", "--port", port],
            ["serve", "--port", "0", "--host", "no.such.host.invalid"],
            ["serve", "--port", "0", "--model", "nothing.onnx"],
        ]
    )
    taken = f"127.0.0.1:{port}: Address already in use; --port 0 takes any free port\n"
    for (status, printed, said), reason in zip(
        done, (taken, "no.such.host.invalid:0: ", "nothing.onnx: "), strict=True
    ):
        assert (status, printed) == (1, "")
        assert said.startswith(f"rowscan: {reason}")
        assert said.count("\n") == 1


def test_with_a_digit_model_numbers_are_read_by_the_shipped_one() -> None:
    model = resources.files("rowscan").joinpath("models", "digit.onnx")
    service = Service("--model", model)
    assert (
        httpx.post(f"{service.url}/v1/read", content=SEVEN, timeout=PATIENCE).json()["text"] == "7"
    )
    assert (
        httpx.post(f"{service.url}/v1/explain", content=SEVEN, timeout=PATIENCE).json()["digit"]
        == 7
    )
    assert service.end() == ""


def test_serving_imports_no_training_package() -> None:
    code = "import sys, rowscan.server; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "fastapi" in loaded
    assert loaded & {"torch", "onnx", "matplotlib", "tensorflow", "safetensors"} == set()


def test_without_the_extra_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['fastapi'] = None; from rowscan.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    expected = r"rowscan: serving needs fastapi: pip install .*\[server\].*\n"
    assert re.fullmatch(expected, done.stderr)
