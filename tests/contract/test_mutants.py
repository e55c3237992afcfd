"""Storages that are right but for one thing, as others have written them: the contract says in words what it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

PLANTED = Path(__file__).parent / "planted"

MUTANTS = {
    "Unpadded": ("test_a_log_that_is_synced_many_times_stays_in_order", "are its pieces sorted as text"),
    "OnePage": ("test_a_listing_is_whole_however_long", "of 1001 objects 1000 are listed"),
    "LocksOfOneProcess": ("test_a_lock_is_known_in_another_process", "a lock is known in one process only"),
    "ClaimsOfOneProcess": ("test_a_claim_is_known_in_another_process", "a claim is known in one process only"),
    "LocksForEver": ("test_what_a_killed_process_held_becomes_free", "a lock whose holder was killed"),
    "ClaimsForEver": ("test_what_a_killed_process_held_becomes_free", "a claim whose holder was killed"),
    "LooksAndWrites": ("test_of_two_processes_exactly_one_wins", "looks and then writes, under a lock of one process"),
    "Milliseconds": ("test_modified_is_when_an_object_was_stored", "these are milliseconds"),
    "Constant": ("test_modified_is_when_an_object_was_stored", "that is another time"),
    "Zero": ("test_modified_is_when_an_object_was_stored", "it is nothing"),
    "FirstTime": ("test_modified_is_when_an_object_was_stored", "does not move when an object is replaced"),
    "AnyTime": ("test_modified_is_when_an_object_was_stored", "DID NOT RAISE"),
    "Clockless": ("test_modified_is_when_an_object_was_stored", "its locks are leases, and it has no modified()"),
    "Deduplicating": ("test_equal_lines_are_as_many_as_were_appended", "is taken for the same"),
    "Late": ("test_what_was_synced_survives_a_kill", "what it had synced is not all there"),
    "Boasting": ("test_what_is_appended_survives_a_kill_where_it_says_so", "Leave keeps_appends out"),
    "Silent": ("test_a_failure_is_said", "append and sync said nothing"),
    "Cut": ("test_what_is_large_is_kept_whole", "bytes 4194308 were kept"),
    "Unguarded": (
        "test_what_is_appended_during_a_sync_is_not_lost",
        "that was appended before it is not there|lines were lost",
    ),
    "Remembering": ("test_a_log_that_was_removed_comes_back_empty", "pieces of a log that was removed came back"),
    "Growing": ("test_put_replaces_a_log", "its pieces are still read"),
    "Caching": ("test_another_opening_reads_what_is_stored_now", "reads what it has read before"),
    "Addressed": ("test_objects_of_equal_content_are_independent", "does not exist|FileNotFoundError"),
    "Flat": ("test_a_folder_of_it_is_a_storage", "sessions below a root would not be found"),
    "Refusing": ("test_where_nothing_is_nothing_is_found_or_made", "raise custody.plugin.StorageNotFound"),
    "Making": ("test_where_nothing_is_nothing_is_found_or_made", "something is listed"),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What failed and what was said of it, by mutant and test; of ``Sound`` all tests are run."""
    folder = tmp_path_factory.mktemp("mutants")
    report, file = folder / "report.xml", PLANTED / "mutants.py"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("CUSTODY_", "PYTEST_"))}
    environ["PYTHONPATH"] = str(PLANTED)
    words = ["-q", "-p", "no:cacheprovider", "--timeout=60", f"--junitxml={report}", f"--basetemp={folder / 'tmp'}"]
    chosen = [f"{file}::TestSound", *(f"{file}::Test{name}::{test}" for name, (test, _) in MUTANTS.items())]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *chosen],
        env=environ, capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout + ran.stderr  # 1: tests ran, and some failed
    found: dict[str, dict[str, str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        mine = found.setdefault(case.attrib["classname"].rpartition(".Test")[2], {})
        for failure in case.findall("failure"):
            name = case.attrib["name"].partition("[")[0]
            mine[name] = mine.get(name, "") + failure.attrib["message"]
    return found


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_contract_says_what_is_wrong(said: dict[str, dict[str, str]], mutant: str) -> None:
    test, words = MUTANTS[mutant]
    assert re.search(words, said[mutant].get(test, "")), said[mutant]


def test_what_is_sound_passes(said: dict[str, dict[str, str]]) -> None:
    assert said["Sound"] == {}
    kinds = re.findall(r"^class (\w+)\((?:Pieces|WithLog)\)", (PLANTED / "pieces.py").read_text(), re.MULTILINE)
    assert {*kinds} - {"WithLog", "Sound"} == {*MUTANTS}, "a mutant that nobody asks about"
