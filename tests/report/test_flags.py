"""Each flag: what raises it, and what must not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.report.flags import FLAGS, Judgement, judge


def line(requested: Any = "gpt-4o-2024-08-06", actual: Any = "gpt-4o-2024-08-06", **fields: Any) -> dict[str, Any]:
    """A call line that raises no flag, with these fields in place of its own."""
    plain = {
        "id": "w-1",
        "outcome": "success",
        "success": True,
        "answers": True,
        "ending": "complete",
        "status": 200,
        "source": "wire",
        "attempts": [{"exchange": "w-1.1", "status": 200, "ending": "complete", "error": None}],
        "model_forensics": {"requested_model": requested, "actual_model": actual, "vendor": "OpenAI"},
        "response_metadata": {"system_fingerprint": "fp_1", "finish_reason": "stop"},
        "evidence": {"requested_model": "request_body:model"},
    }
    vendor = fields.pop("vendor", None)
    if vendor:
        plain["model_forensics"]["vendor"] = vendor  # type: ignore[index]
    return {**plain, **fields}


def of(*lines: dict[str, Any]) -> Judgement:
    """The judgement of the last line."""
    return list(judge(lines))[-1]


def attempts(*each: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"exchange": f"w-1.{n}", "status": 200, "ending": "complete", "error": None, **a} for n, a in enumerate(each)
    ]


def test_nothing_to_flag() -> None:
    assert of(line()) == Judgement()


NAMES = {"alias_model", "model_differs", "vendor_differs"}
TABLE: list[tuple[dict[str, Any], set[str], set[str]]] = [
    # names: flags, what cannot be judged
    (line("gpt-4o"), {"alias_model"}, set()),
    (line("gpt-4o", "gpt-4o"), {"alias_model"}, set()),
    (line("openai/gpt-4o", "gpt-4o-2024-08-06"), {"alias_model"}, set()),
    (line("models/gemini-2.5-pro", "gemini-2.5-pro", vendor="Google"), {"alias_model"}, set()),
    (line("us.anthropic.claude-3-5-haiku-20241022-v1:0", "claude-3-5-haiku-20241022"), set(), set()),
    (line("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"), {"model_differs"}, set()),
    (line("gpt-4o", "gpt-4o-mini-2024-07-18"), {"alias_model", "model_differs"}, set()),
    (line("claude-sonnet-4-20250514", "gpt-4o-2024-08-06"), {"model_differs", "vendor_differs"}, set()),
    (line("mystery-2024-01-01", "enigma-2024-01-01"), {"model_differs"}, set()),
    (line("gpt-4o-2024-08-06", "gpt-4o"), set(), {"model_differs"}),
    (line("fast", "gpt-4o-2024-08-06", vendor="gateway.example"), set(), NAMES),
    (line("prod", "gpt-4o-2024-08-06", vendor="Azure OpenAI"), set(), NAMES),
    (line("gpt-4", "gpt-4o-2024-08-06", vendor="Azure OpenAI"), set(), NAMES),
    (line("gpt-4o", "gpt-4o-2024-08-06", vendor="Azure OpenAI"), set(), {"alias_model"}),
    (line("prod", "gpt-35-turbo", vendor="Azure OpenAI"), {"alias_model"}, {"model_differs", "vendor_differs"}),
    (line("prod", "gpt-4o-2024-08-06", evidence={"requested_model": "url:path deployments"}), set(),
     NAMES),
    (line("command-r-08-2024", None, vendor="Cohere"), set(), {"model_differs"}),
    (line("command-r", None, vendor="Cohere"), {"alias_model"}, {"model_differs"}),
    (line("arn:aws:sagemaker:us-east-1:012345678901:endpoint/e", "/opt/ml/model"), {"alias_model"},
     {"model_differs", "vendor_differs"}),
    (line(None, "gpt-4o"), set(), set()),
    (line(None, None), set(), set()),
    # a call that nobody answered is not judged by names
    (line("gpt-4o", None, answers=False, success=False, outcome="error", status=404), set(), set()),
    # outcomes
    (line(outcome="empty"), {"empty"}, set()),
    (line(outcome="truncated"), {"truncated"}, set()),
    (line(outcome="refused"), {"refused"}, set()),
    (line(outcome="filtered"), {"filtered"}, set()),
    (line(outcome="error", status=200, success=False), {"error_in_200"}, set()),
    (line(outcome="error", status=500, success=False), set(), set()),
    (line(outcome="error", status=None, ending="no_response", success=False), {"incomplete"}, set()),
    (line(outcome="closed_early", ending="closed_early"), {"incomplete"}, set()),
    (line(outcome="incomplete", ending="broken"), {"incomplete"}, set()),
    (line(outcome="incomplete", ending="complete"), {"incomplete"}, set()),
    # where it was seen
    (line(source="unseen"), {"unseen_on_wire"}, set()),
    (line(source="mock"), {"mock"}, set()),
    (line(source="cache"), {"cache"}, set()),
    (line(source="legacy", origin="reconstructed"), {"salvaged"}, set()),
    # attempts
    (line(attempts=attempts({"status": 429}, {})), {"retried"}, set()),
    (line(attempts=attempts({"status": None, "error": "ConnectError"}, {})), {"retried"}, set()),
    (line(attempts=attempts({"vendor": "OpenAI", "request_key": "a"}, {"vendor": "OpenAI", "request_key": "a"})),
     {"retried"}, set()),
    (line(attempts=attempts({"vendor": "OpenAI", "request_key": "a"}, {"vendor": "OpenAI", "request_key": "b"})),
     {"retried", "fallback"}, set()),
    (line(attempts=attempts({"vendor": "OpenAI"}, {"vendor": "Anthropic"})),
     {"retried", "fallback", "vendor_differs"}, set()),
    (line(attempts=attempts({"host": "a"}, {"host": "b"})), {"retried", "fallback"}, set()),
    (line(attempts=attempts({"model": "gpt-4o"}, {"model": "gpt-4.1"})), {"retried", "fallback"}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "flags", "unjudged"), TABLE)
def test_flags(fields: dict[str, Any], flags: set[str], unjudged: set[str]) -> None:
    found = of(fields)
    assert (set(found.flags), set(found.unjudged)) == (flags, unjudged)
    assert all(found.flags.values()) and all(found.unjudged.values()), "each says why"


def test_every_flag_is_in_the_table_and_in_the_docs() -> None:
    from pathlib import Path

    raised = {flag for _, flags, _ in TABLE for flag in flags}
    assert raised | {"model_changed", "fingerprint_changed"} == set(FLAGS)
    page = (Path(__file__).parents[2] / "docs" / "forensics.md").read_text()
    rows = [row.split("|")[1].strip() for row in page.splitlines() if row.startswith("| `")]
    assert [name.strip("`") for name in rows if name.strip("`") in FLAGS] == list(FLAGS)


def fingerprint(value: str) -> dict[str, Any]:
    return {"response_metadata": {"system_fingerprint": value}}


def test_changes_during_the_session() -> None:
    first, later = line("gpt-4o"), line("gpt-4o", "gpt-4o-2024-11-20")
    found = list(judge([first, first, later, first]))
    assert ["model_changed" in j.flags for j in found] == [False, False, True, False]
    assert "gpt-4o-2024-08-06" in found[2].flags["model_changed"]
    other = line("gpt-4o", "gpt-4o-2024-11-20", vendor="Azure OpenAI")
    assert "model_changed" not in of(first, other).flags, "another vendor is another model"
    assert "model_changed" not in of(first, line("gpt-4o-mini", "gpt-4o-mini-2024-07-18")).flags
    assert "model_changed" not in of(first, line("gpt-4o", None, answers=False)).flags


def test_a_fingerprint_changes_only_under_the_same_model() -> None:
    changed = of(line(), line(**fingerprint("fp_2")))
    assert set(changed.flags) == {"fingerprint_changed"}
    assert "fp_1" in changed.flags["fingerprint_changed"] and "fp_2" in changed.flags["fingerprint_changed"]
    other = line("gpt-4o", "gpt-4o-2024-11-20", **fingerprint("fp_2"))
    assert "fingerprint_changed" not in of(line("gpt-4o"), other).flags
    assert "fingerprint_changed" not in of(line(), line(response_metadata={})).flags


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
damaged = st.dictionaries(st.sampled_from(sorted(line())), json_values)


@given(st.lists(damaged, max_size=4))
def test_a_damaged_line_is_judged_without_an_error(parts: list[dict[str, Any]]) -> None:
    lines = [{**line(), **part} for part in parts]
    found = list(judge([*parts, *lines]))
    assert len(found) == 2 * len(parts)
    for judgement in found:
        assert set(judgement.flags) | set(judgement.unjudged) <= set(FLAGS)
        assert not set(judgement.flags) & set(judgement.unjudged)


models = st.sampled_from(["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-mini", "claude-sonnet-4-20250514", "prod", None])


@given(st.lists(st.tuples(models, models), min_size=1, max_size=8))
def test_judging_is_independent_of_what_comes_later(pairs: list[tuple[Any, Any]]) -> None:
    lines = [line(*pair) for pair in pairs]
    assert list(judge(lines))[: len(lines) - 1] == list(judge(lines[:-1]))
    assert "model_changed" not in next(judge(lines)).flags
