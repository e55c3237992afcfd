"""``custody sql``: what it answers, what it refuses, and that its cache is never believed over the session."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import custody
from custody.cli.main import cli
from custody.errors import UsageError
from custody.export import cache
from custody.export.formats import new_file, writer
from custody.export.query import ask
from custody.export.stream import Export

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUSTODY_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(written: Any, tmp_path: Path) -> Path:
    path = tmp_path / "calls.parquet"
    wanted = Export([written.storage])
    with new_file(path, replace=False) as out:
        made = writer("parquet", wanted.columns, out)
        for group in wanted:
            made.write(group)
        made.close()
    return path


def run(*words: str) -> str:
    done = CliRunner().invoke(cli, ["sql", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def answer(question: str, *files: Path) -> list[tuple[Any, ...]]:
    with ask(question, [str(path) for path in files]) as found:
        return list(found.rows)


def test_tokens_and_cost_by_model_and_stage(made: Path, cache_folder: Path) -> None:
    question = (
        "select response_model, stage, count(*) as calls, sum(input_tokens) as input, sum(cost) as usd, "
        "count(*) filter (cost is null) as unpriced from calls group by all order by calls desc"
    )
    (first, refused) = json.loads(run(question, str(made), "--json"))
    lines = [call.fields for call in custody.open(made).calls()]
    assert (first["calls"], first["unpriced"], first["stage"], refused["response_model"]) == (6, 3, "analysis", None)
    assert first["input"] == sum(line["usage"]["input"] for line in lines if line["usage"])
    assert first["usd"] == json.loads(_cost(made))["cost_usd"], "the sum is exact"
    assert (refused["usd"], refused["unpriced"]) == (None, 1), "unknown is not 0"
    (stored,) = cache_folder.iterdir()
    assert stored.stat().st_mode & 0o777 == 0o600 and cache_folder.stat().st_mode & 0o777 == 0o700
    table = run(question, str(made))
    assert table.splitlines()[0].split() == ["response_model", "stage", "calls", "input", "usd", "unpriced"]
    assert len(list(csv.reader(io.StringIO(run(question, str(made), "--csv"))))) == 3


def _cost(made: Path) -> str:
    return CliRunner().invoke(cli, ["cost", str(made), "--json"], catch_exceptions=False).stdout


def test_sessions_and_files_together(written: Any, file: Path) -> None:
    both = run(
        "select count(*) as n, count(distinct call) as calls from calls", str(written.storage.root), str(file), "--json"
    )
    assert json.loads(both) == [{"n": 42, "calls": 21}]
    assert answer('select count("custody.call") from attributes', file) == [(21,)]


def test_what_a_model_wrote_does_nothing_on_a_terminal_or_in_a_spreadsheet(file: Path) -> None:
    question = "select '=1+1' as a, chr(27) || '[2J' as b, [1, 2] as c, true as d, 1 as a"
    assert "\x1b" not in run(question, str(file))
    assert run(question, str(file), "--csv").splitlines()[1].startswith("'=1+1,")
    (row,) = json.loads(run(question, str(file), "--json"))
    assert row == {"a": "=1+1", "b": "\x1b[2J", "c": [1, 2], "d": True, "a_1": 1}


@pytest.mark.parametrize(
    "question",
    [
        "copy (select 1) to '{other}'", "copy (select 1) to '{file}' (format parquet)", "create table x as select 1",
        "attach '{other}'", "install httpfs", "load httpfs", "set enable_external_access = true",
        "select 1; select 2", "pragma database_list", "explain select 1", "export database '{other}'", "",
        "select * from read_text('{secret}')", "select * from read_csv('{secret}')", "select * from '{secret}'",
        "select * from read_parquet('{other}')", "select * from glob('{folder}/*')", "select getenv('HOME')",
        "select * from query('copy (select 1) to ''{other}''')", "selec 1", "select nothing from calls",
        "select cast('x' as int)", "select * from file",
    ],
)  # fmt: skip
def test_a_question_reads_what_it_was_given_and_writes_nothing(question: str, file: Path, tmp_path: Path) -> None:
    secret, other = tmp_path / "secret.csv", tmp_path / "other.parquet"
    secret.write_text("a\nb\n")
    before = file.read_bytes()
    with pytest.raises(UsageError):
        answer(question.format(file=file, secret=secret, other=other, folder=tmp_path), file)
    assert file.read_bytes() == before and not other.exists()


def test_misuse(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        answer("select 1", tmp_path / "nowhere.parquet")
    bad = tmp_path / "bad.parquet"
    bad.write_text("no parquet")
    with pytest.raises(UsageError, match="no answer"):
        answer("select 1", bad)
    pattern = file.rename(tmp_path / "a[1].parquet")
    with pytest.raises(UsageError, match="pattern"):
        answer("select 1", pattern)
    with pytest.raises(UsageError, match="not both"):
        run("select 1", str(pattern), "--csv", "--json")


def test_a_url_is_read_through_fsspec(file: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/a.parquet", file.read_bytes())
    memory.pipe("/bucket/b.parquet", file.read_bytes())
    try:
        with ask("select count(*) from calls", ["memory://bucket/*.parquet", str(file)]) as found:
            assert list(found.rows) == [(63,)]
        with (
            pytest.raises(UsageError, match="Permission"),
            ask("select count(*) from 'memory://bucket/b.parquet'", ["memory://bucket/a.parquet"]) as found,
        ):
            list(found.rows)
        with pytest.raises(UsageError, match="no such file"), ask("select 1", ["memory://bucket/c.parquet"]):
            pass
    finally:
        memory.rm("/bucket", recursive=True)


def test_the_cache_follows_the_session(written: Any, cache_folder: Path) -> None:
    first = cache.parquet(written.storage)
    assert cache.parquet(written.storage) == first
    first.write_bytes(b"spoiled")
    with pytest.raises(UsageError):
        answer("select 1 from calls", cache.parquet(written.storage))
    assert answer("select count(*) from calls", cache.parquet(written.storage, fresh=True)) == [(21,)]
    name = sorted((written.storage.root / "llm_archive").glob("*.jsonl"))[-1]
    with name.open("ab") as file:
        file.write(b'{"kind":"torn')
    assert cache.parquet(written.storage) != first, "a byte more is another archive"
    assert not list(written.storage.root.rglob("*.parquet"))


def test_what_nobody_asks_for_is_swept(written: Any, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.parquet(written.storage)
    monkeypatch.setattr(cache, "KEPT", -1.0)
    cache.parquet(written.storage, fresh=True)
    old = cache_folder / "calls-old.parquet"
    old.write_bytes(b"")
    (cache_folder / "mine.txt").write_text("not ours")
    cache.parquet(written.storage, fresh=True)
    assert {path.name for path in cache_folder.iterdir()} == {first.name, "mine.txt"}
