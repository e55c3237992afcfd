"""``custody run`` and ``custody resume``: a command whose calls are recorded."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from custody import layout
from custody.builtin import budget
from custody.cli import names
from custody.cli.console import say
from custody.cost.ledger import WHOLE
from custody.errors import SessionNotFound, UsageError
from custody.integrity import chronolog
from custody.integrity.chronolog import Chronolog
from custody.pipeline.doubts import POLICIES
from custody.redact import MASK, Redactor
from custody.research.definitions import Given
from custody.sessions import behind, budgets, children, earlier, recovery, sharding, starting, workers
from custody.sessions import manifest as manifests
from custody.sessions.taking import Started
from custody.storage.folders import Folder, RemoteFolder, at, folder
from custody.storage.heartbeats import checked_worker

_on_in_doubt = click.option(
    "--on-in-doubt",
    type=click.Choice(POLICIES),
    help="What becomes of calls in doubt that are asked again.  [default: what the script says, or retry]",
)


def budget_options(command: Any) -> Any:
    """The options of a budget."""
    for option in reversed((
        click.option("--budget-usd", metavar="AMOUNT", help="Send nothing that might cost more than this in all."),
        click.option("--budget-tokens", type=click.IntRange(min=0), help="The same for tokens."),
        click.option("--max-calls", type=click.IntRange(min=0), help="The same for calls."),
        click.option("--budget-unpriced", type=click.Choice(["refuse", "allow"]), help="Calls without a price."),
        click.option("--budget-output-tokens", type=click.IntRange(min=1), metavar="N",
                     help="Reserve N output tokens where a request states no limit."),
    )):  # fmt: skip
        command = option(command)
    return command


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--root", help="The folder or URL that holds projects/.  [default: the current folder]")
@click.option("--project", help="Name of the project.  [default: what the script says, else the folder's name]")
@click.option("--experiment", help="Name of the experiment.  [default: what the script says, else its name]")
@click.option("--session", metavar="ID", help="Continue this session, a finished one too.")
@click.option("--new", is_flag=True, help="Start another session.")
@click.option("--strict", is_flag=True, help="Send nothing: a call that is not archived is an error.")
@click.option("--corpus", metavar="PATTERN", help="The documents: their manifest is frozen.")
@click.option("--framework", metavar="FILE", help="Frozen as the framework of the experiment.")
@click.option("--definition", metavar="FILE", help="Frozen as the definition of the experiment.")
@click.option("--reuse", metavar="SESSION", help="An earlier session's archive may answer, too; marked as such.")
@click.option("--worker", metavar="NAME", help="Share SESSION with other workers; who comes first creates it.")
@click.option("--shard", metavar="K/N", help="Of every plan only each N-th item, from the K-th on.")
@click.option("--accept", multiple=True, metavar="WHAT", help="Go on despite an objection: growth, framework, outside.")
@_on_in_doubt
@budget_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    root: str | None, project: str | None, experiment: str | None, session: str | None, new: bool, strict: bool,
    on_in_doubt: str | None, corpus: str | None, framework: str | None, definition: str | None, reuse: str | None,
    worker: str | None, shard: str | None, accept: tuple[str, ...], command: tuple[str, ...], **limits: Any,
) -> NoReturn:  # fmt: skip
    """Run COMMAND with every LLM call recorded: custody run -- python study.py

    The same command again continues the experiment's unfinished session: what is archived is replayed,
    only what is missing is sent.
    """
    must_exist(command[0])
    for option, value in (("project", project), ("experiment", experiment), ("session", session)):
        if value is not None and value.startswith("-"):
            raise UsageError(f"--{option}: {value!r} looks like an option, and no name follows. Nothing was started")
    if worker is not None:
        os.environ[workers.ENV_WORKER] = checked_worker(worker)
    if shard is not None:
        os.environ[sharding.ENV] = "/".join(map(str, sharding.parsed(shard)))
    implied = names.of_command(command, folder(root or "."))
    if root is None and project is None and experiment is None:
        root = implied.root
    where = folder(root or ".")
    if session is not None and not _to_be_made(where, session):
        manifest = manifests.read(at(layout.find_session(where, session)))
        implied = names.Names(manifest.project, manifest.experiment)
    project = layout.checked_name("project", implied.project if project is None else project)
    experiment = layout.checked_name("experiment", implied.experiment if experiment is None else experiment)
    if reuse is not None:
        os.environ[children.ENV_REUSE] = str(earlier.origin(layout.find_session(where, reuse)).archive.storage.url)
    policy = on_in_doubt or os.environ.get(children.ENV_ON_IN_DOUBT)
    given = Given(corpus, framework, definition, accept)
    if accept:
        os.environ[children.ENV_ACCEPT] = ",".join(accept)
    stated = _budget(limits)
    started = starting.start(
        where, project, experiment, session, new=new, command=_portable(command), on_in_doubt=policy, given=given
    )
    _begin_budget(started, stated)
    sys.exit(_run(started, list(command), Path.cwd(), strict=strict, said=policy is not None))


@click.command()
@click.argument("session")
@click.option("--root", default=".", show_default=True, help="The folder that holds projects/, where SESSION is an id.")
@click.option("--strict", is_flag=True, help="Send nothing: a call that is not archived is an error.")
@_on_in_doubt
@budget_options
def resume(session: str, root: str, strict: bool, on_in_doubt: str | None, **limits: Any) -> NoReturn:
    """Run SESSION's recorded command again in it.

    A finished session replays without sending anything, unless its program now asks for something new.
    """
    path = layout.find_session(folder(root), session)
    manifest = manifests.read(at(path))
    remote = f" --root {path.parents[5]}" if isinstance(path, RemoteFolder) else ""
    again = f"--session {path.name}{remote}"
    if not manifest.command:
        raise UsageError(f"{path.name} has no recorded command: start its program again by hand with {again}")
    if any(MASK in word for word in manifest.command):
        raise UsageError(f"the command of {path.name} held a secret, which was not stored: custody run {again} -- ...")
    base = path.parents[5]
    directory = _directory(base, manifest.working_directory, manifest.command)
    if not directory.is_dir():
        raise UsageError(f"{path.name} was started in {directory}, which is no longer there")
    must_exist(manifest.command[0])
    policy = on_in_doubt or os.environ.get(children.ENV_ON_IN_DOUBT)
    stated = _budget(limits)
    started = starting.start(
        base, manifest.project, manifest.experiment, str(path), new=False, command=None, on_in_doubt=policy
    )
    _begin_budget(started, stated)
    say("custody: running " + " ".join(manifest.command))
    sys.exit(_run(started, list(manifest.command), directory, strict=strict, said=policy is not None))


def _directory(base: Folder, stated: str, command: list[str]) -> Path:
    """Where a recorded command runs. One of a session below a URL states no folder, and a copy lies below another root:
    then it is here, where the command's files are here and not there."""
    here = Path.cwd()
    if not isinstance(base, Path):
        return here
    there = (base / stated).resolve()
    files = [word for word in command[1:] if (here / word).is_file()]
    return here if files and not any((there / word).exists() for word in files) else there


