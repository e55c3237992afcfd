"""Calls in doubt that the program asks for again: which they are, and what is to be done with them.

Whoever holds the claim on an identity and finds a request of another writer without an outcome has found
a call in doubt: nobody else can be sending it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from custody.errors import CallInDoubt
from custody.identity import Identity
from custody.journal.archive import Archive

Policy = Literal["retry", "reconcile", "ask", "skip", "fail"]

POLICIES: tuple[Policy, ...] = ("retry", "reconcile", "ask", "skip", "fail")
"""Send again; ask the vendor, else send again; ask the person once, at the start; refuse that call; refuse the run."""


@dataclass
class Doubts:
    """
    Attributes:
        policy: that of this process; "ask" has become another one by the time of a call.
        since: when this run of a continued session began; None in a new one.
        taken: ids of vendors' answers that this process has taken in.
    """

    archive: Archive
    policy: Policy = "retry"
    since: datetime | None = None
    taken: set[str] = field(default_factory=set)
    _known: set[Identity] | None = field(default=None, init=False)

    def of(self, identity: Identity, *, waited: bool) -> list[dict[str, Any]]:
        """The request lines in doubt of a claimed identity that has no answer.

        ``waited``: another process had it claimed until now, so it may have died meanwhile.
        """
        if self._known is None or waited or self.policy != "retry":
            self._known = {identity_of(fields) for fields in self.archive.in_doubt()}
        if identity not in self._known:
            return []
        return [fields for fields in self.archive.in_doubt() if identity_of(fields) == identity]

    def rivals(self, key: str) -> int:
        """How many calls that ask the same are in doubt and have no answer."""
        lost = {identity_of(fields) for fields in self.archive.in_doubt() if fields["request_key"] == key}
        return sum(1 for identity in lost if self.archive.answer(identity) is None)

    def used(self, key: str, name: str) -> bool:
        """Whether a vendor's answer is the answer of a call on record that asks the same."""
        if name in self.taken:
            return True
        same = [self.archive.answer(identity) for identity in self.archive.replicates() if identity.key == key]
        return any(call is not None and call.fields["response_metadata"].get("response_id") == name for call in same)

    def refuse(self, found: list[dict[str, Any]]) -> None:
        """Raises CallInDoubt where such a call is not to be sent again."""
        if self.policy in ("retry", "reconcile"):
            return
        calls = sorted({fields["call"] for fields in found})
        raise CallInDoubt(
            f"call {', '.join(calls)} was sent at {found[-1]['time']} and has no outcome on record; nothing was sent "
            f"again (on_in_doubt={self.policy}). The vendor may have billed it; on_in_doubt=retry sends it again",
            calls=calls,
        )


def identity_of(fields: dict[str, Any]) -> Identity:
    return Identity(fields["scope_key"], fields["request_key"], fields["replicate"])
