"""Sessions for tests, written line by line through the journal."""

from __future__ import annotations

import hashlib
from pathlib import Path

from custody.identity import Identity
from custody.journal import lines
from custody.journal.closing import Closer
from custody.journal.ledger import Ledger
from custody.journal.writer import Journal
from custody.redact import Redactor
from custody.storage.local import LocalStorage


def refuse(writer: str, sealed: list[bytes]) -> str:
    raise AssertionError("nothing has to be spilled here")


def identity(number: int) -> Identity:
    return Identity(hashlib.sha256(b"scope").hexdigest(), hashlib.sha256(str(number).encode()).hexdigest(), 1)


class Written:
    """A session's archive and a journal that writes calls into it."""

    def __init__(self, root: Path, *, rotate_bytes: int = 64 * 1024 * 1024, compress_from: int = 2**40) -> None:
        self.storage = LocalStorage(root)
        self.closer = Closer(self.storage, Ledger(self.storage), compress_from=compress_from)
        self.journal = Journal(
            self.storage, "session_x", Redactor(), refuse, rotate_bytes=rotate_bytes, closer=self.closer
        )

    def request(self, number: int, text: str = "prompt") -> str:
        call, who = self.journal.next_id(), identity(number)
        fields = {
            "exchange": f"{call}.1", "call": call, "time": "2026-01-01T00:00:00.000000Z", "scope": {"run": number},
            "scope_key": who.scope, "request_key": who.key, "replicate": who.replicate, "operation": "chat",
            "body": lines.pack(text.encode()),
        }  # fmt: skip
        _, (self.sealed,) = self.journal.append([("request", fields)])
        return call

    def respond(self, call: str, number: int, chunks: list[bytes], *, answers: bool = True, **more: object) -> None:
        head = {"status": 200, "reason": "OK", "http_version": "HTTP/1.1", "headers": [["x-a", "1"]], "decoded": False}
        _, sealed = self.journal.append(
            [
                ("response", {"exchange": f"{call}.1", "at_ms": 1.0, **head}),
                *(("chunk", {"exchange": f"{call}.1", "at_ms": 2.0, "body": lines.pack(c)}) for c in chunks),
                ("end", {"exchange": f"{call}.1", "at_ms": 3.0, "ending": "complete"}),
            ]
        )
        self.commit(call, number, hashlib.sha256(b"".join(sealed)).hexdigest(), answers=answers, **more)

    def commit(self, call: str, number: int, digest: str | None, *, answers: bool = True, **more: object) -> None:
        who = identity(number)
        request = hashlib.sha256(self.sealed).hexdigest()
        fields = {
            "id": call, "session": "session_x", "started": f"2026-01-01T00:00:00.{number:06d}Z",
            "ended": f"2026-01-01T00:00:01.{number:06d}Z", "outcome": "success", "success": answers, "answers": answers,
            "ending": "complete", "status": 200 if answers else 500, "error": None, "scope": {"run": number},
            "run_number": number, "scope_key": who.scope, "request_key": who.key, "replicate": who.replicate,
            "operation": "chat", "streamed": True, "source": "wire", "redacted": False,
            "attempts": [{"exchange": f"{call}.1", "request_sha256": request, "response_sha256": digest}],
            "model_forensics": {}, **more,
        }  # fmt: skip
        self.journal.append([("call", fields)])

    def call(self, number: int, chunks: list[bytes] | None = None, *, answers: bool = True, **more: object) -> str:
        """``more``: fields of the call line."""
        call = self.request(number)
        self.respond(call, number, chunks or [f"answer {number}".encode()], answers=answers, **more)
        return call

    def close(self) -> None:
        self.journal.close()
