"""The feature matrix: what stands in matrix.toml, what the tests of each environment said, and the page.

    python -m tests.features.matrix run NAME     run the tests that the matrix names, with this environment's SDKs
    python -m tests.features.matrix page         write docs/features.md from all results

`default` is run first; the others leave out what an earlier one said of the same major in no older version. A row
of matrix.toml has a cell for each SDK, and one for ``SDK MAJOR`` where a major version differs. A cell names tests,
which record and replay, or begins with ``none:`` (the SDK has no such thing) or ``refused:`` (custody records, and
says why it does not replay; the tests stand behind the last ``by``). ``openai:test_flow::test_sync*`` is short for a
test of the openai plugin; ``*`` stands for anything.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "features.md"
DEFAULT = "default"

DISTRIBUTIONS = {"aiplatform": "google-cloud-aiplatform"}
"""SDKs whose distribution has another name than their column."""

Row = dict[str, str]


class Column(NamedTuple):
    """One SDK in one environment."""

    sdk: str
    environment: str
    version: str

    @property
    def title(self) -> str:
        return f"{self.sdk} {self.version}"

    @property
    def major(self) -> str:
        return _major(self.version)

    def cell(self, row: Row) -> str:
        """What stands in the row for this SDK and major version."""
        return row.get(f"{self.sdk} {self.major}") or row[self.sdk]


def load() -> dict[str, Row]:
    """Rows by title."""
    return tomllib.loads((HERE / "matrix.toml").read_text())


def sdks() -> list[str]:
    """All that have a column."""
    return sorted({name.partition(" ")[0] for row in load().values() for name in row})


def tests_of(cell: str) -> list[str]:
    """The patterns of test ids that a cell names."""
    if cell.startswith("none:"):
        return []
    named = cell.rpartition(" by ")[2] if cell.startswith("refused:") else cell
    return [re.sub(r"^(\w+):(\w+)::", r"plugins/custody-\1/tests/\2.py::", word) for word in named.split()]


def results() -> dict[str, Any]:
    """What each environment's run said, by its name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))}


def columns(found: dict[str, Any]) -> list[Column]:
    """One for each SDK and major version that was run, the newest of each first."""
    every = [
        Column(sdk, name, run["versions"][sdk])
        for sdk in sdks()
        for name, run in found.items()
        if sdk in run["versions"]
    ]
    every.sort(key=lambda c: (c.sdk, [-n for n in _order(c.version)]))
    kept: dict[tuple[str, str], Column] = {}
    for column in every:
        kept.setdefault((column.sdk, column.major), column)
    return list(kept.values())


def said(column: Column, found: dict[str, Any]) -> dict[str, str]:
    """The outcomes of a column's tests; where its environment lacks something, those of another of the same major."""
    of = {name: Column(column.sdk, name, run["versions"].get(column.sdk, "")) for name, run in found.items()}
    outcomes: dict[str, str] = {}
    for name in (*(n for n, other in of.items() if other.major == column.major), column.environment):
        outcomes |= found[name]["outcomes"]
    return outcomes


def verdict(cell: str, outcomes: dict[str, str]) -> str:
    """What stands in the page. Raises LookupError where a pattern has no test that passed, or one that failed."""
    if cell.startswith("none:"):
        return f"no: {cell.removeprefix('none:').strip()}"
    passed: set[str] = set()
    for pattern in tests_of(cell):
        tests = [test for test in outcomes if matches(test, pattern)]
        good = [test for test in tests if outcomes[test] == "passed"]
        bad = [test for test in tests if outcomes[test] == "failed"]
        if bad or not good:
            raise LookupError(f"{pattern}: {f'failed: {bad}' if bad else 'no test of it passed'}")
        passed.update(good)
    if cell.startswith("refused:"):
        reason = cell.removeprefix("refused:").rpartition(" by ")[0].strip()
        return f"recorded; replay refused: {reason}"
    return f"replayed ({len(passed)})"


