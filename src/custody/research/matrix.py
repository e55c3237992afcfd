"""The matrix of a plan: documents x conditions x runs, as labels that are the same on every machine."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from custody.errors import UsageError
from custody.identity.scope import Label

DOCUMENT, RUN, CONDITION = "corpus_file", "run", "condition"


@dataclass(frozen=True)
class Document:
    """One document. ``name`` is its label; ``path`` is None where it is no file, and ``value`` is what was given."""

    name: str
    value: Any
    path: Path | None = None

    @cached_property
    def text(self) -> str:
        """The file as UTF-8, or the value as text."""
        return self.path.read_text("utf-8") if self.path is not None else str(self.value)

    @cached_property
    def digest(self) -> str | None:
        """SHA-256 of its content; None where what it holds is not known."""
        if self.path is not None:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        return hashlib.sha256(self.value.encode()).hexdigest() if isinstance(self.value, str) else None


@dataclass(frozen=True)
class Item:
    """One cell of the matrix.

    Attributes:
        document: what was given for it: a path, a value.
        conditions: the level of each factor, by name.
        labels: the scope that is in force while it is worked on.
    """

    source: Document
    run: int
    conditions: Mapping[str, Label] = field(default_factory=dict)

    @property
    def document(self) -> Any:
        return self.source.value

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def path(self) -> Path | None:
        return self.source.path

    @property
    def text(self) -> str:
        return self.source.text

    @property
    def condition(self) -> Label:
        """The condition, where there is one factor; None without."""
        return next(iter(self.conditions.values()), None)

    @property
    def labels(self) -> dict[str, Label]:
        return {DOCUMENT: self.name, **self.conditions, RUN: self.run}

    @property
    def key(self) -> str:
        """The labels as JSON: what tells it from the other items."""
        return json.dumps(self.labels, ensure_ascii=False)


@dataclass(frozen=True)
class Matrix:
    """Documents x conditions x runs, in this order."""

    documents: tuple[Document, ...]
    runs: tuple[int, ...]
    conditions: Mapping[str, tuple[Label, ...]]

    def __len__(self) -> int:
        levels = 1
        for values in self.conditions.values():
            levels *= len(values)
        return len(self.documents) * levels * len(self.runs)

    def __iter__(self) -> Iterator[Item]:
        for document in self.documents:
            for levels in itertools.product(*self.conditions.values()):
                for run in self.runs:
                    yield Item(document, run, dict(zip(self.conditions, levels, strict=True)))


def made(corpus: Any, runs: int | Iterable[int], conditions: Any) -> Matrix:
    """Raises UsageError for what is no corpus, has a name twice, or has nothing in it."""
    documents = tuple(_documents(corpus))
    if not documents:
        raise UsageError("the plan has no documents: its corpus is empty")
    twice = [name for name, times in Counter(d.name for d in documents).items() if times > 1]
    if twice:
        raise UsageError(
            f"{len(twice)} documents of the plan share their name with another one, the first is {twice[0]!r}: "
            "give a mapping of names to documents"
        )
    numbers = tuple(range(1, runs + 1)) if isinstance(runs, int) else tuple(runs)
    if not numbers or not all(type(run) is int for run in numbers) or len(set(numbers)) < len(numbers):
        raise UsageError(f"runs={runs!r}: give how many, at least 1, or different numbers of runs")
    return Matrix(documents, numbers, _factors(conditions))


def _factors(conditions: Any) -> dict[str, tuple[Label, ...]]:
    factors = {} if conditions is None else conditions
    if not isinstance(factors, Mapping):
        factors = {CONDITION: factors}
    made: dict[str, tuple[Label, ...]] = {}
    for name, levels in factors.items():
        if isinstance(levels, str) or not isinstance(levels, Iterable):
            raise UsageError(f"conditions: {name!r} needs a list of levels, not {levels!r}")
        values = tuple(levels)
        if not values or len(set(map(repr, values))) < len(values):
            raise UsageError(f"conditions: {name!r} has no level, or one twice")
        if name in (DOCUMENT, RUN, "stage"):
            raise UsageError(f"conditions: the label {name!r} is the plan's own; take another name")
        made[str(name)] = values
    return made


def _documents(corpus: Any) -> Iterator[Document]:
    if isinstance(corpus, (str, Path)):
        yield from _files(corpus)
    elif isinstance(corpus, Mapping):
        for name, value in corpus.items():
            yield Document(str(name), value, value if isinstance(value, Path) else None)
    elif isinstance(corpus, Iterable):
        for value in corpus:
            yield _document(value)
    else:
        raise UsageError(f"the corpus of a plan is a pattern, paths, names or a mapping, not {type(corpus).__name__}")


def _document(value: Any) -> Document:
    if isinstance(value, Document):
        return value
    if isinstance(value, Path):
        return Document(value.name, value, value)
    if isinstance(value, str):
        return Document(value, value)
    name = getattr(value, "name", None)
    if isinstance(name, str):
        return Document(name, value)
    raise UsageError(
        f"a document of the plan is a {type(value).__name__} without a name: give a mapping of names to documents"
    )


def _files(pattern: str | Path) -> list[Document]:
    base, found = matching(Path(), str(pattern))
    if not found:
        raise UsageError(
            f"the corpus {str(pattern)!r} matches no file below {Path.cwd()}: mend the pattern or the folder"
        )
    return [Document(path.relative_to(base).as_posix(), path, path) for path in found]


def matching(folder: Path, pattern: str) -> tuple[Path, Sequence[Path]]:
    """The files that a pattern, a folder or a file below ``folder`` means, and its part without wildcards.

    Names that begin with a dot are left out, as a shell does.
    """
    parts = Path(pattern).parts
    fixed = list(itertools.takewhile(lambda part: not any(ch in part for ch in "*?["), parts))
    base, rest = folder.joinpath(*fixed), parts[len(fixed) :]
    if not rest and base.is_file():
        return base.parent, [base]
    if not base.is_dir():
        return base, []
    candidates = base.glob("/".join(rest) if rest else "**/*")
    files = [p for p in candidates if p.is_file() and not any(n.startswith(".") for n in p.relative_to(base).parts)]
    return base, sorted(files)
