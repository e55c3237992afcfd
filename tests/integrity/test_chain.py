"""A chronolog followed in pieces is judged as the whole of it is."""

from __future__ import annotations

import hashlib
import json
import random
import re

import pytest

from custody.integrity import chronolog
from custody.integrity.chain import GENESIS, Chain


def linked(count: int) -> list[bytes]:
    lines, previous = [], GENESIS
    for number in range(1, count + 1):
        event = {"seq": number, "time": "t", "event": "llm_call_start", "call_id": f"w-{number}"}
        line = json.dumps({**event, "previous_sha256": previous}, separators=(",", ":")).encode()
        lines.append(line + b"\n")
        previous = hashlib.sha256(line).hexdigest()
    return lines


def damaged(lines: list[bytes], rng: random.Random) -> bytes:
    lines = list(lines)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines[at] = lines[at][: rng.randrange(len(lines[at]))] + b"\x18\n"
            case 2:
                lines[at] = lines[at].replace(b'"t"', b'"other"')
            case 3:
                lines[at] = b"[1]\n" if rng.random() < 0.5 else b"\n"
            case 4:
                lines[at] = lines[at].replace(b'"previous', b'"prior')
            case 5:
                lines.insert(at, lines[rng.randrange(len(lines))])
    data = b"".join(lines)
    return data[: rng.randrange(len(data))] if rng.random() < 0.3 else data


@pytest.mark.parametrize("seed", range(200))
def test_the_size_of_the_pieces_does_not_matter(seed: int) -> None:
    rng = random.Random(seed)
    data, bound = damaged(linked(12), rng), rng.randrange(1, 14)
    whole = Chain(bound).follow([data])
    pieces, at = [], 0
    while at < len(data):
        size = rng.choice((1, 7, 60, 400))
        pieces.append(data[at : at + size])
        at += size
    cut = Chain(bound).follow(pieces)
    for name in ("problems", "lines", "last", "met", "torn"):
        assert getattr(cut, name) == getattr(whole, name), name
    assert whole.lines == data.count(b"\n")
    assert whole.torn is not (data.endswith(b"\n") or not data)
    assert chronolog.problems(data) == whole.problems


def test_what_is_bound_is_met_where_it_stands() -> None:
    lines = linked(5)
    chain = Chain(3).follow(lines)
    assert chain.met == (3, hashlib.sha256(lines[2][:-1]).hexdigest())
    assert (Chain(6).follow(lines).met, Chain(6).follow(lines).last) == (None, 5)


def test_lines_are_found_whole_in_pieces_of_any_size() -> None:
    data = b"".join(linked(9)) + b'{"event":"llm_call_complete","call_id":"torn"'
    for size in (1, 5, 100, 10_000):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        found = b"\n".join(chronolog.whole_lines(pieces))
        assert found == data.rpartition(b"\n")[0]


@pytest.mark.parametrize("block", [1, 50, 130, 4000])
def test_the_latest_events_come_first_whatever_is_read_at_a_time(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronolog, "_BLOCK", block)
    monkeypatch.setattr(chronolog, "_MOST", 4 * block)
    data = b"".join(linked(30)) + b'{"seq":31,"event":"llm_call_start","call_id":"torn-9'
    wanted = re.compile(b'"call_id":"[^"]*9"')
    found = chronolog.latest(lambda at, size: data[at : at + size], len(data), wanted, b'"call_id":"')
    assert [event["seq"] for event in found] == [29, 19, 9]
