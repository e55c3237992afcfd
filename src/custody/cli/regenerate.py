"""``custody regenerate``: a session's results again, from its archive alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from custody import layout
from custody.cli.console import in_line, print_json, safe, say
from custody.cli.run import must_exist
from custody.cli.stored import json_option, root_option, session_argument
from custody.errors import UsageError
from custody.report import regeneration
from custody.sessions import children, starting
from custody.sessions import manifest as manifests
from custody.storage.folders import Folder, at, folder


@click.command()
@session_argument
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@root_option
@json_option
def regenerate(session: str, command: tuple[str, ...], root: str, as_json: bool) -> None:
    """Make SESSION's results again: custody regenerate SESSION -- python analyse.py

    COMMAND runs in a copy of the session, without checkpoints, in strict mode and without a network, in the current
    folder; by default it is the recorded one. Exits 0 where every file of analysis_results/ is the same, byte by byte.
    """
    found = layout.find_session(folder(root), session)
    manifest = manifests.read(at(found))
    words = list(command) or list(manifest.command or ())
    if not words:
        raise UsageError(f"{found.name} has no recorded command: custody regenerate {found.name} -- python analyse.py")
    must_exist(words[0])
    with tempfile.TemporaryDirectory(prefix="custody-regenerate-") as temporary:
        path = regeneration.fetched(found, Path(temporary, "fetched"))
        again = regeneration.copy(path, Path(temporary, "again"))
        code = _run(words, again, found, manifest.project, manifest.experiment)
        same, differences = regeneration.compare(path, again)
        if as_json:
            print_json({"same": same, "exit_code": code, "differences": [one.as_dict() for one in differences]})
        else:
            for one in differences:
                click.echo(f"{one.what:<8} {in_line(one.file)}: {one.detail}")
                for line in regeneration.lines(path, again, one.file) if one.what == "differs" else ():
                    click.echo(f"         {in_line(line)}")
            click.echo(f"{safe(path.name)}: {same} files are the same, {len(differences)} are not")
    if code:
        say(f"custody: the program ended with exit code {code}, so its results are not complete")
    sys.exit(1 if code or differences or not same else 0)


def _run(words: list[str], again: Path, found: Folder, project: str, experiment: str) -> int:
    """The program's exit code. What it prints goes to standard error: ours is the comparison."""
    os.environ[children.ENV_STANDS_FOR] = str(found.parents[5])
    started = starting.start(again.parents[5], project, experiment, str(again), new=False, command=None)
    try:
        ours = children.environment(os.environ, again, strict=True)
        environment = {**os.environ, **ours, children.ENV_NO_NETWORK: "1"}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
        return subprocess.run(words, env=environment, stdout=sys.stderr, check=False).returncode  # noqa: S603
    finally:
        started.owner.release()
