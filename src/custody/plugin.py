"""The public names for plugin authors; import from here, and from nowhere deeper.

A plugin is a class or module with functions marked ``@hookimpl`` (see ``custody.hookspecs`` for all of
them), named in its distribution's metadata::

    [project.entry-points.custody]
    echo = "custody_echo.plugin:EchoPlugin"

    [project.optional-dependencies]
    sdk = ["echo-sdk>=1,<2"]          # the range that start-up reads back
"""

from __future__ import annotations

from custody.codecs import Codec
from custody.doubt import Doubt, Found, Questions, Told
from custody.errors import (
    BacklogElsewhere,
    CustodyError,
    SeveralWritersRefused,
    StorageError,
    StorageNotFound,
    UsageError,
)
from custody.exchange import (
    Chunk,
    Claim,
    Ending,
    Exchange,
    Replay,
    RequestHead,
    ResponseHead,
    StreamEnd,
    Terminal,
    parse_json,
)
from custody.hookspecs import hookimpl
from custody.identity import Identity
from custody.reading import absence, body_finding, build_date, count, header_finding, scalars
from custody.record import Finding, Forensics, Outcome, Price, Usage, found, plain_numbers, unknown
from custody.sse import Event
from custody.storage import (
    Backlog,
    Batching,
    Behind,
    Capabilities,
    Capable,
    Clocked,
    Compacting,
    Entry,
    Foldered,
    KeepsAppends,
    Lock,
    Log,
    Merging,
    Removing,
    Settling,
    SharedLog,
    Storage,
    Streaming,
    Watched,
)
from custody.storage.leases import Leases
from custody.vendor import CallResult, CallSeam, OpenCall, Patch, Vendor, current_call, defer

__all__ = [
    "Backlog",
    "BacklogElsewhere",
    "Batching",
    "Behind",
    "CallResult",
    "CallSeam",
    "Capabilities",
    "Capable",
    "Chunk",
    "Claim",
    "Clocked",
    "Codec",
    "Compacting",
    "CustodyError",
    "Doubt",
    "Ending",
    "Entry",
    "Event",
    "Exchange",
    "Finding",
    "Foldered",
    "Forensics",
    "Found",
    "Identity",
    "KeepsAppends",
    "Leases",
    "Lock",
    "Log",
    "Merging",
    "OpenCall",
    "Outcome",
    "Patch",
    "Price",
    "Questions",
    "Removing",
    "Replay",
    "RequestHead",
    "ResponseHead",
    "Settling",
    "SeveralWritersRefused",
    "SharedLog",
    "Storage",
    "StorageError",
    "StorageNotFound",
    "StreamEnd",
    "Streaming",
    "Terminal",
    "Told",
    "Usage",
    "UsageError",
    "Vendor",
    "Watched",
    "absence",
    "body_finding",
    "build_date",
    "count",
    "current_call",
    "defer",
    "found",
    "header_finding",
    "hookimpl",
    "parse_json",
    "plain_numbers",
    "scalars",
    "unknown",
]
