"""``custody sql``: a question over the calls of sessions and exported files."""

from __future__ import annotations

import csv
import json
import sys
from typing import Any

import click

from custody.cli.console import in_line
from custody.cli.engine import chosen, engine_options
from custody.cli.stored import json_option, open_storage, root_option
from custody.cli.table import Column, print_rows
from custody.errors import UsageError
from custody.export import cache
from custody.export.formats import guarded
from custody.export.query import Answer, ask


@click.command()
@click.argument("question")
@click.argument("sources", nargs=-1, required=True, metavar="SESSION|FILE.parquet...")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--fresh", is_flag=True, help="Read the sessions anew, whatever is kept of them in the cache.")
@engine_options
@root_option
@json_option
def sql(
    question: str, sources: tuple[str, ...], as_csv: bool, fresh: bool, engine: str | None, workers: int | None,
    root: str, as_json: bool,
) -> None:  # fmt: skip
    """Ask QUESTION, one SELECT over the view "calls" (needs custody[sql]). docs/export.md has the columns.

    custody sql "select response_model, stage, sum(input_tokens), sum(cost) from calls group by all" SESSION
    """
    if as_csv and as_json:
        raise UsageError("--csv or --json, not both")
    files = [name for name in sources if name.endswith(".parquet")]
    storages = [open_storage(name, root) for name in sources if not name.endswith(".parquet")]
    if storages:
        with chosen(engine, workers) as running:
            files += [str(cache.parquet(storage, fresh=fresh, engine=running)) for storage in storages]
    with ask(question, files) as answer:
        if as_json:
            _json(answer)
        elif as_csv:
            _csv(answer)
        else:
            rows = [[_cell(value) for value in row] for row in answer.rows]
            right = [all(isinstance(row[n], (int, float)) for row in rows) for n in range(len(answer.columns))]
            columns = [Column(in_line(name), right=right[n]) for n, name in enumerate(answer.columns)]
            print_rows(columns, lambda: rows)


def _json(answer: Answer) -> None:
    """A list of objects, one a line. A name that is there twice gets a number, as DuckDB gives it."""
    names: list[str] = []
    for name in answer.columns:
        again = names.count(name) and next(n for n in range(1, len(answer.columns)) if f"{name}_{n}" not in names)
        names.append(f"{name}_{again}" if again else name)
    write = sys.stdout.write
    write("[")
    for number, row in enumerate(answer.rows):
        write((",\n" if number else "\n") + json.dumps(dict(zip(names, row, strict=True))))
    write("\n]\n")


def _csv(answer: Answer) -> None:
    terminal = sys.stdout.isatty()
    made = csv.writer(sys.stdout, lineterminator="\n")
    made.writerow([_text(name, terminal) for name in answer.columns])
    made.writerows([_text(_cell(value), terminal) for value in row] for row in answer.rows)


def _cell(value: Any) -> Any:
    """A list or an object as JSON, true and false as SQL has them."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _text(value: Any, terminal: bool) -> Any:
    if not isinstance(value, str):
        return value
    return guarded(in_line(value) if terminal else value)
