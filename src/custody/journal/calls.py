"""All calls of an archive, by id; and a few of very many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from custody.journal.entries import StoredCall
from custody.journal.packed import Packed
from custody.journal.part import Part
from custody.journal.scan import Place
from custody.journal.segments import writer_of


class Indexed(Protocol):
    """What an ``Archive`` knows of its calls."""

    packed: list[Packed]
    live: Part
    last_read: Place | None


class Calls(Mapping[str, StoredCall]):
    """To look one up by its id takes as long as to go through all."""

    def __init__(self, archive: Indexed) -> None:
        self._archive = archive

    def __len__(self) -> int:
        return len(self._archive.live.calls) + sum(map(len, self._archive.packed))

    def __iter__(self) -> Iterator[str]:
        live = tuple(self._archive.live.calls)  # first: another thread packs them, and they are in both then
        for part in tuple(self._archive.packed):
            yield from part.ids()
        yield from live

    def __getitem__(self, name: str) -> StoredCall:
        found = self._archive.live.calls.get(name)
        if found is not None:
            return found
        for part in tuple(self._archive.packed):
            if name.startswith(writer_of(part.segment)) and name in part.ids():
                return next(call for call in part if call.id == name)
        raise KeyError(name)

    def values(self) -> Any:
        return list(self.every()) if not self._archive.packed else self.every()

    def every(self, key: bytes | None = None) -> Iterator[StoredCall]:
        """All calls, or those of a request key's digest."""
        live = tuple(self._archive.live.calls.values())  # first, as above
        for part in tuple(self._archive.packed):
            yield from iter(part) if key is None else part.with_key(key)
        yield from [call for call in live if key is None or call.key == key]

    def some(self, most: int) -> list[StoredCall]:
        """At most so many, where there are more: half of them around the call that was replayed last, because who
        asks for what is not there has just gone through its neighbours; the others at random."""
        live, parts = tuple(self._archive.live.calls.values()), tuple(self._archive.packed)
        total = len(live) + sum(map(len, parts))
        if total <= most:
            return list(self.every())
        last, near = self._archive.last_read, list[StoredCall]()
        if last is not None:
            near += [call for call in live if call.place.segment == last.segment]
            for part in parts:
                if part.segment == last.segment:
                    near += part.around(last.offset, most // 2)
            near.sort(key=lambda call: abs(call.place.offset - last.offset))
        found = {call.id: call for call in near[: most // 2]}
        left = most - len(found)
        for part in parts:  # their records are in the order of a digest
            found.update((call.id, call) for call in part.some(left * len(part) // total))
        if live:
            step = max(1, total // left)
            found.update((call.id, call) for call in live[::step])
        return list(found.values())