def page() -> str:
    """docs/features.md. Raises LookupError with every cell that no test stands behind."""
    found, rows = results(), load()
    heads = columns(found)
    notes: dict[str, int] = {}
    wrong: list[str] = []

    def shown(title: str, column: Column) -> str:
        try:
            text = verdict(column.cell(rows[title]), said(column, found))
        except LookupError as error:
            wrong.append(f"{title}, {column.title}: {error}")
            return ""
        word, _, reason = text.partition(":")
        return f"{word} [{notes.setdefault(reason.strip(), len(notes) + 1)}]" if reason else text

    body = [f"| {title} | " + " | ".join(shown(title, column) for column in heads) + " |" for title in rows]
    if wrong:
        raise LookupError("\n".join(wrong))
    lines = [
        "# What is recorded and replayed, by feature and SDK",
        "",
        "Written by `make features` from what the tests said, in the environments with the SDKs below; do not edit.",
        "",
        "- **replayed (n)**: n tests record it, replay it with the vendor gone, and compare; most run it bare too.",
        "- **recorded; replay refused**: what happened is on record; a strict replay says that it does not replay it.",
        "- **no**: the SDK has no such thing, or custody leaves it alone; the reason says which.",
        "",
        "The numbers are reasons, below the table.",
        "",
        "Which tests these are stands in `tests/features/matrix.toml`.",
        "",
        "| feature | " + " | ".join(column.title for column in heads) + " |",
        "|---|" + "---|" * len(heads),
        *body,
        "",
        *(f"{number}. {reason}" for reason, number in notes.items()),
    ]
    return "\n".join(lines) + "\n"


def wanted(name: str) -> tuple[dict[str, str], list[str]]:
    """The versions of the SDKs that environment `name` is run for, and the patterns of their tests."""
    here = {sdk: found for sdk in sdks() if (found := _installed(sdk))}
    others = [run for other, run in results().items() if other != name != DEFAULT]
    patterns: set[str] = set()
    for sdk, found in list(here.items()):
        column = Column(sdk, name, found)
        asked = {p for row in load().values() for p in tests_of(column.cell(row))}
        for run in others:
            theirs = run["versions"].get(sdk, "")
            if _major(theirs) == _major(found) and _order(theirs) >= _order(found):
                asked = {p for p in asked if not any(matches(test, p) for test in run["outcomes"])}
        if not asked:
            del here[sdk]
        patterns |= asked
    return here, sorted(patterns)


def run(name: str) -> int:
    """Run the named tests with this interpreter's SDKs and keep what they said."""
    here, patterns = wanted(name)
    files = sorted({pattern.partition("::")[0] for pattern in patterns})
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "outcomes.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.features.matrix", *files]
        command += ["--continue-on-collection-errors", "-p", "no:cacheprovider"]
        environ = {**os.environ, "FEATURES_ENVIRONMENT": name, "FEATURES_OUTCOMES": str(said)}
        done = subprocess.run(command, cwd=ROOT, env=environ, check=False)
        outcomes = json.loads(said.read_text()) if said.exists() else {}
    (HERE / "results").mkdir(exist_ok=True)
    document = {"versions": here, "outcomes": dict(sorted(outcomes.items()))}
    (HERE / "results" / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0 if outcomes else done.returncode  # what failed, or could not be imported, is told when the page is made


# -- as a plugin of pytest, for `run` -------------------------------------------------------------------

_outcomes: dict[str, str] = {}


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Keep the tests that the matrix names."""
    _, patterns = wanted(os.environ["FEATURES_ENVIRONMENT"])
    kept = [item for item in items if any(matches(item.nodeid, pattern) for pattern in patterns)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def pytest_runtest_logreport(report: Any) -> None:
    """Whatever phase fails, the test failed."""
    if report.outcome == "failed" or (report.outcome == "skipped" or report.when == "call"):
        before = _outcomes.get(report.nodeid)
        _outcomes[report.nodeid] = "failed" if "failed" in (before, report.outcome) else report.outcome


def pytest_sessionfinish() -> None:
    """Hand over what the tests said."""
    Path(os.environ["FEATURES_OUTCOMES"]).write_text(json.dumps(_outcomes))


# -------------------------------------------------------------------------------------------------------


def _major(found: str) -> str:
    return found.partition(".")[0]


def _order(found: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", found)[:3]]


def _installed(sdk: str) -> str:
    try:
        return version(DISTRIBUTIONS.get(sdk, sdk))
    except PackageNotFoundError:
        return ""


def matches(test: str, pattern: str) -> bool:
    """``*`` stands for anything; brackets are those of a parametrized test."""
    return fnmatch.fnmatchcase(test.replace("[", "("), pattern.replace("[", "("))


def main(arguments: list[str]) -> int:
    match arguments:
        case ["run", name]:
            return run(name)
        case ["page"]:
            try:
                PAGE.write_text(page())
            except LookupError as error:
                print(error, file=sys.stderr)
                return 1
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
