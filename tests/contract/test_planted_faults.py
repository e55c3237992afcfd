"""The contracts catch what they are for: every planted fault fails the test that names it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

PLANTED = Path(__file__).parent / "planted"

STORAGES = {
    "Overwriting": "test_put_if_absent_stores_once",
    "Racing": "test_put_if_absent_has_exactly_one_winner",
    "Torn": "test_put_replaces_atomically",
    "Unsorted": "test_list_gives_names_sorted_and_sizes",
    "Foldered": "test_list_takes_a_prefix_of_the_name",
    "Sizeless": "test_list_gives_names_sorted_and_sizes",
    "Offsetless": "test_read_takes_offset_and_size",
    "Short": "test_read_gives_fewer_bytes_only_at_the_end",
    "Forgiving": "test_what_is_not_there_cannot_be_read",
    "Truncating": "test_a_log_that_exists_is_not_created_again",
    "Lazy": "test_a_log_gives_back_what_was_appended_in_order",
    "Unlinked": "test_shared_appends_from_threads_are_linked",
    "Unlocked": "test_a_lock_is_exclusive_and_never_waits",
    "Unshared": "test_shared_locks_keep_out_the_exclusive_one_only",
    "Coarse": "test_a_claim_has_one_holder_a_token",
    "Littering": "test_many_claims_leave_nothing_behind",
    "Escaping": "test_names_that_lead_outside_are_refused",
    "Forgetful": "test_what_was_stored_is_there_when_opened_again",
}

VENDORS = {
    "Greedy": "test_it_claims_nothing_of_others",
    "Misnamed": "test_a_claim_is_stable_and_carries_the_plugins_name",
    "Moody": "test_a_claim_is_stable_and_carries_the_plugins_name",
    "Inventing": "test_reading_survives_any_bytes_and_invents_nothing",
    "Echoing": "test_it_reads_what_the_samples_say",
    "Zeroing": "test_reading_survives_any_bytes_and_invents_nothing",
    "Miscounting": "test_it_reads_what_the_samples_say",
    "Unreasoned": "test_it_reads_what_the_samples_say",
    "Silent": "test_it_reads_what_the_samples_say",
    "Trusting": "test_reading_survives_any_bytes_and_invents_nothing",
    "Mutating": "test_reading_is_pure",
    "Counting": "test_reading_is_pure",
    "Talkative": "test_it_reads_what_the_samples_say",
    "Endless": "test_a_stream_that_was_cut_is_not_replayed",
    "Hasty": "test_the_end_of_a_stream_is_recognised",
    "Unpatched": "test_a_call_is_recorded_and_replayed",
    "Misspelt": "test_it_registers_and_implements_the_vendor_hooks",
    "Importing": "test_it_imports_no_sdk",
}

Failures = dict[str, set[str]]


@pytest.fixture(scope="module")
def storages(tmp_path_factory: pytest.TempPathFactory) -> Failures:
    return _run("storages.py", STORAGES, tmp_path_factory.mktemp("storages"))


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Failures:
    folder = tmp_path_factory.mktemp("vendors")
    info = folder / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    homes = dict.fromkeys(("Sound", *VENDORS), "planted_plugins") | {"Importing": "planted_importer"}
    points = "".join(f"{name.lower()} = {home}:{name}\n" for name, home in homes.items())
    (info / "entry_points.txt").write_text(f"[custody]\n{points}")
    return _run("vendors.py", VENDORS, folder)


def _run(file: str, faults: dict[str, str], folder: Path) -> Failures:
    """What failed, by class, without parameters: of the sound one all tests are run, of a fault the one it names."""
    report = folder / "report.xml"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("CUSTODY_", "PYTEST_"))}
    environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(PLANTED)])
    command = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",  # it fails itself where a timeout ends a test in the middle of an example
        "--timeout=30",
        f"--junitxml={report}",
        f"--basetemp={folder / 'tmp'}",
    ]
    chosen = ["TestSound", *(f"Test{fault}::{test}" for fault, test in faults.items())]
    words = [sys.executable, *command, *(f"{PLANTED / file}::{each}" for each in chosen)]
    try:
        ran = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=80)
    except subprocess.TimeoutExpired:  # a broken storage may hang where the order of its threads is unlucky
        ran = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=80)
    assert ran.returncode == 1, ran.stdout + ran.stderr  # 1: tests ran, and some failed
    failures: Failures = defaultdict(set)
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.attrib["classname"].rpartition(".Test")[2]
        failures[name] |= {case.attrib["name"].partition("[")[0]} if len(case.findall("failure")) else set()
    return failures


@pytest.mark.parametrize("fault", STORAGES)
def test_the_storage_contract_catches(storages: Failures, fault: str) -> None:
    assert STORAGES[fault] in storages[fault]


@pytest.mark.parametrize("fault", VENDORS)
def test_the_vendor_contract_catches(vendors: Failures, fault: str) -> None:
    assert VENDORS[fault] in vendors[fault]


def test_what_is_sound_passes(storages: Failures, vendors: Failures) -> None:
    assert storages["Sound"] == set() == vendors["Sound"]
    for ran, *files in ((storages, "storages.py"), (vendors, "planted_plugins.py", "planted_importer.py")):
        planted = {
            name
            for file in files
            for name in re.findall(r"^class (\w+)\((?:Sound|.*\.Sound)\)", (PLANTED / file).read_text(), re.MULTILINE)
        }
        assert set(ran) - {"Sound"} == planted, f"a planted fault in {files} that nobody asks about"
