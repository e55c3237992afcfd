"""What is found in each older layout, in numbers that were counted by hand, and that finding it changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custody.errors import UsageError
from custody.migrate import plan, report

# Counted by hand in trees.py. What is not named is 0.
EXPECTED: dict[str, dict[str, Any]] = {
    "gen2": {
        "calls": {"total": 9, "captured": 7, "reconstructed": 1, "unknown": 1, "answers": 6},
        "found": {"joined_ids": 2, "duplicate_lines": 1, "out_of_order": 1, "repr_dicts": 1, "failed": 1,
                  "errors_as_responses": 1, "died_mid_call": 1},
        "files": {"migrated": 1, "kept": 3, "ignored": 2},
        "checks": {"hmac": {"verified": 1}},
    },
    "ensemble": {
        "calls": {"total": 4, "captured": 0, "reconstructed": 3, "unknown": 1, "answers": 2},
        "found": {"joined_ids": 2, "same_answer_elsewhere": 4, "same_call_elsewhere": 2, "failed": 1,
                  "workflow_errors": 2, "responses_not_recorded": 1},
        "files": {"migrated": 3, "kept": 0, "ignored": 0},
        "checks": {"hmac": {"verified": 30}},
    },
    "gen3a": {
        "calls": {"total": 5, "captured": 0, "reconstructed": 4, "unknown": 1, "answers": 3},
        "found": {"joined_ids": 2, "same_answer_elsewhere": 1, "out_of_order": 7, "unknown_session": 1,
                  "assigned_by_time": 1, "repr_dicts": 1, "failed": 1, "died_mid_call": 1},
        "files": {"migrated": 2, "kept": 3, "ignored": 0},
        "checks": {"hmac": {"verified": 2}},
    },
    "gen3b": {
        "calls": {"total": 6, "captured": 0, "reconstructed": 5, "unknown": 1, "answers": 4},
        "found": {"joined_ids": 6, "split_results": 1, "same_answer_elsewhere": 8, "duplicate_lines": 1,
                  "out_of_order": 1, "unknown_session": 1, "repr_dicts": 1, "errors_as_responses": 1,
                  "died_mid_call": 1, "workflow_errors": 2, "unreadable_lines": 1, "empty_files": 1, "symlinks": 3,
                  "documents_twice": 2},
        "files": {"migrated": 3, "kept": 13, "ignored": 3},
        "checks": {"content_hash": {"verified": 9, "wrong": 1, "missing": 1},
                   "event_id": {"verified": 9, "wrong": 1, "missing": 1},
                   "hmac": {"verified": 1, "wrong": 1, "missing": 1}},
    },
    "gen4": {
        "calls": {"total": 5, "captured": 4, "reconstructed": 0, "unknown": 1, "answers": 3},
        "found": {"errors_as_responses": 1, "died_mid_call": 1},
        "files": {"migrated": 10, "kept": 0, "ignored": 0},
        "checks": {},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_exact_counts(name: str, tree: Callable[[str], Path]) -> None:
    source, expected = tree(name), EXPECTED[name]
    found = report.as_dict(plan.make(source))
    assert found["calls"] == expected["calls"]
    assert {k: v for k, v in found["found"].items() if v} == expected["found"]
    by_disposition = {d: sum(f["disposition"] == d for f in found["files"]) for d in ("migrated", "kept", "ignored")}
    assert by_disposition == expected["files"]
    checks = {c["check"]: {k: v for k, v in c.items() if k not in ("check", "worth")} for c in found["checks"]}
    assert checks == expected["checks"]
    assert all("proves nothing" in check["worth"] for check in found["checks"])
    assert all(file["reason"] for file in found["files"])
    total = sum(p.lstat().st_size for p in source.rglob("*") if p.is_file() and not p.is_symlink())
    assert found["bytes"]["total"] == total
    assert sum(found["bytes"][d] for d in ("migrated", "kept", "ignored")) == total
    assert found["bytes"]["accounted_for"]


def test_four_ids_are_one_run(tree: Callable[[str], Path]) -> None:
    (session,) = plan.make(tree("gen3b")).sessions
    assert set(session.run.ids) == {
        "discernus_session_2025-07-17_15-51-21", "session_20250717_155121", "session_20250717_155122",
        "session_20250717_195121", "conversation_20250717_155121_0a1b2c3d", "2025-07-17_15-51-21",
        "2025-07-17_15-51-22",
    }  # fmt: skip
    assert session.session == "session_20250717_195121"  # in UTC, by the log's first line
    assert session.run.ids["session_20250717_195121"].startswith("the same in UTC (-4 h)")
    assert {(c.corpus_file, c.run) for c in session.calls if c.answers} == {
        ("speech_one.txt", 1), ("speech_one.txt", 2), ("речь (два).txt", 1), ("речь (два).txt", 2),
    }  # fmt: skip


def test_two_runs_in_one_second_stay_two(tree: Callable[[str], Path]) -> None:
    sessions = plan.make(tree("gen4")).sessions
    assert [s.session for s in sessions] == ["session_20250801_120000", "session_20250801_120000_2"]
    assert [len(s.calls) for s in sessions] == [3, 2]


def test_an_event_of_no_session_goes_to_the_run_that_was_under_way(tree: Callable[[str], Path]) -> None:
    first, second = plan.make(tree("gen3a")).sessions
    assert (first.session, second.session) == ("session_20250714_130000", "session_20250714_170000")
    assert [c.response for c in second.calls] == ["Late answer."]
    assert {c.response for c in first.calls if c.answers} == {"Raw answer of a b's run 1.", "Raw answer of ü's run 1."}


def test_the_framework_is_the_one_that_the_run_names(tree: Callable[[str], Path]) -> None:
    found = {d.what: d for d in plan.make(tree("gen3b")).definitions}
    assert found["framework"].path == "projects/MVA/experiment_2/character_framework_v5.0 (final).md"
    assert found["framework"].content == found["experiment"].content == "equal"


def test_names_of_projects_and_experiments(tree: Callable[[str], Path]) -> None:
    homes = {name: plan.make(tree(name)).sessions[0].home[:2] for name in ("gen2", "gen3a", "gen3b")}
    assert homes == {
        "gen2": ("old gen2", "pilot study"),
        "gen3a": ("harbour", "01_smoke"),
        "gen3b": ("MVA", "experiment_2"),
    }


def test_the_source_may_be_the_experiment_itself(tree: Callable[[str], Path]) -> None:
    source = tree("gen3b") / "projects" / "MVA" / "experiment_2"
    (session,) = plan.make(source).sessions
    assert session.home[:2] == ("MVA", "experiment_2")
    assert len(session.calls) == 6


def test_all_generations_in_one_folder(tmp_path: Path, trees: Any) -> None:
    for name, make in trees.TREES.items():
        make(tmp_path / "all" / name)
    found = report.as_dict(plan.make(tmp_path / "all"))
    assert found["generations"] == ["gen2", "gen3a", "gen3b", "gen4"]
    assert found["calls"]["total"] == sum(e["calls"]["total"] for e in EXPECTED.values())
    assert found["calls"]["answers"] == sum(e["calls"]["answers"] for e in EXPECTED.values())
    assert found["bytes"]["accounted_for"]


def test_planning_changes_nothing(tree: Callable[[str], Path], digests: Callable[[Path], dict[str, str]]) -> None:
    source = tree("gen3b")
    before = digests(source.parent)
    plan.make(source)
    assert digests(source.parent) == before


def test_a_folder_without_an_older_layout(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing of it")
    with pytest.raises(UsageError, match="no older layout is recognised in these 1 files"):
        plan.make(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        plan.make(tmp_path / "missing")


def test_one_name_for_several_experiments_is_refused(tmp_path: Path, trees: Any) -> None:
    trees.gen2(tmp_path / "a")
    trees.gen4(tmp_path / "b")
    with pytest.raises(UsageError, match="--experiment names one experiment"):
        plan.make(tmp_path, experiment="E")


def test_a_file_that_cannot_be_read_is_accounted_for(
    tree: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tree("gen4")
    opened = os.open

    def refuse(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith("response_001.txt"):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    found = report.as_dict(plan.make(source))
    refused = [f for f in found["files"] if f["kind"] == "unreadable"]
    assert [f["reason"] for f in refused] == ["Permission denied", "Permission denied"]
    assert found["bytes"]["accounted_for"]


def test_what_a_later_step_made_of_an_answer_is_no_second_one(tree: Callable[[str], Path]) -> None:
    source = tree("gen3b")
    (path,) = source.glob("**/state_after_step_2_*.json")
    path.write_text(path.read_text().replace("Analysis of speech_one.txt, run 2", "Extracted from run 2"))
    found = report.as_dict(plan.make(source))
    assert found["calls"] == EXPECTED["gen3b"]["calls"]
    assert (found["found"]["differing_states"], found["found"]["same_answer_elsewhere"]) == (1, 7)


@pytest.mark.parametrize(
    ("first", "session", "zone"),
    [
        ("2025-07-05T21:25:09", "session_20250705_212508", "its name, and the zone by its logs"),  # UTC, and not said
        ("2025-07-05T21:25:09Z", "session_20250705_212508", "its name, and the zone by its logs"),
        ("2025-07-05T17:25:09-04:00", "session_20250705_212508", "its name, and the zone by its logs"),
        ("2025-07-05T17:25:09", "session_20250705_172508", "its name; its zone is not recorded, and taken as UTC"),
        (None, "session_20250705_172508", "its name; its zone is not recorded, and taken as UTC"),
        ("2025-07-05T18:13:47Z", "session_20250705_181347", "its first line"),
    ],
)
def test_stamps_with_a_zone_and_without(first: str | None, session: str, zone: str, tmp_path: Path, trees: Any) -> None:
    line = {**trees.conversation_line("", "a", "x", "llm_response"), "timestamp": first}
    trees.write(tmp_path / "conversations/conversation_20250705_172508_5ff0163e.jsonl", trees.jsonl([line]))
    (found,) = plan.make(tmp_path).sessions
    assert (found.session, found.started_by) == (session, zone)
    (call,) = found.calls
    if call.time is not None:
        assert abs((found.utc(call.time) - found.started).total_seconds()) <= 1
