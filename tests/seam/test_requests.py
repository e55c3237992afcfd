"""The seam for requests against a real server: what a program gets bare, recorded, and replayed without it."""

from __future__ import annotations

import gzip
import importlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.errors import ReplayExhausted, ReplayMiss
from custody.identity.scope import labelled
from custody.report.stored import StoredCall

requests: Any = pytest.importorskip("requests")

PLUGIN = """
from custody.plugin import Claim, Forensics, hookimpl

@hookimpl
def claim_exchange(request):
    return Claim("requests-test", "Test", "chat") if "/ask/" in request.url else None

@hookimpl
def extract_forensics(exchange):
    return Forensics()
"""


class Server(ThreadingHTTPServer):
    """Never gives an answer twice; the path decides how it goes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.serial = 0
        self.hold = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.running = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.hold.set()
        if self.running:
            self.running = False
            self.shutdown()
            self.server_close()
            self.thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has left is no error."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        if "chunked" in (self.headers.get("transfer-encoding") or ""):
            asked = b""
            while size := int(self.rfile.readline(), 16):
                asked += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            asked = self.rfile.read(int(self.headers.get("content-length") or 0))
        server = self.server
        server.asked.append((self.path, dict(self.headers.items()), asked))
        server.serial += 1
        getattr(self, self.path.rpartition("/")[2].partition("?")[0])(
            f"answer {server.serial:04} to {asked[:40]!r}".encode()
        )

    do_GET = do_HEAD = do_POST

    def begin(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("content-type", "text/plain; charset=utf-8"), ("x-request-id", f"id-{status}"), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    def send(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def whole(self, answer: bytes) -> None:
        self.begin(200, ("content-length", str(len(answer))), ("set-cookie", "seen=secret-cookie-value"))
        self.wfile.write(answer if self.command != "HEAD" else b"")

    def zipped(self, answer: bytes) -> None:
        packed = gzip.compress(answer * 20)
        self.begin(200, ("content-length", str(len(packed))), ("content-encoding", "gzip"))
        self.wfile.write(packed)

    def empty(self, answer: bytes) -> None:
        self.begin(204)

    def error(self, answer: bytes) -> None:
        self.begin(429, ("content-length", str(len(answer))), ("retry-after", "1"))
        self.wfile.write(answer)

    def stream(self, answer: bytes) -> None:
        self.begin(200, ("transfer-encoding", "chunked"))
        for number in range(4):
            self.send(b"%d: %b\n" % (number, answer))
        self.send(b"")

    def paced(self, answer: bytes) -> None:
        self.begin(200, ("transfer-encoding", "chunked"))
        self.send(b"first\n")
        self.server.hold.wait(5)
        self.send(answer)
        self.send(b"")

    def zipped_stream(self, answer: bytes) -> None:
        self.begin(200, ("transfer-encoding", "chunked"), ("content-encoding", "gzip"))
        packed = gzip.compress(answer * 50)
        for at in range(0, len(packed), 20):
            self.send(packed[at : at + 20])
        self.send(b"")

    def to_the_end(self, answer: bytes) -> None:
        self.begin(200, ("connection", "close"))
        self.wfile.write(answer * 3)
        self.close_connection = True

    def cut(self, answer: bytes) -> None:
        self.begin(200, ("content-length", str(len(answer) + 10)))
        self.wfile.write(answer)
        self.close_connection = True

    def cut_stream(self, answer: bytes) -> None:
        self.begin(200, ("transfer-encoding", "chunked"))
        self.send(answer)
        self.close_connection = True

    def moved(self, answer: bytes) -> None:
        self.begin(307, ("content-length", "0"), ("location", "/ask/whole"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server, and a plugin that claims what is asked of it."""
    folder = tmp_path / "site"
    info = folder / "requests_test_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: requests-test-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\nrequests-test = requests_test_plugin\n")
    (folder / "requests_test_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("CUSTODY_PLUGINS", "requests-test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    importlib.invalidate_caches()
    running = Server()
    yield running
    running.stop()


class Ways:
    """Runs a scenario bare, recording and replaying strictly with the server gone."""

    def __init__(self, server: Server, root: Path) -> None:
        self.server, self.root = server, root
        self.session = ""

    def record(self, scenario: Callable[[str], Any]) -> Any:
        with custody.session("P", "E", root=self.root, new=True) as session:
            self.session, self.path = session.id, session.path
            return scenario(self.server.url + "/ask")

    def replay(self, scenario: Callable[[str], Any]) -> Any:
        count = len(self.server.asked)
        url = self.server.url
        self.server.stop()
        with custody.session("P", "E", root=self.root, session=self.session, strict=True):
            result = scenario(url + "/ask")
        assert len(self.server.asked) == count
        return result

    def __call__(self, scenario: Callable[[str], Any]) -> Any:
        bare = scenario(self.server.url + "/ask")
        recorded = self.record(scenario)
        assert shape(recorded) == shape(bare)
        assert self.replay(scenario) == recorded
        return recorded

    @property
    def calls(self) -> list[StoredCall]:
        return list(custody.open(self.path).calls())


@pytest.fixture
def ways(server: Server, root: Path) -> Ways:
    return Ways(server, root)


def shape(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [shape(v) for v in value]
    return type(value).__name__ if isinstance(value, (str, bytes)) else value


def seen(response: Any) -> Any:
    """All that a program sees of a response, but for what is not stored, and what a replayed failure adds."""
    headers = {k.lower() for k in response.headers} - {"set-cookie", "connection", "x-should-retry"}
    return [
        type(response).__name__, response.status_code, response.reason, response.url, response.encoding, response.ok,
        sorted(headers), response.headers.get("x-request-id"), response.is_redirect, response.content, response.text,
        response.request.method, response.raw.version, type(response.raw).__name__,
    ]  # fmt: skip


def whole(url: str) -> Any:
    with requests.Session() as session:
        return [seen(session.post(f"{url}/whole", data=b"a")), seen(requests.post(f"{url}/whole", json={"a": 1}))]


def methods(url: str) -> Any:
    return [seen(requests.get(f"{url}/whole", params={"page": "2"})), seen(requests.head(f"{url}/whole"))]


def zipped(url: str) -> Any:
    with requests.post(f"{url}/zipped", data="a", stream=True) as raw:
        packed = raw.raw.read()
    return [seen(requests.post(f"{url}/zipped", data="a")), gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else 0]


def empty(url: str) -> Any:
    with requests.post(f"{url}/empty", stream=True) as streamed:
        return [seen(requests.post(f"{url}/empty", data="a")), list(streamed.iter_content(None))]


def error(url: str) -> Any:
    response = requests.post(f"{url}/error", data="a")
    with pytest.raises(requests.HTTPError) as caught:
        response.raise_for_status()
    return [seen(response), str(caught.value), response.headers["retry-after"]]


def to_the_end(url: str) -> Any:
    with requests.post(f"{url}/to_the_end", stream=True) as streamed:
        pieces = b"".join(streamed.iter_content(7))
    return [seen(requests.post(f"{url}/to_the_end", data="a")), pieces]


def stream(url: str) -> Any:
    got = []
    for size in (None, 1, 5, 10_000):
        with requests.post(f"{url}/stream", data=f"by {size}", stream=True) as response:
            got.append(list(response.iter_content(size)))
    with requests.post(f"{url}/stream", data="lines", stream=True) as response:
        got.append(list(response.iter_lines(decode_unicode=True)))
    with requests.post(f"{url}/stream", data="raw", stream=True) as response:
        got += [[response.raw.read(10), response.raw.read(), response.raw.read()], type(response.raw).__name__]
    with requests.post(f"{url}/stream", data="raw chunks", stream=True) as response:
        got.append(list(response.raw.stream(50)))
    return [*got, seen(requests.post(f"{url}/stream", data="whole"))]


def zipped_stream(url: str) -> Any:
    with requests.post(f"{url}/zipped_stream", stream=True) as response:
        pieces = b"".join(response.iter_content(64))
    with requests.post(f"{url}/zipped_stream", stream=True) as response:
        raw = b"".join(response.raw.stream(32, decode_content=False))
    return [pieces, gzip.decompress(raw), seen(requests.post(f"{url}/zipped_stream", data="a"))]


def uploads(url: str) -> Any:
    got = [seen(requests.post(f"{url}/whole", data=io.BytesIO(b"a file")))]
    got.append(seen(requests.post(f"{url}/whole", data=iter([b"in ", b"parts"]))))
    got.append(seen(requests.post(f"{url}/whole", data={"form": "field"})))
    return got


@pytest.mark.parametrize(
    "scenario",
    [whole, methods, zipped, empty, error, to_the_end, stream, zipped_stream, uploads],
    ids=lambda f: f.__name__,
)
def test_what_a_program_gets(ways: Ways, scenario: Any) -> None:
    ways(scenario)
    assert ways.calls
    assert all(c.fields["transport"] == f"requests {requests.__version__}" for c in ways.calls)
    assert {c.fields["ending"] for c in ways.calls} == {"complete"}
    everything = b"".join(path.read_bytes() for path in ways.path.rglob("*") if path.is_file())
    assert b"secret-cookie-value" not in everything


def test_a_redirect_is_one_call(ways: Ways) -> None:
    """The request that was asked, the answer of the last one."""

    def scenario(url: str) -> Any:
        response = requests.post(f"{url}/moved", data="a")
        return [response.status_code, response.content]

    ways(scenario)
    (call,) = ways.calls
    assert call.request["url"].endswith("/ask/moved")
    assert call.fields["status"] == 200


def test_a_redirect_that_is_not_followed(ways: Ways) -> None:
    ways(lambda url: seen(requests.post(f"{url}/moved", data="a", allow_redirects=False)))
    assert [c.fields["status"] for c in ways.calls] == [307]


def test_a_stream_is_not_held_back(ways: Ways) -> None:
    """The first chunk is with the program while the vendor still makes the next."""

    def scenario(url: str) -> None:
        with requests.post(f"{url}/paced", stream=True) as response:
            chunks = response.iter_content(None)
            begun = time.monotonic()
            assert next(chunks) == b"first\n"
            assert time.monotonic() - begun < 4
            assert not ways.server.hold.is_set()
            ways.server.hold.set()
            assert len(list(chunks)) == 1

    ways.record(scenario)


def test_a_hook_that_reads_the_response(ways: Ways) -> None:
    """Its raw bytes are gone by then; what it read is recorded, once."""
    read = []

    def scenario(url: str) -> Any:
        hooks = {"response": lambda response, **_: read.append(response.content)}
        return seen(requests.post(f"{url}/zipped", data="a", hooks=hooks))[9:11]

    recorded = ways.record(scenario)
    assert len(read) == 1
    assert ways.replay(scenario) == recorded
    assert len(read) == 1


@pytest.mark.parametrize("name", ["cut", "cut_stream"])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_is_cut(ways: Ways, name: str, streamed: bool) -> None:
    def scenario(url: str) -> str:
        with (
            pytest.raises(requests.RequestException) as caught,
            requests.post(f"{url}/{name}", data="a", stream=streamed) as response,
        ):
            list(response.iter_content(10))
        return type(caught.value).__name__

    bare = scenario(ways.server.url + "/ask")
    assert ways.record(scenario) == bare
    assert [(c.fields["ending"], c.fields["answers"]) for c in ways.calls] == [("broken", False)]


def test_a_server_that_is_gone(ways: Ways) -> None:
    ways.server.stop()
    with pytest.raises(requests.ConnectionError):
        ways.record(lambda url: requests.post(f"{url}/whole"))
    assert [(c.outcome, c.fields["error"]) for c in ways.calls] == [("no_response", "ConnectionError")]


def test_a_timeout(ways: Ways) -> None:
    def scenario(url: str) -> None:
        with requests.post(f"{url}/paced", stream=True, timeout=1.0) as response:
            list(response.iter_content(None))

    with pytest.raises(requests.ConnectionError):
        ways.record(scenario)
    assert [c.fields["ending"] for c in ways.calls] == ["broken"]


@pytest.mark.parametrize("name", ["stream", "to_the_end"])
def test_a_stream_that_is_left_early(ways: Ways, name: str) -> None:
    """What was read is replayed; reading on says that there is no more on record."""

    def scenario(url: str) -> Any:
        with requests.post(f"{url}/{name}", stream=True) as response:
            return next(response.iter_content(5))

    recorded = ways.record(scenario)
    assert [(c.outcome, c.fields["answers"]) for c in ways.calls] == [("closed_early", True)]
    assert ways.replay(scenario) == recorded
    with custody.session("P", "E", root=ways.root, session=ways.session, strict=True), pytest.raises(ReplayExhausted):
        requests.post(f"{ways.server.url}/ask/{name}").content  # noqa: B018


def test_threads_get_their_own_answers(ways: Ways) -> None:
    def scenario(url: str) -> Any:
        def one(number: int) -> Any:
            with labelled({"run": number}):
                return requests.post(f"{url}/stream", data="same").text

        with ThreadPoolExecutor(6) as pool:
            return list(pool.map(one, range(6)))

    recorded = ways.record(scenario)
    assert len(set(recorded)) == 6
    assert ways.replay(scenario) == recorded


def test_what_is_not_on_record_is_refused(ways: Ways) -> None:
    ways.record(lambda url: requests.post(f"{url}/whole", data="a"))
    with pytest.raises(ReplayMiss):
        ways.replay(lambda url: requests.post(f"{url}/whole", data="another"))


def test_what_nobody_claims_passes(ways: Ways) -> None:
    ways.record(lambda url: requests.post(f"{ways.server.url}/tell/whole", data="a"))
    assert ways.calls == []


def test_nothing_is_left_when_custody_is_gone(ways: Ways) -> None:
    original = requests.Session.send
    ways.record(lambda url: requests.post(f"{url}/whole", data="a"))
    custody.uninstall()
    assert not hasattr(requests.Session.send, "__custody_original__")
    assert requests.Session.send is original
