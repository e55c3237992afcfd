"""Files of rows: what they hold, that they are whole or not there, and that nobody's text does anything."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from custody.cli.main import cli
from custody.errors import ArchiveDamaged, UsageError
from custody.export.formats import guarded, new_file
from custody.export.stream import Export


def run(*words: str) -> str:
    done = CliRunner().invoke(cli, ["export", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_csv(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "calls.csv"
    run(str(made), "--to", "csv", "--out", str(out))
    found = list(csv.DictReader(io.StringIO(out.read_text())))
    assert len(found) == 7 and "custody.cost" not in found[0] and "custody.request.body" not in found[0]
    assert found[0]["custody.scope.document"] == "'=cmd()|a.txt"
    assert found[1]["gen_ai.usage.input_tokens"] == found[1]["custody.cost_usd"] == ""
    assert found[0]["gen_ai.response.finish_reasons"] == '["stop"]' and found[0]["custody.success"] == "true"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\r=1", " =1", "\n=1"])
def test_no_text_is_a_formula(text: str) -> None:
    assert guarded(text) == f"'{text}"
    assert guarded(f"a{text}") == f"a{text}" and guarded("") == "" and guarded(" ") == " "


def test_jsonl_on_standard_output(made: Path) -> None:
    found = [json.loads(line) for line in run(str(made), "--to", "jsonl", "--content").splitlines()]
    assert len(found) == 7 and found[1]["custody.tokens.total"] is None
    assert found[0]["custody.started"].endswith("Z") and "Grüße" in found[0]["custody.request.body"]
    assert run(str(made), "--to", "jsonl", "--content").isascii()


def test_parquet(made: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "calls.parquet"
    run(str(made), str(made), "--to", "parquet", "--out", str(out))
    table = parquet.read_table(out)
    assert table.num_rows == 14
    cost = table.column("custody.cost")
    assert str(cost.type) == "decimal128(38, 18)"
    texts = table.column("custody.cost_usd").to_pylist()
    assert [text and Decimal(text) for text in texts] == cost.to_pylist() and texts.count(None) == 8
    assert str(table.schema.field("custody.started").type) == "timestamp[us, tz=UTC]"
    told = table.schema.field("gen_ai.usage.input_tokens").metadata
    assert told[b"unit"] == b"tokens" and b"usage.input" in told[b"source"]


def test_nothing_is_overwritten(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "calls.csv"
    out.write_text("mine")
    with pytest.raises(UsageError, match="--force replaces it"):
        run(str(made), "--to", "csv", "--out", str(out))
    assert out.read_text() == "mine"
    run(str(made), "--to", "csv", "--out", str(out), "--force")
    assert out.read_text().startswith("gen_ai.operation.name,")
    with pytest.raises(UsageError, match="no such folder"):
        run(str(made), "--to", "csv", "--out", str(tmp_path / "nowhere" / "x.csv"))
    with pytest.raises(UsageError, match="give --out"):
        run(str(made), "--to", "parquet")


def test_a_file_that_appears_meanwhile_is_left(tmp_path: Path) -> None:
    out = tmp_path / "x"
    with pytest.raises(UsageError, match="meanwhile"), new_file(out, replace=False) as file:
        file.write(b"ours")
        out.write_text("theirs")
    assert out.read_text() == "theirs" and [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_failed_export_leaves_no_file(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Export) -> Iterator[Any]:
        yield from ()
        raise ArchiveDamaged("broken on purpose")

    monkeypatch.setattr(Export, "__iter__", broken)
    with pytest.raises(ArchiveDamaged):
        run(str(made), "--to", "csv", "--out", str(tmp_path / "calls.csv"))
    assert not list(tmp_path.glob("*.csv")) and not list(tmp_path.glob(".tmp-*"))


def test_a_session_is_found_by_its_id(made: Path) -> None:
    assert len(run("--root", str(made.parents[5]), made.name, "--to", "jsonl").splitlines()) == 7
