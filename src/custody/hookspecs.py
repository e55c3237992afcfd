"""All hooks of custody, grouped by subject, in the order in which a call meets them.

A plugin is any object with functions marked ``@custody.hookimpl`` under these names, registered in the
entry-point group ``custody``. It may leave out parameters that it does not need. Every docstring below
has four parts: when; parameters; how results combine; restrictions.

Two manners of calling. **Ask**: implementations are tried, the last registered first (``tryfirst`` and
``trylast`` as in pluggy), until one answers with something other than None; one that raises is passed
over, and its error surfaces only if nobody answers. **Notify**: every implementation runs; one that
raises is isolated, logged once and written into the record. One that gives what it does not promise (another type,
also within), or raises SystemExit, has failed as if it had raised an error. In ``before_send``, ``check_budget`` and
``open_storage`` a ``custody.CustodyError`` is not a failure but a word to the user, and reaches the user's code; no
other hook may stop a call, and only ``redaction_patterns`` a start. Hook wrappers are not called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from custody.codecs import Codec
from custody.doubt import Doubt, Questions
from custody.exchange import Claim, Exchange, Replay, RequestHead
from custody.identity import Identity
from custody.record import Forensics, Price
from custody.storage import Storage
from custody.vendor import Vendor

if TYPE_CHECKING:
    import click

PROJECT = "custody"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Record = Mapping[str, Any]
"""A call line's fields, as documented in docs/format.md; read-only."""


class VendorSpec:
    """Whose traffic it is."""

    @hookspec
    def vendor(self) -> Vendor | None:
        """Which SDK the plugin knows and which of its methods are logical calls.

        When: at start-up, before any SDK is imported.
        Parameters: none.
        Results: notify; every plugin's answer is used.
        Restrictions: must not import the SDK. The range of versions is not stated here but read from
        the plugin's distribution metadata (its extra ``sdk``).
        """

    @hookspec(firstresult=True)
    def claim_exchange(self, request: RequestHead) -> Claim | None:
        """Say that a request is LLM traffic that this plugin reads.

        When: for every request of a patched HTTP client, before its body is read.
        Parameters: ``request``: method, URL, headers, and the SDK whose call seam it passed.
        Results: ask; the first claim wins. Without one the request passes through untouched.
        Restrictions: fast and pure; called on the program's own thread or event loop.
        """


class ArchiveSpec:
    """The archive's view of a call and of a session."""

    @hookspec
    def session_opened(self, session: Record) -> None:
        """A session is open in this process, new or continued.

        When: after its storage is open, before the first call.
        Parameters: ``session``: its manifest, with ``path`` and ``resumed``.
        Results: notify.
        Restrictions: none.
        """

    @hookspec(firstresult=True)
    def before_send(
        self, identity: Identity, request: RequestHead, labels: Mapping[str, Any], body: bytes
    ) -> Replay | None:
        """Answer a call from an archive, so that it is not sent.

        When: when the identity is known, and on a miss again once it is claimed (another process may have
        answered meanwhile); before anything is written or sent.
        Parameters: ``identity``: scope, request key and replicate; ``request``: without its body, which is
        ``body``; ``labels``: of the scope, by name.
        Results: ask; the first Replay is handed to the SDK in place of the vendor's response.
        Restrictions: a Replay must be the answer to exactly this identity; one that custody did not capture says
        so by its ``origin``. Asked twice, it gives the same. Must not block an event loop.
        """

    @hookspec(firstresult=True)
    def reconcile_call(self, doubt: Doubt) -> Questions | None:
        """Ask the vendor for the answer of a call in doubt, instead of paying for it again.

        When: with ``on_in_doubt=reconcile``, when the program asks a call in doubt again over httpx; before
        anything is written or sent.
        Parameters: ``doubt``: what was asked, when, and what came of the response before the stop.
        Results: ask; the first generator is run. It yields URLs at the request's own origin, which are asked
        with GET and the request's headers, is sent what the vendor said (``Told``), and returns ``Found``, or
        in a sentence why there is nothing; then the call is sent again.
        Restrictions: asks, and changes nothing at the vendor. What it takes must have been reserved with
        ``doubt.take`` and must answer exactly this request; where two could, neither is taken.
        """

    @hookspec
    def exchange_durable(self, exchange: Exchange, record: Record) -> None:
        """A call has been archived.

        When: after its call line is on stable storage (for coroutines: handed to the disk).
        Parameters: ``exchange``: the one that ended the call; ``record``: the call line.
        Results: notify.
        Restrictions: read-only. What it takes, the program waits for.
        """

    @hookspec
    def session_closed(self, session: Record) -> None:
        """The session is closed in this process.

        When: last, after all calls are durable.
        Parameters: ``session``: as in ``session_opened``.
        Results: notify.
        Restrictions: none.
        """


class ForensicsSpec:
    """Who answered."""

    @hookspec
    def extract_forensics(self, exchange: Exchange) -> Forensics | None:
        """Read a finished exchange.

        When: after its last byte arrived, before the call line is written; also for failed ones.
        Parameters: ``exchange``: complete; its ``claim.plugin`` names who claimed it.
        Results: notify; merged field by field: the first value with evidence wins over a null.
        Restrictions: a pure function of the exchange: no clock, no network, no files, no invention.
        """


