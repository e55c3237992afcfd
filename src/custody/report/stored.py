"""A stored session for reading: ``custody.open(path)``."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from custody import encoding, layout
from custody.cost.money import plain
from custody.errors import CustodyError
from custody.exchange import Chunk, ResponseHead, event_parser, is_event_stream, parse_json
from custody.journal import lines, spill
from custody.journal.archive import Archive, StoredCall
from custody.report import pending, repriced, team
from custody.report.cost import Sum
from custody.report.forensics import flagged
from custody.report.replays import found, replays
from custody.report.unanswered import taken_in, unpaid_for
from custody.sessions import behind, recovery
from custody.sessions import manifest as manifests
from custody.sessions.state import standing
from custody.sse import Event
from custody.storage.folders import at, folder

_EVENT = re.compile(rb'"event":"([a-z_]+)"')


class Frame(NamedTuple):
    """A frame of a conversation over a websocket.

    Attributes:
        at_ms: since the handshake was sent.
        direction: "sent" or "received".
        kind: "text", "binary", "continuation" or "close"; with a ``+`` where a continuation follows.
    """

    at_ms: float
    direction: str
    kind: str
    data: bytes


@dataclass(frozen=True)
class Answer:
    """An archived response, raw and decoded.

    Attributes:
        chunks: raw bytes as they came, with milliseconds since the request was sent.
        complete: it arrived whole.
    """

    head: ResponseHead
    chunks: tuple[Chunk, ...]
    decoded: bool
    complete: bool

    @property
    def raw(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)

    @property
    def content(self) -> bytes:
        """Without the content-encoding; the raw bytes where it is not understood."""
        coding = "" if self.decoded else self.head.header("content-encoding") or ""
        plain = encoding.decode(coding, self.raw)
        return self.raw if plain is None else plain

    @property
    def json(self) -> Any:
        """The body as JSON; None for a stream, or where it is not JSON."""
        return None if is_event_stream(self.head) else parse_json(self.content)

    @property
    def frames(self) -> list[Frame]:
        """What both sides said over a websocket, in order; empty for any other response."""
        return [_frame(chunk) for chunk in self.chunks] if self.head.status == 101 else []

    @property
    def events(self) -> list[Event]:
        """The events of a stream."""
        parser = event_parser(self.head)
        if parser is None:
            return []
        found = list(parser.feed(self.content))
        last = parser.rest()
        return [*found, last] if last else found


def _frame(chunk: Chunk) -> Frame:
    head, _, data = chunk.data.partition(b"\n")
    direction, _, kind = head.decode("utf-8", "replace").partition(" ")
    return Frame(chunk.at_ms, direction, kind, data)


class Call:
    """An archived call. ``fields`` is its call line, as documented in docs/format.md."""

    def __init__(self, archive: Archive, stored: StoredCall) -> None:
        self._archive, self._stored = archive, stored

    def __repr__(self) -> str:
        return f"<Call {self.id} {self.outcome} {self.scope}>"

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The call line, read when it is first asked for. Raises ArchiveDamaged."""
        return self._stored.fields

    @property
    def id(self) -> str:
        return self._stored.id

    @property
    def outcome(self) -> str:
        return str(self.fields["outcome"])

    @property
    def success(self) -> bool:
        return bool(self.fields["success"])

    @property
    def scope(self) -> dict[str, Any]:
        return dict(self.fields["scope"])

    @property
    def reused_from(self) -> dict[str, str]:
        """Session and call whose answer this is; empty for a call that this session made: only those are runs."""
        return dict(self.fields.get("reused_from") or {})

    @property
    def model_forensics(self) -> dict[str, Any]:
        return dict(self.fields["model_forensics"])

    @property
    def response_metadata(self) -> dict[str, Any]:
        return dict(self.fields["response_metadata"])

    @property
    def request(self) -> dict[str, Any]:
        """The last attempt's request line; the body's bytes are in ``request_body``. Raises ArchiveDamaged."""
        return self._archive.request(self._stored)

    @property
    def request_body(self) -> bytes:
        return lines.unpack(self.request["body"])

    @property
    def request_json(self) -> Any:
        return parse_json(self.request_body)

    @property
    def response(self) -> Answer | None:
        """The last attempt's response; None where none came. Raises ArchiveDamaged."""
        stored = self._archive.response(self._stored)
        if stored is None:
            return None
        return Answer(stored.head, stored.chunks, stored.decoded, stored.ending == "complete")


