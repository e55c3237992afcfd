"""Whether two storages hold the same session, byte by byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from custody import layout
from custody.storage import Storage
from custody.transfer import contents
from custody.transfer.streaming import Digest, digest, is_beginning
from custody.transfer.together import together

_NAMED = 3


@dataclass
class Comparison:
    """Of what lies at a target with its source, by the names of files.

    Attributes:
        equal: there, and the same bytes.
        missing: not there.
        begun: there in part: the first bytes of it.
        different: there, and other bytes.
        extra: there, and not in the source.
    """

    equal: dict[str, Digest] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)


def compare(source: Storage, target: Storage, files: Mapping[str, int]) -> Comparison:
    """Compare ``files`` of the source, with their sizes, with what the target has. Raises OSError."""
    there = contents.files(target)
    found = Comparison(missing=[name for name in files if name not in there])
    found.extra = [name for name in there if name not in files and not contents.is_carried(name)]

    def judge(name: str) -> Digest | str:
        size = there[name]
        if size == files[name]:
            ours = digest(source, name, size)
            return ours if ours == digest(target, name, size) else "different"
        return "begun" if size < files[name] and is_beginning(target, source, name, size) else "different"

    for name, verdict in together(judge, [name for name in files if name in there], files).items():
        if isinstance(verdict, Digest):
            found.equal[name] = verdict
        else:
            (found.begun if verdict == "begun" else found.different).append(name)
    return found


def some(names: list[str]) -> str:
    """Names for a message: the first ones, and how many more."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def is_unfinished(storage: Storage) -> bool:
    """Whether a copy was begun there that has not come to its end."""
    return any(entry.name == layout.COPYING for entry in storage.list(layout.COPYING))
