"""A session of very many calls, written through the real journal: ``python -m benchmarks.synthetic ROOT CALLS``.

One real call stands in the middle; the others are made after it, with identities of their own, 1 KB of prompt
and 0.5 KB of answer each. The process ends without a word, as one that was killed: the session can be resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from typing import Any

import openai

import custody
from benchmarks import calls, text
from custody.journal.archive import Archive
from custody.stamps import now

_BATCH = 200
Pattern = list[tuple[str, dict[str, Any]]]
REAL = 9_999_999


def ask(client: Any) -> str:
    """The call that a resumed session is asked for."""
    made = client.chat.completions.create(model=calls.MODEL, messages=calls.messages(REAL, 60))
    return str(made.id)


def main() -> None:
    root, count = sys.argv[1], int(sys.argv[2])
    session = custody.session(project="bench", experiment="scale", root=root)
    client = openai.OpenAI(max_retries=0)
    client.chat.completions.create(model=calls.MODEL, messages=calls.messages(REAL - 1, 60))
    journal = session.flow.journal
    pattern = _pattern(session.flow.storage)
    prose = text.Writer(seed=3).text(200_000)
    written = 0
    for start in range(0, count, _BATCH):
        if start <= count // 2 < start + _BATCH:
            ask(client)
        numbers = range(start, min(start + _BATCH, count))
        names = [journal.next_id() for _ in numbers]
        before = [
            line
            for name, number in zip(names, numbers, strict=True)
            for line in _exchange(pattern, name, prose[number * 37 % 190_000 :][:1000])
        ]
        _, sealed = journal.append(before)
        own = len(pattern) - 1
        committed = [sealed[at : at + own] for at in range(0, len(sealed), own)]
        last, committing = journal.append(
            [
                _call(pattern, name, number, *lines)
                for name, number, lines in zip(names, numbers, committed, strict=True)
            ]
        )
        journal.sync_to(last)
        _events(session, names)
        written += sum(map(len, (*sealed, *committing)))
    segments = len({entry.name.partition(".")[0] for entry in session.flow.storage.list("llm_archive/")})
    told = {"session": session.id, "path": session.flow.storage.url, "bytes": written, "segments": segments}
    print(json.dumps(told))
    sys.stdout.flush()
    os._exit(9)


def _events(session: Any, names: list[str]) -> None:
    """What the chronolog says of these calls, in one append."""
    events = session.flow.chronolog

    def make(last: bytes | None) -> list[bytes]:
        made: list[bytes] = []
        for name in names:
            for event, fields in (("llm_call_start", {}), ("llm_call_complete", {"success": True})):
                made += events._maker(event, now(), {"call_id": name, **fields})(made[-1][:-1] if made else last)
        return made

    events._shared.append(make)


def _pattern(storage: Any) -> Pattern:
    """The three lines of the real call."""
    archive = Archive(storage)
    archive.refresh()
    call = next(iter(archive.calls.values()))
    name = call.terminal
    assert name is not None
    response = _lines(archive, call.exchanges[name].response)
    return [("request", archive.request(call)), *response, ("call", dict(call.fields))]


def _lines(archive: Any, places: Any) -> list[tuple[str, dict[str, Any]]]:
    found = [json.loads(archive.raw(place)) for place in places]
    return [(fields["kind"], fields) for fields in found]


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in ("kind", "seq", "crc32")}


def _exchange(pattern: Pattern, name: str, prompt: str) -> list[tuple[str, dict[str, Any]]]:
    """The request and response lines of one call."""
    made = []
    for kind, fields in pattern[:-1]:
        new = {**_plain(fields), "exchange": f"{name}.1", "salt": secrets.token_hex(16)}
        if kind == "request":
            new["call"] = name
            new["body"] = {"text": json.dumps({"model": calls.MODEL, "messages": [{"content": prompt}]})}
        made.append((kind, new))
    return made


def _call(pattern: Pattern, name: str, number: int, request: bytes, *response: bytes) -> tuple[str, dict[str, Any]]:
    """The call line that commits to them."""
    fields = _plain(pattern[-1][1])
    attempt = {
        **fields["attempts"][0],
        "exchange": f"{name}.1",
        "request_sha256": hashlib.sha256(request).hexdigest(),
        "response_sha256": hashlib.sha256(b"".join(response)).hexdigest(),
    }
    scope = {"document": number % 1000, "run": number // 1000}
    key = hashlib.sha256(name.encode()).hexdigest()
    return "call", {**fields, "id": name, "scope": scope, "request_key": key, "attempts": [attempt]}


if __name__ == "__main__":
    main()