@dataclass
class _Counts:
    """What ``status`` adds up over the call lines."""

    plans: pending.Count
    repricing: repriced.Repricing | None
    outcomes: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    cost: Sum = field(default_factory=Sum)
    later: Sum = field(default_factory=Sum)
    reconciled: list[list[str]] = field(default_factory=list)
    replays: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    tokens: int = 0
    without_usage: int = 0
    redacted: int = 0

    def counted(self, line: dict[str, Any]) -> dict[str, Any]:
        """Add a call line, and give it back."""
        self.plans.add(line)
        self.outcomes[str(line["outcome"])] += 1
        self.models[line["model_forensics"]["actual_model"] or "(unknown)"] += 1
        replayed = self.replays[str(line["id"])]
        self.cost.add(line, replayed)
        if self.repricing is not None:
            self.later.add(self.repricing.line(line), replayed)
        if line.get("reused_from"):  # paid for elsewhere
            return line
        if names := taken_in(line):
            self.reconciled.append(names)
        if line.get("origin"):
            self.origins[str(line["origin"])] += 1
        self.attempts += len(line["attempts"])
        tokens = line["response_metadata"]["tokens_used"]
        self.tokens += tokens or 0
        self.without_usage += tokens is None
        self.redacted += bool(line.get("redacted"))
        return line


class StoredSession:
    """A session on disk, read-only. What is written meanwhile is not seen."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises SessionNotFound, UsageError, ArchiveDamaged."""
        self.path = layout.find_session(folder("."), os.fspath(path))
        self.storage = at(self.path)
        self.manifest = manifests.read(self.storage)
        self.archive = Archive(self.storage)
        self.archive.refresh()

    @property
    def damaged(self) -> int:
        """How many places of the archive are no whole lines, torn tails aside: what calls they held is not seen."""
        return sum(1 for d in self.archive.damage if not d.torn)

    def calls(self) -> list[Call]:
        """All calls in order of their start."""
        return [Call(self.archive, call) for call in self._in_order()]

    def _in_order(self) -> list[StoredCall]:
        return sorted(self.archive.calls.values(), key=lambda call: (call.started, call.id))

    def find(self, *, outcome: str | None = None, operation: str | None = None, **labels: object) -> list[Call]:
        """The calls with this outcome, this operation and these scope labels."""
        return list(self._matching(outcome, operation, labels))

    def _matching(self, outcome: str | None, operation: str | None, labels: dict[str, object]) -> Iterator[Call]:
        for call in self.calls():
            if outcome is not None and call.outcome != outcome:
                continue
            if operation is not None and call.fields["operation"] != operation:
                continue
            if all(name in call.scope and call.scope[name] == value for name, value in labels.items()):
                yield call

    def status(self) -> dict[str, Any]:
        """Where the session stands: counts, calls in doubt, tokens, damage."""
        seen = _Counts(pending.Count(self.storage), repriced.read(self.storage), replays=self.replays())
        flags = flagged(seen.counted(call.fields) for call in self._in_order())  # one at a time: many
        doubts = recovery.doubts(self.archive)
        unpaid = unpaid_for({doubt["call_id"]: doubt for doubt in doubts}, seen.reconciled)
        seen.cost.in_doubt = seen.later.in_doubt = len(unpaid)
        events = self._events()
        state = standing(self.storage).state
        return {
            "session": self.manifest.session,
            "project": self.manifest.project,
            "experiment": self.manifest.experiment,
            "path": str(self.path),
            "state": state,
            "created": self.manifest.created,
            "calls": len(self.archive.calls),
            "reused": dict(sorted(seen.cost.origins.items())),
            "reused_cost": None if seen.cost.reused is None else seen.cost.reused.sentence,
            "answers": self.archive.answers(),
            "outcomes": dict(sorted(seen.outcomes.items())),
            "attempts": seen.attempts,
            "replayed": events["llm_call_replayed"],
            "resumed": events["session_resume"],
            "workers": team.rows(self.storage, self.archive.notes),
            "in_doubt": doubts if state != "running" else [],
            "in_doubt_cost_unknown": len(unpaid),
            "in_flight": len(doubts) if state == "running" else 0,
            "plans": [plan.as_dict() for plan in seen.plans.made(doubts if state != "running" else ())],
            "tokens_used": seen.tokens,
            "calls_without_usage": seen.without_usage,
            "cost_usd": None if seen.cost.known is None else plain(seen.cost.known),
            "cost": seen.cost.sentence,
            "repriced": None if seen.repricing is None else seen.repricing.told(seen.later),
            "saved_by_replay_usd": None if seen.cost.known_saved is None else plain(seen.cost.known_saved),
            "cost_unknown": dict(sorted(seen.cost.unpriced.items())),
            "flagged": flags,
            "origins": dict(sorted(seen.origins.items())),
            "models": dict(sorted(seen.models.items())),
            "redacted": seen.redacted,
            "spilled": self._spilled(),
            "backlog": behind.backlog(self.storage),
            "notes": list(self.archive.notes),
            "vanished": len(recovery.vanished(self.storage, self.archive)) if state != "running" else 0,
            "damaged_lines": self.damaged,
            "torn_tails": sum(1 for d in self.archive.damage if d.torn),
        }

    def _spilled(self) -> list[str]:
        try:
            return [str(path) for path in spill.pending(manifests.unique_name(self.storage))]
        except CustodyError:  # a session that was published without its request key
            return []

    def replays(self) -> Counter[str]:
        """By call, how often its answer was given again."""
        return replays(self.storage)

    def _events(self) -> Counter[str]:
        """How many of each."""
        return found(self.storage, _EVENT)
