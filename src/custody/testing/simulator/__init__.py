"""A local HTTP server that speaks the OpenAI and Anthropic wire formats, for tests that must cost nothing.

The answers are made up and never repeat; every request is counted; faults can be injected, from the test or
over HTTP (`GET /_simulator/stats`, `POST /_simulator/inject`, `POST /_simulator/release`,
`POST /_simulator/reset`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from custody.testing.simulator.answers import Answers

if TYPE_CHECKING:
    from custody.testing.simulator.server import Server

__all__ = ["Fault", "Seen", "Simulator"]


@dataclass(frozen=True)
class Seen:
    """One request as it came: `body_digest` is the SHA-256 of the raw body in hex, `path` has no query.

    `time` is when the body was complete (Unix seconds). `answered`: every byte of a 2xx answer was handed to
    the socket. `status` is None until an answer is begun.
    """

    path: str
    method: str
    body_digest: str
    headers: Mapping[str, str]
    answered: bool = False
    status: int | None = None
    time: float = 0.0
    query: str = ""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request; parts combine.

    status: answer this error. retry_after: seconds, as header. delay: seconds before the answer. cut_after:
    cut the connection after so many SSE events, or bytes of a plain body (always before its end). tail: with
    cut_after, this text comes in place of the rest, and the answer ends as it should. hold_after: after so many
    events of a stream wait for a `Simulator.release()` before each further one. drop: close without any answer.
    headers: added to the answer's. path, body: only for requests whose target / raw body contains this text.
    """

    status: int | None = None
    retry_after: float | None = None
    delay: float | None = None
    cut_after: int | None = None
    tail: str | None = None
    hold_after: int | None = None
    drop: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    body: str | None = None


@dataclass
class _Armed:
    fault: Fault
    left: int


@dataclass
class Log:
    """What the simulator knows; `lock` guards all of it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: dict[int, Seen] = field(default_factory=dict)
    faults: list[_Armed] = field(default_factory=list)
    number: int = 0

    def arrive(self, seen: Seen, body: bytes) -> tuple[int, Fault]:
        """Note a request; returns its number and the fault to serve it with."""
        target = seen.path + ("?" + seen.query if seen.query else "")
        with self.lock:
            self.number += 1
            self.seen[self.number] = seen
            for armed in self.faults:
                fault = armed.fault
                if (fault.path or "") in target and (fault.body or "").encode() in body:
                    armed.left -= 1
                    self.faults = [a for a in self.faults if a.left > 0]
                    return self.number, fault
            return self.number, Fault()

    def mark(self, number: int, **changes: Any) -> None:
        with self.lock:
            if number in self.seen:  # not there any more after a reset
                self.seen[number] = replace(self.seen[number], **changes)


class Core:
    """What the vendor does and what it has seen; times in seconds. Safe to use from many threads."""

    def __init__(self, latency: float, chunk_delay: float, seed: int | None, gzip: bool) -> None:
        self.latency = latency
        self.chunk_delay = chunk_delay
        self.gzip = gzip
        self.source = Answers(seed)
        self.log = Log()
        self.stopping = threading.Event()
        self.released = threading.Semaphore(0)

    @property
    def requests(self) -> list[Seen]:
        """All requests in order of arrival, control requests left out."""
        with self.log.lock:
            return list(self.log.seen.values())

    @property
    def answers(self) -> list[str]:
        """All texts given in answers: prose, JSON documents, tool arguments."""
        return self.source.given

    def count(self, path: str | None = None) -> int:
        """Requests so far, of one path (without query) if given."""
        return sum(1 for seen in self.requests if path is None or seen.path == path)

    def paid(self) -> int:
        """POST requests that arrived, whatever became of them: what a vendor may bill."""
        return sum(1 for seen in self.requests if seen.method == "POST")

    def answered(self) -> int:
        """POST requests whose complete 2xx answer was written."""
        return sum(1 for seen in self.requests if seen.method == "POST" and seen.answered)

    def by_body(self) -> dict[str, int]:
        """POST requests per SHA-256 (hex) of the raw body."""
        return dict(Counter(seen.body_digest for seen in self.requests if seen.method == "POST"))

    def stats(self) -> dict[str, object]:
        """The document of GET /_simulator/stats."""
        return {
            "requests": self.count(),
            "paid": self.paid(),
            "answered": self.answered(),
            "by_body": self.by_body(),
        }

    def inject(self, fault: Fault, times: int = 1) -> None:
        """Serve the next `times` matching requests with the fault; faults are used up in the order given."""
        if fault.hold_after is not None:
            self.released = threading.Semaphore(0)  # streams that nobody reads any more wait for the one before
        with self.log.lock:
            if times > 0:
                self.log.faults.append(_Armed(fault, times))

    def release(self, events: int = 1) -> None:
        """Let so many events go that the latest fault with `hold_after` stops, now or later."""
        self.released.release(events)

    def reset(self) -> None:
        """Forget requests, texts and faults. Serials of answers go on, and the vendor keeps its files."""
        with self.log.lock:
            self.log.seen.clear()
            self.log.faults.clear()
        self.source.clear()


class Simulator(Core):
    """A vendor at 127.0.0.1. Times in seconds; `port` 0 picks a free one, kept over stop() and start()."""

    def __init__(
        self,
        port: int = 0,
        latency: float = 0.0,
        chunk_delay: float = 0.0,
        seed: int | None = None,
        gzip: bool = False,
    ) -> None:
        super().__init__(latency, chunk_delay, seed, gzip)
        self.port = port
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Listen. Raises OSError when the port is taken, RuntimeError when it runs already."""
        if self._server is not None:
            raise RuntimeError("the simulator is running")
        from custody.testing.simulator.server import Server  # which needs the classes above

        self.stopping = threading.Event()
        self._server = Server(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Refuse connects and close the open connections; requests in flight get no further byte."""
        server, thread, self._server = self._server, self._thread, None
        if server is None or thread is None:
            return
        self.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
        server.hang_up(timeout=0.3)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_base_url(self) -> str:
        return self.url + "/v1"

    @property
    def anthropic_base_url(self) -> str:
        return self.url

    def env(self) -> dict[str, str]:
        """Environment variables that point the SDKs here."""
        return {
            "OPENAI_BASE_URL": self.openai_base_url,
            "OPENAI_API_KEY": "sk-simulator",
            "ANTHROPIC_BASE_URL": self.anthropic_base_url,
            "ANTHROPIC_API_KEY": "sk-ant-simulator",
            "GOOGLE_GEMINI_BASE_URL": self.url,
            "GOOGLE_VERTEX_BASE_URL": self.url,
            "GEMINI_API_KEY": "simulated-key",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.url,
            "AWS_REGION": "us-east-1",  # Anthropic's SDK reads this one, boto3 the next
            "AWS_DEFAULT_REGION": "us-east-1",
            "ANTHROPIC_BEDROCK_BASE_URL": self.url,
            "ANTHROPIC_VERTEX_BASE_URL": self.url + "/v1",
        }