class CostSpec:
    """What it costs."""

    @hookspec
    def check_budget(self, identity: Identity, request: RequestHead, exchange: Exchange) -> None:
        """Stop a call before money is spent.

        When: on a miss, before the request is written and sent; once a call.
        Parameters: ``identity``, ``request``: as in ``before_send``; ``exchange``: with the request's body, and
        without a response.
        Results: notify; raise a ``custody.CustodyError`` to stop the call. It reaches the user's code.
        Restrictions: any other error is isolated and stops nothing.
        """

    @hookspec(firstresult=True)
    def price_call(self, forensics: Forensics, operation: str, exchange: Exchange) -> Price | None:
        """Price a call.

        When: after forensics, before the call line is written.
        Parameters: ``forensics``: merged; ``operation``: as claimed; ``exchange``: the one that ended the call.
        Results: ask; the first Price wins.
        Restrictions: an amount carries its evidence; unknown is a Price with a reason, never 0.
        """


class CheckpointSpec:
    """Stages and what they keep."""

    @hookspec
    def stage_started(self, session: Record, stage: str) -> None:
        """A stage begins.

        When: on entering ``session.stage(name)``.
        Parameters: ``session``: manifest; ``stage``: the stage's path ("analysis", "analysis/second").
        Results: notify.
        Restrictions: none.
        """

    @hookspec
    def stage_completed(self, session: Record, stage: str) -> None:
        """A stage ended without an exception.

        When: on leaving its block, after its checkpoint is written.
        Parameters: as in ``stage_started``.
        Results: notify.
        Restrictions: none.
        """

    @hookspec
    def state_codecs(self) -> list[Codec] | None:
        """Codecs for values that stages and steps keep and JSON does not know.

        When: when a session is opened.
        Parameters: none.
        Results: notify; all are used, after those of ``custody.register_codec`` and before custody's own.
        Restrictions: never pickle, and nothing else that runs what a file says.
        """

    @hookspec(firstresult=True)
    def state_save(self, session: Record, name: str, state: bytes) -> bool | None:
        """Keep a stage's checkpoint.

        When: when a stage or a step completes.
        Parameters: ``name``: file-like name, which may hold a ``/``; ``state``: JSON in UTF-8.
        Results: ask; the first that returns True has kept it. The built-in keeps it in ``system_state/``.
        Restrictions: atomic and durable when it returns True.
        """

    @hookspec(firstresult=True)
    def state_load(self, session: Record, name: str) -> bytes | None:
        """Give back what ``state_save`` kept.

        When: on entering a stage or a step.
        Parameters: ``name``: as saved.
        Results: ask; None from all means that the stage was not completed.
        Restrictions: never a torn or mixed state.
        """

    @hookspec
    def resumed(self, session: Record, report: Record) -> None:
        """A session was continued.

        When: after ``session_opened``, in the process that opened it.
        Parameters: ``report``: counts of archived, failed and in-doubt calls, and the in-doubt ones.
        Results: notify.
        Restrictions: none.
        """


class StorageSpec:
    """Where bytes go."""

    @hookspec(firstresult=True)
    def open_storage(self, url: str, create: bool) -> Storage | None:
        """Open the storage of a session.

        When: when a session is opened, to write or to read; for folders above and below it, too: the root, a
        project, an experiment.
        Parameters: ``url``: a path, or ``scheme://...``; ``create``: False where nothing is to be made: raise
        ``StorageNotFound`` where nothing is there, or give a storage that lists nothing.
        Results: ask; the first that knows the scheme, first those with ``tryfirst``, last those with ``trylast``.
        Two of one rank that know it are refused. An error surfaces; over a path, only if nobody opens it.
        Restrictions: passes ``custody.testing.StorageContract``.
        """


class RedactionSpec:
    """What must not be written."""

    @hookspec
    def redaction_patterns(self) -> list[tuple[str, str]] | None:
        """Patterns to mask in everything that is written.

        When: when a session is opened.
        Parameters: none.
        Results: notify; all are used, besides the built-in ones. What cannot be used stops the start, and so does
        an error: the secrets would be written.
        Restrictions: pairs of a literal that a text must contain, and a regular expression without
        nested quantifiers; both are matched against bytes of UTF-8. It matches neither the empty text nor what
        custody itself writes (names of fields, ids, digests), and is masked within one text of a file's JSON.
        """


class CommandsSpec:
    """What the command line offers."""

    @hookspec
    def register_commands(self, cli: click.Group) -> None:
        """Add commands to ``custody``.

        When: when the command line starts.
        Parameters: ``cli``: a click group.
        Results: notify.
        Restrictions: a name that is taken is refused with a message.
        """


SPECS = (
    VendorSpec,
    ArchiveSpec,
    ForensicsSpec,
    CostSpec,
    CheckpointSpec,
    StorageSpec,
    RedactionSpec,
    CommandsSpec,
)