def _to_be_made(root: Folder, session: str) -> bool:
    """Whether this is a worker that may be the first one in its session."""
    if workers.name() is None:
        return False
    try:
        found = layout.find_session(root, session)
    except SessionNotFound:
        return True
    return not (found / layout.MANIFEST).is_file()  # another worker is just making it


def _budget(options: dict[str, Any]) -> dict[str, Any]:
    stated = budgets.limits(**{name: value for name, value in options.items() if value is not None})
    return {WHOLE: stated} if stated else {}


def _begin_budget(started: Started, stated: dict[str, Any]) -> None:
    """Before the program starts: its processes find the ledger, and spend from it together."""
    storage = at(started.path)
    if started.beside:
        if stated:
            say("custody: the budget is that of the workers who are here already; what was given here is left out")
        return
    if stated or any(entry.name == layout.BUDGET for entry in storage.list(layout.BUDGET)):
        budget.begin(storage, started.manifest.session, started.archive.lines(), stated)


def _run(started: Started, command: list[str], directory: Path, *, strict: bool, said: bool) -> int:
    worker = workers.name()
    verb = "joining" if started.beside else "continuing" if started.resumed else "recording into"
    if started.resumed and started.finished_before:
        verb = "replaying the finished"
    say(f"custody: {verb} {started.manifest.session} ({started.path})")
    if started.resumed:
        say(f"custody: {recovery.sentence(started.report)}")
    seen = _size(started.path)
    child = subprocess.Popen(command, cwd=directory, env=_environment(started, strict=strict, said=said))  # noqa: S603
    code = _wait(child)
    outcome = "finished" if code == 0 else "failed"
    if next(iter(started.storage.list(layout.MANIFEST)), None) is None:
        say(f"custody: the folder of {started.manifest.session} is gone; 'custody doctor' names what waits for it")
        started.owner.release()
        return code if code > 0 else 128 - code if code < 0 else 1
    redactor = Redactor()
    redactor.learn_environment(os.environ)
    log = Chronolog(at(started.path).shared_log(layout.CHRONOLOG), redactor)
    last = workers.end(
        started.path, started.storage, started.manifest, log, outcome, exit_code=code if code >= 0 else None,
        signal=signal.Signals(-code).name if code < 0 else None,
    )  # fmt: skip
    if worker is None:
        _summary(started, seen, code)
    else:
        going_on = "it was the last one: the session has ended" if last else "other workers go on"
        say(f"custody: worker {worker} of {started.manifest.session} ended with exit code {code}; {going_on}")
    behind.finish(started.storage)
    started.owner.release()
    workers.close(started.storage)
    return code if code >= 0 else 128 - code


