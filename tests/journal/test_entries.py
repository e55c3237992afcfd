"""What is read of a call line without parsing it is what parsing it gives."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from custody.journal import entries, lines

hostile = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            'x},"run_number":1,"scope_key":"a","request_key":"b","replicate":9,"operation":"c","streamed":true,',
            '"attempts":[{"exchange":"z"}],"model_forensics":{',
            'a"b\\',
            '","seq":1,',
        ]
    ),
)
names = st.one_of(st.sampled_from(["scope_key", "run_number", "request_key", "replicate", "attempts"]), hostile)
plain = st.one_of(hostile, st.integers(), st.booleans(), st.none())


@given(
    scope=st.dictionaries(names, plain, max_size=6),
    annotations=st.dictionaries(names, st.one_of(plain, st.dictionaries(names, plain, max_size=3)), max_size=4),
    error=st.one_of(st.none(), hostile),
    outcome=hostile,
    status=st.one_of(st.none(), st.integers(100, 599)),
    ending=st.sampled_from(["complete", "closed_early", "broken", "no_response"]),
    answers=st.booleans(),
    run=st.one_of(st.none(), st.integers()),
    attempts=st.lists(st.tuples(st.sampled_from(["w-1.1", "w-1.2", 'w"1.3', "ä.1"]), hostile), max_size=3),
)
def test_the_fast_way_and_the_sure_one_agree(
    scope: dict[str, Any], annotations: dict[str, Any], error: Any, outcome: str, status: Any, ending: str,
    answers: bool, run: Any, attempts: list[tuple[str, str]],
) -> None:  # fmt: skip
    fields = {
        "id": "w-1", "session": "s", "started": "2026-11-28T23:59:59.999999Z", "ended": "2027-01-01T00:00:00.000001Z",
        "outcome": outcome, "success": True, "answers": answers, "ending": ending, "status": status, "error": error,
        "scope": scope, "run_number": run, "scope_key": "s" * 64, "request_key": "k" * 64, "replicate": 3,
        "operation": "chat", "streamed": True, "source": "wire", "redacted": False,
        "attempts": [{"exchange": name, "error": text} for name, text in attempts],
        "model_forensics": {}, "annotations": annotations,
    }  # fmt: skip
    line = lines.seal(lines.unsealed("call", 5, fields))[:-1]
    assert entries.summary(line) == entries._parsed(line)
    made = entries._parsed(line)
    assert entries.named(line) == (made and (made.id.encode(), [name.encode() for name in made.exchanges]))


def test_the_fast_way_is_taken_for_lines_of_this_version(monkeypatch: Any) -> None:
    """Else the test above would compare a thing with itself."""
    monkeypatch.setattr(entries, "_parsed", lambda line: None)
    fields = {
        "id": "w-1", "session": "s", "started": "2026-11-28T23:59:59.999999Z", "ended": "2026-11-28T23:59:59.999999Z",
        "outcome": "success", "success": True, "answers": True, "ending": "complete", "status": 200, "error": None,
        "scope": {"run": 1}, "run_number": 1, "scope_key": "s", "request_key": "k", "replicate": 1, "operation": "chat",
        "streamed": False, "source": "wire", "redacted": False, "attempts": [{"exchange": "w-1.1"}],
        "model_forensics": {},
    }  # fmt: skip
    said = entries.summary(lines.seal(lines.unsealed("call", 5, fields))[:-1])
    assert said is not None
    assert (said.id, said.exchanges, said.started, said.answers, said.failed) == (
        "w-1", ("w-1.1",), 1_795_910_399_999_999, True, True,
    )  # fmt: skip
