"""What an experiment says it is about: its definition, its framework and its corpus, as they lie there now.

They are named by the program (``custody.session(corpus=...)``), by the options of ``custody run``, or by
``experiment.toml`` in the experiment's folder. Nothing is guessed: a note that lies beside a framework is none.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from custody import layout
from custody.errors import UsageError
from custody.redact import Redactor
from custody.research.matrix import Document, matching
from custody.storage.folders import Folder

Kind = Literal["experiment", "framework", "corpus"]

KINDS: tuple[Kind, ...] = ("experiment", "framework", "corpus")

ACCEPTABLE = ("growth", "framework", "outside")
"""What a guard objects to and a user may accept by name."""


@dataclass(frozen=True)
class Given:
    """What the caller named. Paths are relative to ``base``, the current folder by default.

    Attributes:
        accept: of ``ACCEPTABLE``.
    """

    corpus: str | None = None
    framework: str | None = None
    definition: str | None = None
    accept: Collection[str] = ()
    base: Path = field(default_factory=Path.cwd)
    most_files: int | None = None

    @classmethod
    def of(
        cls,
        corpus: str | os.PathLike[str] | None,
        framework: str | os.PathLike[str] | None,
        definition: str | os.PathLike[str] | None,
        accept: Collection[str],
    ) -> Given:
        named = [os.fspath(path) if path is not None else None for path in (corpus, framework, definition)]
        return cls(named[0], named[1], named[2], accept)

    def __bool__(self) -> bool:
        return bool(self.corpus or self.framework or self.definition)


@dataclass(frozen=True)
class Live:
    """One of the three, as it is now.

    Attributes:
        content: as it is frozen: the file's bytes, or the corpus' manifest.
        source: where it was found, relative to the root; its name alone where it lies elsewhere.
    """

    kind: Kind
    content: bytes
    source: str
    documents: tuple[Document, ...] = ()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Place:
    """Where an experiment lies. Its documents are files of this machine: where the experiment is none, they lie below
    the current folder."""

    root: Folder
    experiment: Folder

    def relative(self, path: Path) -> str | None:
        """Relative to the experiment, else to the root; None outside of both."""
        for base in self.bases:
            if path.is_relative_to(base):
                return path.relative_to(base).as_posix()
        return None

    @property
    def bases(self) -> tuple[Path, Path]:
        """The folders that names of files are relative to: the experiment's and the root."""
        if isinstance(self.experiment, Path) and isinstance(self.root, Path):
            return self.experiment.resolve(), self.root.resolve()
        return Path.cwd(), Path.cwd()

    def objection(self, path: Path) -> str | None:
        """Why a file is no part of the experiment; None where it is."""
        path = path.resolve()
        experiment, root = self.bases
        if path.is_relative_to(experiment):
            inside = path.relative_to(experiment)
            return "is a session's own file" if inside.parts[:1] == ("sessions",) else None
        if not path.is_relative_to(root):
            return f"lies outside of {root}"
        parts = path.relative_to(root).parts
        return (
            f"belongs to the experiment {'/'.join(parts[:4])}"
            if parts[:1] == ("projects",) and len(parts) > 4
            else None
        )


def declared(place: Place, given: Given) -> Given:
    """What was given, completed by ``experiment.toml``. Raises UsageError."""
    wrong = sorted(set(given.accept) - set(ACCEPTABLE))
    if wrong:
        raise UsageError(f"accept={wrong[0]!r}: what can be accepted is {', '.join(ACCEPTABLE)}")
    stated = _toml(place.experiment / layout.EXPERIMENT_TOML)
    if not stated:
        return given
    here = place.bases[0]

    def one(name: str, mine: str | None) -> str | None:
        theirs = stated.get(name)
        if mine is not None:
            return os.fspath(given.base / mine)
        return os.fspath(here / theirs) if theirs else None

    framework = one("framework", given.framework)
    if given.framework and stated.get("framework") and "framework" not in given.accept:
        named, live = (here / stated["framework"]).resolve(), Path(framework or "").resolve()
        if named != live:
            raise UsageError(
                f"the framework {given.framework} is not the one that {layout.EXPERIMENT_TOML} of the experiment "
                f"names, {stated['framework']}: name one of them, or go on with --accept framework "
                "(accept=('framework',))"
            )
    return Given(
        one("corpus", given.corpus), framework, one("definition", given.definition), given.accept, here,
        stated.get("most_files", given.most_files),
    )  # fmt: skip


def read(place: Place, given: Given, redactor: Redactor) -> dict[Kind, Live]:
    """The live definitions, guarded. Raises UsageError before anything is made or sent."""
    live: dict[Kind, Live] = {}
    if given.definition:
        live["experiment"] = _file(place, "experiment", given.definition, given, redactor)
    if given.framework:
        live["framework"] = _file(place, "framework", given.framework, given, redactor)
    if given.corpus:
        live["corpus"] = _corpus(place, given.corpus, given)
    return live


def _file(place: Place, kind: Kind, name: str, given: Given, redactor: Redactor) -> Live:
    path = given.base / name
    if not path.is_file():
        raise UsageError(f"the {kind}'s file {name} is not there: {path}")
    _guard_place(place, path, kind, given)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the {kind}'s file {name} cannot be read: {error.strerror}") from error
    return Live(kind, redactor.scrub(content), place.relative(path.resolve()) or path.name)


def _corpus(place: Place, pattern: str, given: Given) -> Live:
    base, found = matching(given.base, pattern)
    own = {place.bases[0] / name for name in layout.FROZEN}
    found = [path for path in found if path.resolve() not in own]
    for path in found:
        _guard_place(place, path, "corpus", given)
    if not found:
        raise UsageError(
            f"the corpus {pattern} matches no file below {base}: nothing was started. Put the documents there, mend "
            "the pattern, or leave the corpus out"
        )
    files, documents = [], []
    for path in found:
        name = path.relative_to(base).as_posix()
        data = path.read_bytes()
        files.append({
            "path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "media_type": _media_type(name)
        })  # fmt: skip
        documents.append(Document(name, path, path))
    where = place.relative(base.resolve()) or base.name
    text = json.dumps({"base": where, "files": files}, ensure_ascii=False, indent=1)
    content = text.encode("utf-8", "backslashreplace") + b"\n"
    return Live("corpus", content, where, tuple(documents))


def _guard_place(place: Place, path: Path, kind: str, given: Given) -> None:
    objection = place.objection(path)
    if objection and "outside" not in given.accept:
        raise UsageError(
            f"{kind}: {path} {objection}, and would not be found on another machine. Copy it into {place.bases[0]}, "
            "or go on with --accept outside (accept=('outside',))"
        )


def _media_type(name: str) -> str:
    return mimetypes.MimeTypes().guess_type(name)[0] or "application/octet-stream"


def _toml(path: Folder) -> Mapping[str, Any]:
    try:
        stated = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    known = {"definition": str, "framework": str, "corpus": str, "most_files": int}
    for name, value in stated.items():
        if name not in known or type(value) is not known[name]:
            raise UsageError(
                f"{path}: {name} is {'no setting' if name not in known else f'no {known[name].__name__}'}; "
                f"there are {', '.join(known)}"
            )
    return stated
