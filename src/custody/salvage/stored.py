"""The salvaged answers of an archive, and which of them have been given to whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custody import layout
from custody.errors import ArchiveDamaged
from custody.exchange import parse_json
from custody.identity import Identity
from custody.journal.archive import Archive, StoredCall
from custody.journal.lines import unpack
from custody.storage import Storage

NOTE = "salvaged_answer_given"


@dataclass(frozen=True)
class Salvaged:
    """A call of an older layout whose response may answer.

    Attributes:
        agent: the kind of the old program's agent ("analysis_agent").
        tokens: input and output tokens, as the older program wrote them down.
        prompt_recorded: whether its prompt was.
    """

    id: str
    origin: str
    corpus_file: str | None
    run: int | None
    stage: str | None
    model: str | None
    agent: str | None
    ended: str
    tokens: tuple[int | None, int | None]
    prompt_recorded: bool
    call: StoredCall


@dataclass(frozen=True)
class Given:
    """A note that an answer was given: to whom, and with which labels it was asked for."""

    salvaged: str
    identity: Identity
    labels: dict[str, Any]


def is_migrated(storage: Storage) -> bool:
    """Whether the session was made from an older layout; all others have nothing here."""
    return next(iter(storage.list(layout.MIGRATED)), None) is not None


def siblings(session: Path) -> dict[str, int]:
    """How many salvaged answers the other migrated sessions of its experiment were made with."""
    found = {}
    for path in session.parent.glob(f"session_*/{layout.MIGRATED}"):
        name = path.parents[1].name
        document = parse_json(path.read_bytes()) if name != session.name else None
        if isinstance(document, dict) and isinstance(document.get("answers"), int):
            found[name] = document["answers"]
    return found


def answers(archive: Archive) -> list[Salvaged]:
    """Every salvaged answer, in the order in which they were made."""
    found = [_salvaged(call) for call in _calls(archive) if call.fields.get("origin") and call.fields["answers"]]
    return sorted(found, key=lambda one: (one.ended, one.id))


def given(notes: Iterable[dict[str, Any]]) -> Iterator[Given]:
    """What an archive's notes say of answers that were given."""
    for note in notes:
        if note.get("note") == NOTE:
            who = Identity(note["scope_key"], note["request_key"], note["replicate"])
            yield Given(note["call"], who, dict(note["scope"]))


def text(archive: Archive, salvaged: Salvaged) -> str:
    """The response. Raises ArchiveDamaged."""
    response = archive.response(salvaged.call)
    if response is None:
        raise ArchiveDamaged(f"the response of call {salvaged.id} is missing")
    return b"".join(chunk.data for chunk in response.chunks).decode("utf-8", "replace")


def prompt(archive: Archive, salvaged: Salvaged) -> str | None:
    """What was asked, where it was written down. Raises ArchiveDamaged."""
    if not salvaged.prompt_recorded:
        return None
    return unpack(archive.request(salvaged.call)["body"]).decode("utf-8", "replace")


def _calls(archive: Archive) -> Iterable[StoredCall]:
    return tuple(archive.calls.values())


def _salvaged(call: StoredCall) -> Salvaged:
    fields = call.fields
    scope, usage = fields["scope"], fields.get("usage") or {}
    legacy = (fields.get("annotations") or {}).get("legacy") or {}
    return Salvaged(
        call.id, fields["origin"], scope.get("corpus_file"), scope.get("run"), scope.get("stage"),
        fields["model_forensics"]["requested_model"], legacy.get("agent_kind"), fields["ended"],
        (usage.get("input"), usage.get("output")), legacy.get("prompt") == "recorded", call,
    )  # fmt: skip
