"""Rows of sessions: what stands in them, in which order, and what becomes of damage."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.export import stream
from custody.export.call import Row
from custody.export.columns import COLUMNS, CONTENT, chosen
from custody.export.stream import Export
from custody.export.values import values
from custody.journal.scan import Place
from custody.journal.segments import Segments
from custody.report import by_segment
from custody.storage import Storage


def rows(*storages: Storage, **options: Any) -> list[dict[str, Any]]:
    wanted = Export(storages, **options)
    names = [column.name for column in wanted.columns]
    return [dict(zip(names, row, strict=True)) for group in wanted for row in group]


def test_names_are_not_taken_twice() -> None:
    every = (*COLUMNS, *CONTENT)
    assert len({column.name for column in every}) == len({column.short for column in every}) == len(every)


def test_a_row_is_what_its_call_line_says(made: Path) -> None:
    opened = custody.open(made)
    found = rows(opened.storage)
    calls = opened.calls()
    assert [row["custody.call"] for row in found] == [call.id for call in calls] and len(found) == 7
    first, line = found[0], calls[0].fields
    assert first["gen_ai.operation.name"] == "chat" and first["gen_ai.request.model"] == "gpt-4o"
    assert first["gen_ai.response.model"] == line["model_forensics"]["actual_model"]
    assert first["gen_ai.response.finish_reasons"] == ["stop"]
    assert (first["gen_ai.request.temperature"], first["gen_ai.request.max_tokens"]) == (0.2, 55)
    assert first["gen_ai.usage.input_tokens"] == sum(line["usage"][n] or 0 for n in ("input", "cache_read"))
    assert first["custody.cost_usd"] == line["cost"]["cost_usd"] is not None
    assert first["custody.cost"] == Decimal(line["cost"]["cost_usd"])
    assert (first["server.address"], first["server.port"]) == ("127.0.0.1", int(first["custody.vendor"].split(":")[1]))
    assert first["custody.scope.stage"] == "analysis" and first["custody.scope.document"] == "=cmd()|a.txt"
    assert (first["custody.scope.run"], first["custody.scope.condition"]) == ("0", "x")
    assert first["custody.project"] == "P" and first["custody.experiment"] == "E"
    assert first["custody.started"] == datetime.fromisoformat(line["started"]).astimezone(UTC)
    assert first["custody.duration"] > 0
    raw = opened.archive.raw(
        Place(first["custody.segment"], first["custody.segment.offset"], first["custody.segment.size"])
    )
    assert f'"id":"{first["custody.call"]}"'.encode() in raw, "the pointer leads to the call line"
    refused = found[-1]
    assert (refused["custody.outcome"], refused["error.type"]) == ("error", "429")


def test_unknown_is_none_and_never_zero(made: Path, written: Any) -> None:
    streamed = rows(custody.open(made).storage)[1]
    assert streamed["custody.streamed"] is True
    usage = [n for n in streamed if "usage" in n or n.startswith("custody.tokens")]
    assert [streamed[name] for name in (*usage, "custody.cost", "custody.cost_usd")] == [None] * (len(usage) + 2)
    bare = rows(written.storage)[0]
    assert bare["gen_ai.request.model"] is bare["custody.tokens.total"] is bare["custody.cost"] is None
    assert bare["custody.cost_status"] == "unknown"


def test_content_only_when_it_is_asked_for(made: Path) -> None:
    storage = custody.open(made).storage
    assert not any(
        "Grüße" in str(value) or "This is answer" in str(value) for row in rows(storage) for value in row.values()
    )
    whole, streamed = rows(storage, content=True)[:2]
    assert "Grüße" in whole["custody.request.body"] and "answer" in whole["custody.response.body"]
    assert streamed["custody.response.body"].startswith("data: ")


def test_lines_in_another_segment_are_found(written: Any) -> None:
    found = {row["custody.scope"]: row for row in rows(written.storage, content=True)}
    assert len(found) == 21 and len(Segments(written.storage).list()) > 3
    assert all("text" in row["custody.response.body"] for scope, row in found.items() if "1000" not in scope)
    late = found['{"run":1000}']
    assert (late["custody.request.body"], late["custody.response.body"]) == ("early", "late, in another segment")


def test_groups_are_in_order_and_their_size_changes_no_row(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(written.storage)
    assert [row["custody.started"] for row in whole] == sorted(row["custody.started"] for row in whole)
    monkeypatch.setattr(stream, "GROUP", 4)
    wanted = Export([written.storage, written.storage])
    sizes = [len(group) for group in wanted]
    assert sizes == [4] * 10 + [2] and wanted.rows == 42
    assert sorted(map(str, rows(written.storage))) == sorted(map(str, whole))


def test_lines_that_stand_twice_count_once(written: Any) -> None:
    """As after a disk refused a write: the writer writes them again, into its next segment."""
    names = [name for name, _ in Segments(written.storage).list()]
    before = rows(written.storage)
    again = written.storage.root / f"{names[-1].rpartition('-')[0]}-000099.jsonl"
    lines = b"".join((written.storage.root / name).read_bytes().partition(b"\n")[2] for name in names[:2])
    again.write_bytes((written.storage.root / names[0]).read_bytes().partition(b"\n")[0] + b"\n" + lines)
    assert rows(written.storage) == before


def test_damage_costs_its_own_call_and_is_counted(written: Any) -> None:
    name = Segments(written.storage).list()[1][0]
    path = written.storage.root / name
    data = path.read_bytes()
    at = data.index(b'{"kind":"call"') + 40
    path.write_bytes(data[:at] + b"\x00" + data[at + 1 :])
    wanted = Export([written.storage])
    assert sum(map(len, wanted)) == 20 and wanted.damaged == 1


def test_a_hostile_line_gives_unknowns() -> None:
    line = {
        "id": 7, "scope": {"stage": True, "run": "\ud800"}, "replicate": 2**80, "attempts": "x", "status": "200",
        "model_forensics": {"vendor": {"a": 1}}, "response_metadata": {"finish_reason": 3, "response_time_ms": "x"},
        "usage": {"input": True, "output": 1.5}, "cost": {"cost_usd": "NaN", "status": []}, "started": "now",
        "parameters": {"temperature": float("inf"), "top_p": 10**400}, "evidence": [1],
    }  # fmt: skip
    columns = chosen(content=True)
    found = dict(zip([c.name for c in columns], values(columns, Row(line, Place("s", 0, 1), "P", "E")), strict=True))
    kept = {name: value for name, value in found.items() if value is not None}
    assert kept.pop("custody.scope").startswith('{"stage":true')
    assert kept.pop("custody.parameters")
    assert kept == {
        "custody.project": "P", "custody.experiment": "E", "custody.scope.stage": "True", "custody.scope.run": "?",
        "custody.segment": "s", "custody.segment.offset": 0, "custody.segment.size": 1,
    }  # fmt: skip


def test_an_engine_opens_sessions_by_their_url(written: Any) -> None:
    where = by_segment.url(written.storage)
    assert Path(where).is_absolute()
    names = [name for name, _ in by_segment.reopened(where).list()]
    assert names == [name for name, _ in Segments(written.storage).list()]
    assert hashlib.sha256(by_segment.reopened(where).read(names[0])).digest()