def _environment(started: Started, *, strict: bool, said: bool) -> dict[str, str]:
    ours = children.environment(
        os.environ,
        started.path,
        strict=strict,
        resumed=started.resumed,
        on_in_doubt=started.on_in_doubt if said else None,
    )
    environment = {**os.environ, **ours}
    # "python" means the one that has custody, also where its environment is not activated.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    return environment


def _wait(child: subprocess.Popen[bytes]) -> int:
    """The child's exit code. Signals are passed on; a terminal's Ctrl-C reaches the child by itself."""

    def forward(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT or not _at_terminal():
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _at_terminal() -> bool:
    """Whether this process is in front at its terminal, which sends its Ctrl-C to the child as well."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _summary(started: Started, seen: int, code: int) -> None:
    data = at(started.path).read(layout.CHRONOLOG, seen)
    told = list(chronolog.read(data))
    count = Counter(event["event"] for event in told)
    taken = {event["call_id"] for event in told if event["event"] == "in_doubt_reconciled"}
    ends = [e for e in told if e["event"] == "llm_call_complete" and e.get("call_id") not in taken]
    good = sum(1 for event in ends if event.get("success"))
    sent, complete, replayed = count["llm_call_start"], len(ends), count["llm_call_replayed"]
    how = (
        "finished"
        if code == 0
        else f"ended with exit code {code}"
        if code > 0
        else f"ended by {signal.Signals(-code).name}"
    )
    parts = [f"{sent + replayed} calls: {replayed} replayed, {sent} sent"]
    if code == 0 and not sent and not replayed and _has_calls(started):
        parts = ["nothing was asked: what earlier runs have done was skipped"]
    if complete > good:
        parts.append(f"{complete - good} of them without success")
    if again := count["in_doubt_retried"]:
        parts.append(f"{again} of them in place of calls in doubt")
    if taken:
        parts.append(f"{len(taken)} in doubt taken in from the vendor")
    if sent > complete:
        parts.append(f"{sent - complete} in doubt")
    say(f"custody: {started.manifest.session} {how}; {', '.join(parts)}")
    if code == 0 and not sent and not replayed and not taken and not _has_calls(started):
        say("custody: no call to a known vendor was seen; 'custody doctor' says what would be recorded")
    elif code != 0 and started.finished_before and not sent:
        say("custody: nothing was sent: the session is finished, as before")
    elif code != 0 and not sent and not replayed:
        say("custody: no call was made, and nothing was paid")
    elif code != 0:
        say("custody: run the same command again to go on; nothing that is archived is paid twice")


def _has_calls(started: Started) -> bool:
    """Whether its work was only skipped, because an earlier run has done it."""
    return bool(started.resumed and started.report.get("answers"))


def _size(path: Folder) -> int:
    return next((e.size for e in at(path).list(layout.CHRONOLOG) if e.name == layout.CHRONOLOG), 0)


def must_exist(program: str) -> None:
    """Raises UsageError for a program that is not there."""
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if shutil.which(program, path=here) is None:
        raise UsageError(f"{program}: no such command; nothing was started")


def _portable(command: tuple[str, ...]) -> list[str]:
    """The command as it may be stored: an interpreter by its name, no absolute path of this machine."""
    name = Path(command[0]).name
    return ["python" if name.startswith("python") else name, *command[1:]] if "/" in command[0] else list(command)
