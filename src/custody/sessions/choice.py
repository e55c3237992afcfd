"""Which session a start means: a new one, the unfinished one, or none without being told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from custody import layout
from custody.errors import ArchiveDamaged, NamesDisagree, SessionBusy, SessionFinished, UsageError
from custody.journal.segments import segments
from custody.sessions import children, sharding
from custody.sessions.state import Standing, standing
from custody.storage.folders import Folder, RemoteFolder, at, folder
from custody.storage.local import make_folder, sync_folder

if TYPE_CHECKING:
    from custody.sessions.session import Session


@dataclass(frozen=True, slots=True)
class Chosen:
    """The session's folder; ``before`` is how it stood, None for a new one."""

    path: Folder
    before: Standing | None


def choose(root: Folder, project: str, experiment: str, session: str | None, *, new: bool) -> Chosen:
    """The session to open. Raises UsageError, SessionNotFound, SessionFinished, SessionBusy.

    A finished session is neither reopened nor repeated unasked: the one could change a result that
    stands, the other pays for everything again.
    """
    if session is not None and new:
        raise UsageError("--session continues one session and --new starts another: give one of them")
    here = layout.experiment_path(root, project, experiment)
    if session is not None:
        named = here / "sessions" / session
        path = named.resolve() if (named / layout.MANIFEST).is_file() else layout.find_session(root, session)
        if path.parent.parent != here.resolve():
            raise UsageError(f"session {path.name} belongs to {path.parent.parent}, not to {here}")
        return Chosen(path, _usable(path))
    existing = [] if new else sharding.among(layout.sessions_of(here))
    if not existing:
        return Chosen(_create(here), None)
    newest = existing[-1]
    if not (newest / layout.MANIFEST).exists():
        if segments(at(newest)):
            raise ArchiveDamaged(
                f"session {newest.name} holds calls and has no {layout.MANIFEST}. Put it back, or finish the copy that "
                "did not come to its end, or start another one, which pays for its own calls: --new, or new=True. "
                "Nothing was sent"
            )
        return Chosen(_create(here), None)  # killed while it was being created: it holds nothing
    before = _usable(newest)
    if before.state == "finished":
        where = f" --root {root}" if isinstance(root, RemoteFolder) else ""
        raise SessionFinished(
            f"session {newest.name} of {project}/{experiment} is finished. "
            f"To replay it (nothing is paid twice): custody resume {newest.name}{where}, or session={newest.name!r}. "
            "To start another one, which pays for its own calls: --new, or new=True"
        )
    return Chosen(newest, before)


def refuse_nested(root: Folder) -> None:
    """Raises UsageError for a root within another one's projects/: a program that is started there by mistake would
    find none of its sessions, and pay for everything again."""
    for below, above in zip((root, *root.parents), root.parents, strict=False) if isinstance(root, Path) else ():
        # By what custody writes there: people have folders of these names, too.
        if above.name == "projects" and (below / f"PROJECT_CHRONOLOG_{below.name}.jsonl").is_file():
            raise UsageError(
                f"{root} lies within {above}, and a root cannot lie within another one's projects/: "
                f"start it in {above.parent}, or with --root {above.parent} (root=...)"
            )


def _usable(path: Folder) -> Standing:
    before = standing(at(path))
    if before.state == "running":
        by = f" in process {before.pid}" if before.pid else ""
        raise SessionBusy(
            f"session {path.name} is alive{by} or one that it started. "
            "Wait for it or stop it; --new (new=True) starts another session"
            + ("" if isinstance(path, Path) else ". Killed on another machine, it is free a minute later (its lease)")
        )
    return before


def _create(experiment: Folder) -> Folder:
    sessions = experiment / "sessions"
    try:
        if isinstance(sessions, Path):
            make_folder(sessions)
        now = datetime.now(UTC)
        for attempt in range(1000):
            name = layout.new_session_id(now, attempt)
            if next(iter(experiment.parents[3].glob(f"projects/*/experiments/*/sessions/{name}")), None) is not None:
                continue  # an id names one session below a root, so that people can say it without a path
            path = sessions / name
            if isinstance(path, RemoteFolder):
                return path  # who takes its lock first has it
            try:
                path.mkdir()
            except FileExistsError:
                continue
            sync_folder(path.parent)
            for name in layout.FOLDERS:
                make_folder(path / name)
            return path.resolve()
    except (FileExistsError, NotADirectoryError) as error:
        above = (sessions, *sessions.parents)
        blocking = next((p for p in above if isinstance(p, Path) and p.exists() and not p.is_dir()), error.filename)
        raise UsageError(f"{blocking}: a file is where a folder should be") from error
    except OSError as error:
        where = error.filename or sessions
        raise UsageError(f"{where}: a session cannot be made here: {error.strerror or error}") from error
    raise UsageError(f"{sessions}: a thousand sessions in one second")


def agree(
    opened: Session,
    project: str | None,
    experiment: str | None,
    root: str | os.PathLike[str] | None,
    session: str | None,
    *,
    new: bool,
) -> None:
    """Raises NamesDisagree where a script asks for another session than the one that is open."""
    has = opened.manifest
    wanted = {"project": (project, has.project), "experiment": (experiment, has.experiment)}
    wrong = [
        f"{kind} {mine!r} (not {theirs!r})" for kind, (mine, theirs) in wanted.items() if mine not in (None, theirs)
    ]
    standing_in = os.environ.get(children.ENV_STANDS_FOR)
    actual_root = folder(standing_in) if standing_in else opened.path.parents[5]
    if root is not None and folder(root) != actual_root:
        wrong.append(f"root {str(root)!r} (not {str(actual_root)!r})")
    same_id = standing_in and folder(session or ".").name == has.session
    if session is not None and session != has.session and folder(session) != opened.path and not same_id:
        wrong.append(f"session {session!r} (not {has.session!r})")
    if new and (opened.resumed or os.environ.get(children.ENV_RESUMED) == "1"):
        wrong.append(f"a new session (not {has.session!r}, which is being continued)")
    if wrong:
        names = f"--project {project or has.project!r} --experiment {experiment or has.experiment!r}"
        raise NamesDisagree(
            f"the script asks for {', '.join(wrong)}, but session {has.session} is open for {has.project!r}, "
            f"{has.experiment!r}. Nothing was sent. "
            + (
                f"Use the same names: custody run {names} -- ..."
                if opened.joined
                else "One is open at a time: close that one first (its close(), or the end of its with block)"
            )
        )
