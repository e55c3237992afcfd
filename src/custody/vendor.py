"""What a vendor plugin says of the SDK it knows, and what it may ask of the call that is under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]

Source = Literal["wire", "reconciled", "mock", "cache", "unseen"]
"""Where an answer was seen: on the wire; on the wire, asked for afterwards because the call was in doubt; made up
by the SDK for a test; taken from the SDK's own cache; only as the SDK's return value, because its transport is
out of sight."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """What an SDK's method returned without a word on the wire, to be archived at the call level.

    Attributes:
        source: why nothing was seen ("mock", "cache", or "unseen" where it cannot be said).
        vendor: as ``Claim.vendor``.
        operation: as ``Claim.operation``.
        request, response: plain JSON.
    """

    source: Literal["mock", "cache", "unseen"]
    vendor: str
    operation: str
    request: Any
    response: Any


@dataclass(frozen=True, slots=True)
class CallSeam:
    """A method of the SDK that is one logical call: its retries happen inside.

    Attributes:
        module: the module that defines the class ("openai._base_client").
        attribute: class and method ("SyncAPIClient.request"), or a function's name.
        kind: how it is called.
        client: names of the SDK object's attributes, dotted where nested, that hold its HTTP clients.
            Only requests of these belong to the call; with () every claimed request inside does.
        mixed: the requests of one call may differ and go to different vendors (fallbacks). The vendors'
            plugins claim them by host and path: ``RequestHead.sdk`` is None, ``RequestHead.through`` says
            whose call it is.
        describe: what the call asks, as plain JSON, from its arguments; None where it is none of this
            plugin's calls (a method that other services share), and then it is left alone.
        keyed: the identity is made of ``describe`` when the call is opened, not of its first request:
            for SDKs that choose among vendors at random.
        result: asked when the method returned and nothing was seen on the wire; None: nothing to archive.
        rebuild: the SDK's object again, from the archived ``CallResult.response``.
    """

    module: str
    attribute: str
    kind: Literal["sync", "async"]
    client: tuple[str, ...] = ("_client",)
    mixed: bool = False
    describe: Callable[[Args, Kwargs], Any] | None = None
    keyed: bool = False
    result: Callable[[Args, Kwargs, Any], CallResult | None] | None = None
    rebuild: Callable[[Args, Kwargs, Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """Another function of the SDK to be wrapped, for what a call seam cannot do (see ``defer``).

    Attributes:
        module, attribute: as in ``CallSeam``.
        wrap: given the original function, returns its replacement.
    """

    module: str
    attribute: str
    wrap: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Vendor:
    """One SDK.

    Attributes:
        sdk: name of the SDK's distribution ("openai").
        package: its import name, where it differs.
        seams: the call seams, to be patched when their module is first imported.
        patches: other functions to be wrapped.
    """

    sdk: str
    seams: tuple[CallSeam, ...] = ()
    package: str = ""
    patches: tuple[Patch, ...] = ()

    @property
    def import_name(self) -> str:
        return self.package or self.sdk


class OpenCall(Protocol):
    """A logical call under way, as plugins see it."""

    @property
    def archived(self) -> Mapping[str, Any] | None:
        """The annotations of the archived answer, where a ``keyed`` call has one; else None."""

    @property
    def archived_failed(self) -> bool:
        """What is archived is a failed call, and is replayed as such (strict mode)."""

    def annotate(self, name: str, value: Any) -> None:
        """Write plain JSON onto the call line, under ``annotations``. No text of a prompt or an answer."""

    def deferred(self, resolve: Callable[[], Any]) -> str:
        """See ``defer``."""

    @property
    def defers(self) -> bool:
        """Whether a credential was deferred in it."""

    def resolver(self, name: str) -> Callable[[], Any]:
        """What a placeholder stands for."""


current: ContextVar[OpenCall | None] = ContextVar("custody_call", default=None)

inside: ContextVar[bool] = ContextVar("custody_inside_exchange", default=False)
"""True while an original ``send`` runs, or a credential is asked for: a client beneath must not record."""


def current_call() -> OpenCall | None:
    """The SDK call in which the program is, where a session is active."""
    return current.get()


def defer(resolve: Callable[[], Any]) -> Any:
    """A credential that is asked for only when the request is really sent.

    Inside an SDK call of an active session this is a placeholder to be put into a header; ``resolve`` is
    called right before sending and never on a replay. It may return an awaitable in asynchronous code.
    Outside of a call ``resolve`` is called at once.
    """
    call = current.get()
    # Inside of an original ``send`` (an ``auth=`` of httpx) no seam would put the credential in its place.
    return resolve() if call is None or inside.get() else call.deferred(resolve)
