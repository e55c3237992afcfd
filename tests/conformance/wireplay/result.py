"""The result of one environment's run, as JSON: what went which way, and every fault."""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import custody
from custody.hooks.discovery import discover
from custody.hooks.manager import PluginManager
from wireplay import compare, drivers, reader
from wireplay.oracle.expected import Asked
from wireplay.phases import Played, Run
from wireplay.recordings import Recorded

_SHOWN = (
    "openai anthropic google-genai google-cloud-aiplatform boto3 mistralai cohere groq together voyageai litellm "
    "httpx httpx2 aiohttp requests grpcio"
).split()


def of(run: Run, recordings: Sequence[Recorded], environment: str) -> dict[str, Any]:
    """Everything that the table needs."""
    faults: list[dict[str, str]] = []
    ways: dict[str, Counter[str]] = defaultdict(Counter)
    played: set[str] = set()
    calls = _calls(run.path)
    for play in run.plays:
        name = f"{play.driver.sdk} {play.driver.version()}"
        if play.skipped:
            ways[play.recorded.id][f"not asked by {name}: {play.skipped}"] += 1
            faults += [_fault(play.recorded, name, play.skipped)]
            continue
        found = compare.results(play)
        if play.sent is not None:
            played.add(play.recorded.id)
            ways[play.recorded.id][f"{play.way} of {name}"] += 1
            ways[play.recorded.id]["same body"] += _same_body(play)
            found += compare.stored(play, calls.pop(tuple(play.labels.values()), []))
        faults += [_fault(play.recorded, name, text) for text in found]
    faults += [{"recording": "", "through": "", "fault": f"archived without a play: {key}"} for key in calls]
    faults += [{"recording": "", "through": "server", "fault": f"unexpected: {text}"} for text in run.player.unexpected]
    hooks = PluginManager(discover({}))
    for recorded in recordings:
        if recorded.id not in played:
            way, found = _read_only(hooks, recorded)
            ways[recorded.id][way] += 1
            faults += [_fault(recorded, "reader", text) for text in found]
    return {
        "environment": environment,
        "python": platform.python_version(),
        "not_driven": {driver.__name__: why for driver in drivers.ALL if (why := driver.missing())},
        "versions": {name: version for name in _SHOWN if (version := _version(name))},
        "seconds": run.seconds,
        "sent_while_replaying": run.sent_while_replaying,
        "exchanges": [
            {"id": one.id, "vendor": one.vendor, "mended": list(one.mended), "ways": dict(ways[one.id])}
            for one in recordings
        ],
        "faults": faults,
    }


def _calls(path: Path) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for call in custody.open(path).calls():
        found[call.scope.get("recording"), call.scope.get("through")].append(call)
    return found


def _same_body(play: Played) -> bool:
    """Whether the SDK sent what was recorded, as far as JSON goes."""
    assert play.sent is not None
    return bool(Asked({}, play.sent.body).json == play.recorded.request_json)


def _read_only(hooks: PluginManager, recorded: Recorded) -> tuple[str, list[str]]:
    fields = reader.read(hooks, recorded)
    if fields is None:
        return "left out: no plugin claims it", []
    return "reader", compare.line(fields, recorded, Asked(recorded.request_headers, recorded.request_body))


def _fault(recorded: Recorded, through: str, text: str) -> dict[str, str]:
    return {"recording": recorded.id, "through": through, "fault": text}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
