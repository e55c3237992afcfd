"""Whose line damaged bytes were, as far as they still say."""

from __future__ import annotations

import re

from custody.journal.scan import Damage, Source

_NAMED = re.compile(rb'"(?:exchange|id)":"([ !#-\[\]-~]{1,200})"')
_MOST = 1024 * 1024  # bytes that are looked at


def touched(source: Source, damage: Damage) -> list[str]:
    """Ids of the calls that the beginnings of damaged lines name, at most 20."""
    try:
        bad = source.read(damage.segment, damage.offset, min(damage.size, _MOST))
    except OSError:
        return []
    names = {match[1].decode("ascii") for line in bad.split(b"\n") if (match := _NAMED.search(line, 0, 400))}
    return sorted({name.rpartition(".")[0] or name for name in names})[:20]
