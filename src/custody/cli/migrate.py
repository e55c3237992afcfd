"""``custody migrate``: sessions of older layouts become sessions of this one."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click

from custody.cli.console import in_line, print_json, say
from custody.cli.table import Column, print_rows
from custody.errors import UsageError
from custody.migrate import apply, check, report, rollback
from custody.migrate import plan as plans
from custody.migrate.plan import Plan
from custody.migrate.source import shown

_SHOWN = 40  # files of one kind in one folder, before they are told together


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="SOURCE DEST", type=click.Path(path_type=Path))
@click.option("--apply", "applying", is_flag=True, help="Do it. Without this, nothing is written anywhere.")
@click.option("--verify", "verifying", is_flag=True, help="Check what was migrated: [SOURCE] DEST.")
@click.option("--rollback", "removing", is_flag=True, help="Take it back: DEST.")
@click.option("--force", is_flag=True, help="With --rollback: also what is new or changed in the sessions.")
@click.option("--project", help="The project's name.  [default: as the source's folders say]")
@click.option("--experiment", help="The experiment's name, where the source holds one.")
@click.option("--stage", help="The stage of your script that asks for these answers, where its name does not tell.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def migrate(
    paths: tuple[Path, ...], applying: bool, verifying: bool, removing: bool, force: bool, project: str | None,
    experiment: str | None, stage: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Make sessions of this layout from what older programs left in SOURCE, below DEST.

    Without --apply it says what it would do, in numbers, and writes nothing. SOURCE is only read; its files are
    copied beside what is made of them.
    """
    if sum((applying, verifying, removing)) > 1:
        raise UsageError("give one of --apply, --verify and --rollback")
    if force and not removing:
        raise UsageError("--force belongs to --rollback")
    if verifying:
        _verify(paths, as_json)
    elif removing:
        _rollback(paths, as_json, force=force)
    else:
        if len(paths) != 2:
            raise UsageError("give two folders: custody migrate SOURCE DEST")
        plan = plans.make(paths[0], project=project, experiment=experiment, stage=stage)
        _plan(plan, paths[1], as_json, applying=applying)


def _plan(plan: Plan, destination: Path, as_json: bool, *, applying: bool) -> None:
    known = apply.prepare(plan, destination)
    done = known is not None and known.state == "complete"
    changed = False
    if applying:
        _, changed = apply.apply(plan, destination, lambda line: say(f"custody: {line}"))
        done = True
    if as_json:
        print_json({**report.as_dict(plan), "applied": done, "changed": changed})
        return
    _print(plan)
    if not applying:
        click.echo("it is done already: applying it again changes nothing" if done else "nothing was written: --apply")
    else:
        click.echo(
            f"migrated into {in_line(destination)}: see custody migrate --verify" if changed
            else "it was done already: nothing was changed"
        )  # fmt: skip


def _verify(paths: tuple[Path, ...], as_json: bool) -> None:
    if len(paths) not in (1, 2):
        raise UsageError("give the destination, and the source before it where it is to be compared")
    verdicts = check.verify(paths[-1], paths[0] if len(paths) == 2 else None)
    if as_json:
        print_json([verdict.as_dict() for verdict in verdicts])
    for verdict in () if as_json else verdicts:
        for problem in verdict.problems:
            click.echo(f"PROBLEM  {in_line(problem)}")
        for remark in verdict.remarks:
            click.echo(f"remark   {in_line(remark)}")
        word = "sound" if verdict.sound else f"NOT SOUND: {len(verdict.problems)} problems"
        click.echo(
            f"migration {verdict.migration} of {in_line(verdict.source)}: {word} ({verdict.files} files, "
            f"{verdict.bytes} bytes, {verdict.sessions} sessions, {verdict.calls} calls)"
        )
    sys.exit(0 if all(verdict.sound for verdict in verdicts) else 1)


def _rollback(paths: tuple[Path, ...], as_json: bool, *, force: bool) -> None:
    if len(paths) != 1:
        raise UsageError("give the destination: custody migrate --rollback DEST")
    removed = rollback.rollback(paths[0], force=force)
    if as_json:
        print_json([vars(one) for one in removed])
        return
    for one in removed:
        click.echo(
            f"migration {one.migration} was taken back: {len(one.sessions)} sessions, {one.files} files, "
            f"{one.bytes} bytes; the source was not touched"
        )
        for name in one.left:
            click.echo(f"left     {in_line(name)}")


def _print(plan: Plan) -> None:
    print_rows(
        [Column("file"), Column("bytes", right=True), Column("is", 1), Column("becomes"), Column("because", 2)],
        lambda: list(_rows(plan)),
    )
    click.echo()
    print_rows(
        [
            Column("session"), Column("experiment"), Column("of", 1), Column("calls", right=True),
            Column("answers", right=True), Column("in doubt", 2, right=True), Column("ids", 1),
        ],
        lambda: [
            (
                s.session, f"{s.home.project}/{s.home.experiment}", ",".join(s.generations), len(s.calls),
                sum(c.answers for c in s.calls), sum(c.in_doubt for c in s.calls) or None,
                ", ".join(shown(name) for name in s.run.ids),
            )
            for s in plan.sessions
        ],
    )  # fmt: skip
    click.echo()
    for line in report.lines(plan):
        click.echo(in_line(line))


def _rows(plan: Plan) -> list[tuple[object, ...]]:
    """A row a file. Where one folder has very many that are ignored for one reason, or documents, a row for all."""
    keys = [(f.path.split("/.git/")[0].rpartition("/")[0], f.kind, f.disposition, f.reason) for f in plan.files]
    many = Counter(
        key
        for key, f in zip(keys, plan.files, strict=True)
        if f.disposition == "ignored" or f.kind == "experiment_file"
    )
    rows: list[tuple[object, ...]] = []
    told = set()
    for key, file in zip(keys, plan.files, strict=True):
        is_what = " ".join(word for word in (file.generation, file.kind) if word)
        if many[key] <= _SHOWN:
            rows.append((shown(file.path), file.size, is_what, file.disposition, file.reason))
        elif key not in told:
            told.add(key)
            size = sum(f.size for k, f in zip(keys, plan.files, strict=True) if k == key)
            rows.append((f"{shown(key[0])}/ ({many[key]} files)", size, is_what, file.disposition, file.reason))
    return rows
