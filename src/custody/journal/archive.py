"""Which call stands where: the index over a session's segments, made by reading them or their sidecars.

It keeps places, not content: call lines, requests and responses are read from the segment when they are asked for.
Calls of segments that are clean lie packed (``packed``), those that are still coming, or are few, in a ``Part``.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from custody import encoding
from custody.errors import ArchiveDamaged
from custody.exchange import Chunk, ResponseHead
from custody.identity import Identity
from custody.journal import indexing, lines, packed
from custody.journal.calls import Calls
from custody.journal.entries import StoredCall, StoredExchange, committed, digest, key_digest
from custody.journal.indexing import Placed
from custody.journal.packed import Packed, Row
from custody.journal.part import Part
from custody.journal.ranges import Ranges
from custody.journal.scan import Damage, Place
from custody.journal.segments import PLAIN, SIDECAR, Segments, writer_of
from custody.storage import Settling, Storage

PACK = 256  # calls from which on a segment is worth an index of its own
LIVE = 8192  # calls in the growing part, from which on it is packed


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response as it was archived. ``ending`` as ``exchange.Ending``."""

    head: ResponseHead
    chunks: tuple[Chunk, ...]
    decoded: bool
    ending: str

    @property
    def content(self) -> bytes:
        """The bytes without their content-encoding, as far as it can be undone."""
        raw = b"".join(chunk.data for chunk in self.chunks)
        coding = "" if self.decoded else self.head.header("content-encoding") or ""
        plain = encoding.decode(coding, raw)
        return raw if plain is None else plain


def replay_head(call: StoredCall, response: StoredResponse) -> ResponseHead:
    """The head as a replay hands it out: its content-length is that of what is stored, from which a secret
    may have been cut; some clients count."""
    head = response.head
    if head.header("content-length") is None or not call.fields.get("redacted"):
        return head
    size = str(sum(len(chunk.data) for chunk in response.chunks))
    pairs = tuple((name, size if name.lower() == "content-length" else value) for name, value in head.headers)
    return replace(head, headers=pairs)


