"""The nearest archived request: fewest differences, then the most alike, then the nearest scope."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from custody.identity.difference import leaves
from custody.journal import lines
from custody.journal import nearest as nearest_module
from custody.journal.archive import Archive
from custody.journal.nearest import nearest, stored_leaves
from custody.storage.local import LocalStorage

URL = "https://api.example/v1/chat"


class Session:
    """An archive made line by line."""

    def __init__(self, root: Path) -> None:
        self.storage = LocalStorage(root)
        self._lines = [lines.opening("s", "w", 1)]

    def _add(self, kind: str, fields: dict[str, Any]) -> None:
        self._lines.append(lines.seal(lines.unsealed(kind, len(self._lines), fields)))

    def call(self, number: int, *bodies: Any, scope: dict[str, Any] | None = None, keys: bool = False) -> None:
        """A call of several attempts, one a body; with ``keys`` each asks something of its own."""
        attempts = []
        for n, body in enumerate(bodies, 1):
            exchange = f"w-{number}.{n}"
            attempts.append({"exchange": exchange, **({"request_key": f"key {n}"} if keys else {})})
            if body is not None:
                request = {"method": "POST", "url": URL, "headers": [], "body": {"text": json.dumps(body)}}
                self._add("request", {"exchange": exchange, "call": f"w-{number}", **request})
        common = {"scope_key": "k", "request_key": str(number), "replicate": 1, "ending": "complete", "answers": True}
        self._add("call", {"id": f"w-{number}", "scope": scope or {}, "attempts": attempts, "status": 200, **common})

    def archive(self) -> Archive:
        self.storage.put("llm_archive/w-000001.jsonl", b"".join(self._lines))
        archive = Archive(self.storage)
        archive.refresh()
        return archive


def asked(body: Any) -> dict[str, Any]:
    return leaves("POST", URL, (), json.dumps(body).encode(), {})


def found(session: Session, body: Any, labels: dict[str, Any] | None = None, most: int | None = None) -> str:
    best = nearest(session.archive(), labels or {}, asked(body), most=most)
    assert best is not None
    return best.exchange


def test_fewest_differences_first(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.call(1, {"text": "Say hello", "n": 1, "m": 1})
    session.call(2, {"text": "quite another text", "n": 2, "m": 2})
    assert found(session, {"text": "Say hello", "n": 2, "m": 2}) == "w-2.1"


def test_then_the_most_alike(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.call(1, {"text": "Tell me a story"})
    session.call(2, {"text": "Say hello to the harbour"})
    session.call(3, {"text": "Say something"})
    assert found(session, {"text": "Say hello to the harbor"}) == "w-2.1"


def test_then_the_nearest_scope(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.call(1, {"text": "Hello"}, scope={"run": 1})
    session.call(2, {"text": "Hello"}, scope={"run": 2})
    assert found(session, {"text": "Hello"}, {"run": 2}) == "w-2.1"
    assert found(session, {"text": "Hello"}, {"run": 1}) == "w-1.1"
    assert found(session, {"text": "Hello!"}, {"run": 2}, most=1) == "w-2.1"


def test_every_request_of_a_call_that_asked_different_things(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.call(1, {"model": "a"}, {"model": "b"}, keys=True)
    assert found(session, {"model": "a"}) == "w-1.1"
    assert found(session, {"model": "b"}) == "w-1.2"


def test_a_request_that_is_lost_is_passed_over(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.call(1, None)
    session.call(2, {"text": "Hello"})
    assert found(session, {"text": "Hello"}) == "w-2.1"


def test_an_empty_archive_has_none(tmp_path: Path) -> None:
    assert nearest(Session(tmp_path).archive(), {}, asked({})) is None


def test_stored_leaves_are_those_of_the_request(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.call(1, {"text": "Hello"})
    archive = session.archive()
    assert stored_leaves(archive.request(archive.calls["w-1"])) == asked({"text": "Hello"})


def test_of_very_many_calls_a_few_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(tmp_path)
    for number in range(1000):
        session.call(number, {"text": f"document {number}"})
    archive = session.archive()
    monkeypatch.setattr(nearest_module, "_LOOKED_AT", 100)
    archive.response(archive.calls["w-700"])
    read = []
    line = archive.line

    def counted(place: Any, raw: bytes | None = None) -> dict[str, Any]:
        read.append(place)
        return line(place, raw)

    monkeypatch.setattr(archive, "line", counted)
    for call in archive.live.calls.values():
        call.load = counted
    best = nearest(archive, {}, asked({"text": "document 705!"}), most=200)
    assert best is not None
    assert best.exchange == "w-705.1"
    assert len(set(read)) <= 210  # a call line and a request line each
