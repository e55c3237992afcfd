"""Merges the results of the environments into one table by vendor.

python tests/conformance/table.py default.json genai3.json litellm.json
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any


def main(files: list[str]) -> int:
    paths = [path for file in map(Path, files) for path in (sorted(file.glob("*.json")) if file.is_dir() else [file])]
    results = [json.loads(path.read_text()) for path in paths]
    if not results:
        print("nothing was played")
        return 0
    for line in [*of_vendors(results), "", *of_environments(results), "", *of_reasons(results)]:
        print(line)
    faults = [(result["environment"], fault) for result in results for fault in result["faults"]]
    for environment, fault in faults:
        print(f"FAULT in {environment}: {fault['recording']} through {fault['through']}: {fault['fault']}")
    return 1 if faults or any(result["sent_while_replaying"] for result in results) else 0


def of_vendors(results: list[dict[str, Any]]) -> list[str]:
    """A recording counts as exercised through an SDK where all of its exchanges were, in any environment."""
    vendor, best = _ways(results)
    recordings: dict[str, list[str]] = defaultdict(list)
    for one in best:
        recordings[one.rpartition("#")[0]].append(one)
    count: dict[str, Counter[str]] = defaultdict(Counter)
    for exchanges in recordings.values():
        ways = [best[one] for one in exchanges]
        way = next(way for way in ("left out", "reader", "sdk") if way in ways)
        count[vendor[exchanges[0]]] += Counter({"recordings": 1, way: 1, "exchanges": len(ways)})
        count[vendor[exchanges[0]]]["exchanges sdk"] += ways.count("sdk")
    columns = ("recordings", "sdk", "reader", "left out", "exchanges", "exchanges sdk")
    total = sum(count.values(), Counter())
    return [
        "| vendor | recordings | through an SDK | through the reader only | left out | exchanges | through an SDK |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *(_row(name, *(count[name][column] for column in columns)) for name in sorted(count)),
        _row("all", *(total[column] for column in columns)),
    ]


def _ways(results: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """By exchange: its vendor, and the best way that it went in any environment."""
    vendor, best = {}, {}
    for result in results:
        for exchange in result["exchanges"]:
            name, ways = exchange["id"], exchange["ways"]
            vendor[name] = exchange["vendor"]
            if any(way.startswith(("method of", "request of")) for way in ways):
                best[name] = "sdk"
            elif "reader" in ways:
                best[name] = "sdk" if best.get(name) == "sdk" else "reader"
            else:
                best.setdefault(name, "left out")
    return vendor, best


def of_environments(results: list[dict[str, Any]]) -> list[str]:
    """By environment and SDK: plays through the public method and through the generic request path."""
    lines = [
        "| environment | SDK | exchanges played | by the public method | by the request path |",
        "|---|---|--:|--:|--:|",
    ]
    for result in results:
        plays: dict[str, Counter[str]] = defaultdict(Counter)
        for exchange in result["exchanges"]:
            for way in exchange["ways"]:
                kind, _, sdk = way.partition(" of ")
                if kind in ("method", "request"):
                    plays[sdk][kind] += exchange["ways"][way]
        for sdk, kinds in sorted(plays.items()):
            lines.append(_row(result["environment"], sdk, sum(kinds.values()), kinds["method"], kinds["request"]))
    lines.append("")
    for result in results:
        same = sum(exchange["ways"].get("same body", 0) for exchange in result["exchanges"])
        seconds = ", ".join(f"{phase} {took} s" for phase, took in result["seconds"].items())
        lines.append(
            f"{result['environment']}: {seconds}; requests sent while replaying: {result['sent_while_replaying']}; "
            f"faults: {len(result['faults'])}; bodies sent as recorded: {same}"
        )
    return lines


def of_reasons(results: list[dict[str, Any]]) -> list[str]:
    """What was left out or mended, and why."""
    reasons: Counter[str] = Counter()
    for exchange in results[0]["exchanges"]:
        reasons.update(f"mended: {text}" for text in exchange["mended"])
    _, best = _ways(results)
    why: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        for exchange in result["exchanges"]:
            told = [way for way in exchange["ways"] if way.startswith(("left out:", "not asked by"))]
            if best[exchange["id"]] != "sdk":
                why[exchange["id"]].update(told or ["no SDK of any environment asks for it"])
    reasons.update("; ".join(sorted(texts)) for texts in why.values())
    return ["| exchanges | what |", "|--:|---|", *(f"| {count} | {text} |" for text, count in reasons.most_common())]


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