class Archive:
    """A session's archive for reading. Thread-safe; ``refresh`` takes in what others wrote since.

    Attributes:
        own_writer: a writer whose segments are left out, because this process needs no news of itself.
        call_level: whether a call was archived at the call level, because nothing was seen on the wire.
        calls: all calls by id; each is made anew when it is asked for.
        foreign: files among the segments that are none; they are skipped, and are no damage.
        settles: a response is on stable storage before it is handed on. What a writer appended and did not sync
            survives its ``kill -9`` in the page cache; a power cut would take it from under the program that was
            given it. For an open session, whose program acts on what it reads.
        packed, live: the index; ``live`` is of the calls that are not packed.
        last_read: where the call line stands whose response was read last.
        unindexed: clean segments that were read in full because they have no valid sidecar.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.segments = Segments(storage)
        self.own_writer = ""
        self.settles = False
        self.call_level = False
        self.calls = Calls(self)
        self.notes: list[dict[str, Any]] = []
        self.damage: list[Damage] = []
        self.foreign: list[str] = []
        self.unindexed: dict[str, Packed] = {}
        self.packed: list[Packed] = []
        self.live = Part(self.line)
        self.last_read: Place | None = None
        self._pack_from = LIVE
        self._unreadable: set[str] = set()
        self._unsettled: set[str] = set()  # segments of which something was read since they were settled
        self._ends: dict[str, int] = {}
        self._seen: dict[str, Ranges] = {}
        self._foreign_sizes: dict[str, int] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read what is new in all segments. Raises ArchiveDamaged for a format newer than this reader."""
        with self._lock:
            for name, size in self.segments.list():
                known = self._foreign_sizes.get(name, self._ends.get(name, 0))
                if size < 0:
                    self._damaged(name)
                elif size > known and writer_of(name) != self.own_writer:
                    self._read(name, size)

    def answer(self, identity: Identity) -> StoredCall | None:
        """The complete call of this identity, if there is one.

        The first complete answer is the answer; a later one of the same identity is a zombie's. By time, because the
        order of reading differs between a live reader and the next start. One that says itself that its claim had been
        taken over (``superseded``) answers only where there is no other.
        """
        found = [call for call in self._find(identity) if call.answers and call.id not in self._unreadable]
        if len(found) > 1:
            found = [call for call in found if call.fields.get("superseded") is not True] or found
        return min(found, key=lambda call: (call.ended, call.id)) if found else None

    def discard(self, identity: Identity) -> None:
        """Forget an answer that turned out to be unreadable; a later one of this identity takes its place."""
        call = self.answer(identity)
        if call is not None:
            self._unreadable.add(call.id)

    def failures(self, identity: Identity) -> list[StoredCall]:
        """The failed calls of this identity that its last program saw, in order: they got a failure, or nothing
        though the program waited. Where there is an answer, those of the process that got it, before it."""
        failed = [call for call in self._find(identity) if call.failed and not call.answers]
        failed.sort(key=lambda call: (call.ended, call.id))
        answer = self.answer(identity)
        if answer is not None:
            return [f for f in failed if f.process == answer.process and f.ended <= answer.ended]
        return [f for f in failed if f.process == failed[-1].process]

    def answers(self) -> int:
        """How many identities have an answer."""
        return packed.identities(self.packed, self.live.digests())

    def answered(self) -> set[bytes]:
        """Digests of the identities that have an answer (``entries.digest``)."""
        return self.live.digests().union(*(part.answered() for part in self.packed))

    def unanswering(self) -> int:
        """How many calls are no answer."""
        live = sum(1 for call in tuple(self.live.calls.values()) if not call.answers)
        return live + sum(part.unanswering() for part in self.packed)

    def replicates(self, key: str | None = None) -> Iterator[Identity]:
        """Every identity that has an answer; of one request key, where one is given. Reads the call lines."""
        seen = set()
        for call in self.calls.every(key_digest(key) if key is not None else None):
            if call.answers and call.id not in self._unreadable and call.digest not in seen:
                seen.add(call.digest)
                identity = call.identity
                if key is None or identity.key == key:
                    yield identity

    def names(self) -> Iterator[Iterable[bytes]]:
        """The ids of all calls, in UTF-8, in any order, many at a time."""
        live = [name.encode() for name in tuple(self.live.calls)]  # first, as in ``Calls``
        for part in tuple(self.packed):
            yield part.names()
        yield live

    def with_key(self, key: str) -> Iterator[StoredCall]:
        """The calls of a request key, and perhaps a few others."""
        return self.calls.every(key_digest(key))

    def has_line(self, writer: str, number: int) -> bool:
        """Whether this line of a writer was read, in whichever segment."""
        seen = self._seen.get(writer)
        return seen is not None and number in seen

    def lines(self) -> Iterator[dict[str, Any]]:
        """The fields of every call line."""
        yield from (call.fields for call in self.calls.values())

    def in_doubt(self) -> list[dict[str, Any]]:
        """Request lines of calls that have no call line: sent, and no complete response on record."""
        with self._lock:
            found = [ex.request for ex in self.live.open.values() if ex.request is not None]
        read = [fields for place in found if (fields := self._readable(place)) is not None]
        return [fields for fields in read if not self._has_call(fields)]

    def _readable(self, place: Place) -> dict[str, Any] | None:
        """A line's object; None where it is damaged since it was indexed, which is damage like any other."""
        try:
            return self.line(place)
        except ArchiveDamaged:
            found = Damage(place.segment, place.offset, place.size, torn=False)
            with self._lock:
                if found not in self.damage:
                    self.damage.append(found)
            return None

    def _has_call(self, request: dict[str, Any]) -> bool:
        """Whether the call line of a request line is there. By identity: by id all calls would be gone through."""
        name = request["call"]
        if name in self.live.calls:
            return True
        identity = Identity(request["scope_key"], request["request_key"], request["replicate"])
        return any(call.id == name for call in self._find(identity))

    def request(self, call: StoredCall, exchange: str | None = None) -> dict[str, Any]:
        """The request line of a call's exchange (the last one by default). Raises ArchiveDamaged."""
        name = exchange or call.terminal or ""
        place = call.exchanges[name].request
        if place is None:
            raise ArchiveDamaged(f"the request line of call {call.id} is missing{self._where(call)}")
        return self.line(place)

    def response(self, call: StoredCall, exchange: str | None = None) -> StoredResponse | None:
        """The archived response of a call's exchange (the last one by default); None where none came.

        Raises ArchiveDamaged, also where a line of it is missing: half an answer is none.
        """
        name = exchange or call.terminal or ""
        places = call.exchanges[name].response if name in call.exchanges else []
        fields, self.last_read = call.fields, call.place
        if digest(Identity(fields["scope_key"], fields["request_key"], fields["replicate"])) != call.digest:
            raise ArchiveDamaged(f"the index of {call.place.segment} is not its own: remove it, and it is made again")
        if self.settles:
            self._settle(call.place.segment)
        found, hashed = self._assembled(places)
        promised = committed(fields)
        if name in promised and promised[name] != (hashed if places else None):
            raise ArchiveDamaged(
                f"the response of call {call.id} is not the one that its call line commits to{self._where(call)}"
            )
        return found

    def _settle(self, name: str) -> None:
        if name in self._unsettled:
            self._unsettled.discard(name)  # first: what is read meanwhile puts it in again
            if isinstance(self.storage, Settling):
                with contextlib.suppress(FileNotFoundError):  # it was closed, synced and compressed meanwhile
                    self.storage.settle(name)

    def _assembled(self, places: list[Place]) -> tuple[StoredResponse | None, str]:
        """A response put together from its lines, and their digest."""
        head, chunks, decoded, ending = None, [], False, "broken"
        hashed = hashlib.sha256()
        for place in places:
            raw = self.raw(place)
            hashed.update(raw + b"\n")
            fields = self.line(place, raw)
            if fields["kind"] == "response" and "status" in fields:
                pairs = tuple((k, v) for k, v in fields["headers"])
                head = ResponseHead(fields["status"], fields["reason"], fields["http_version"], pairs)
                decoded = bool(fields.get("decoded"))
                if "body" in fields:
                    chunks, ending = [Chunk(fields["at_ms"], lines.unpack(fields["body"]))], fields["ending"]
            elif fields["kind"] == "chunk":
                chunks.append(Chunk(fields["at_ms"], lines.unpack(fields["body"])))
            elif fields["kind"] == "end":
                ending = fields["ending"]
        return StoredResponse(head, tuple(chunks), decoded, ending) if head else None, hashed.hexdigest()

    def arrived(self, exchange: str) -> StoredResponse | None:
        """What came of the response of a call in doubt. Raises ArchiveDamaged."""
        with self._lock:
            found = self.live.open.get(exchange)
        return self._assembled(found.response)[0] if found is not None else None

    def raw(self, place: Place) -> bytes:
        """A line's bytes without its newline."""
        return self.segments.read(place.segment, place.offset, place.size)

    def _where(self, call: StoredCall) -> str:
        """The damage that may have cost a call one of its lines."""
        writer = writer_of(call.place.segment)
        places = [f"{d.segment} at byte {d.offset}" for d in self.damage if writer_of(d.segment) == writer]
        return f"; damaged: {', '.join(places[:3])}" if places else f"; its call line is in {call.place.segment}"

    def line(self, place: Place, raw: bytes | None = None) -> dict[str, Any]:
        """A line's object. Raises ArchiveDamaged."""
        try:
            return lines.parse(self.raw(place) if raw is None else raw)
        except (ArchiveDamaged, ValueError) as error:
            raise ArchiveDamaged(f"{place.segment}: the line at byte {place.offset} is damaged: {error}") from error

    def _find(self, identity: Identity) -> list[StoredCall]:
        wanted = digest(identity)
        found = self.live.find(wanted)
        for part in self.packed:
            found += part.find(wanted)
        return found

    def _damaged(self, name: str) -> None:
        """A compressed segment whose frames cannot be found."""
        if all(d.segment != name for d in self.damage):
            size = next((e.size for e in self.storage.list(f"{name}.zst")), 0)
            self.damage.append(Damage(name, 0, size, torn=False))

    def _read(self, name: str, size: int) -> None:
        start = self._ends.get(name, 0)
        if start == 0 and self._take_sidecar(name, size):
            return
        self._unsettled.add(name)
        try:
            found = indexing.read(self.segments, name, start)
        except FileNotFoundError:
            return  # compressed at this moment: read at the next refresh
        if found.foreign:
            self._foreign_sizes[name] = size
            if name not in self.foreign:
                self.foreign.append(name)
            return
        if self._foreign_sizes.pop(name, None) is not None:
            self.foreign.remove(name)
        self._ends[name] = found.end
        self.damage = [d for d in self.damage if d.segment != name or d.offset < start] + found.damage
        if found.clean and found.calls >= PACK:
            made = indexing.pack(found, self.line)
            if self._take(made):
                self.unindexed[name] = made
                return
        self._feed(found.placed())

    def _take_sidecar(self, name: str, size: int) -> bool:
        """Whether the sidecar was taken in place of the segment."""
        try:
            data = self.storage.read(name.removesuffix(PLAIN) + SIDECAR)
        except FileNotFoundError:
            return False
        made = packed.load(data, name, self.line)
        if made is None or made.size != size or not self._take(made):
            return False
        self._ends[name] = size
        return True

    def _take(self, made: Packed) -> bool:
        """Whether none of its lines had been seen before."""
        if not self._seen.setdefault(writer_of(made.segment), Ranges()).add_range(made.first, made.last):
            return False
        self.packed.append(made)
        self.call_level = self.call_level or not made.on_wire
        left = (indexing.loose_line(self.segments, made.segment, loose) for loose in made.loose)
        self._feed((line for line in left if line is not None), counted=True)
        return True

    def _feed(self, read: Iterable[Placed], *, counted: bool = False) -> None:
        for kind, exchange, place, said in read:
            if not counted and not self._seen.setdefault(writer_of(place.segment), Ranges()).add(place.seq):
                continue  # written again after a failed sync, or taken in twice from the spill
            if kind == "call":
                self.live.call(said, place)
                self.call_level = self.call_level or not said.on_wire
            elif kind == "note":
                self.notes.append(said)
            else:
                self.live.line(kind, exchange, place)
        if len(self.live.calls) > self._pack_from:
            self._pack_live()
            # What is left is a few calls of each of many segments: not looked at again until there are as many more.
            self._pack_from = len(self.live.calls) + LIVE

    def _pack_live(self) -> None:
        """Pack the calls of segments that grow: what is kept of a call must not grow with the time it is kept."""
        by_segment: dict[str, list[Row]] = {}
        for call in self.live.calls.values():
            made = packed.row(call)
            if made is not None:
                by_segment.setdefault(call.place.segment, []).append(made)
        for name, rows in by_segment.items():
            if len(rows) >= PACK:
                self.packed.append(packed.pack(name, rows, size=0, lines=0, first=0, last=0, load=self.line))
                for made in rows:
                    self.live.remove(made.id)


__all__ = ["Archive", "StoredCall", "StoredExchange", "StoredResponse", "replay_head"]
