"""Call lines of a made-up study as Parquet, by the real exporter: ``python -m benchmarks.rows FILE CALLS``.

No archive is written: what is measured is the table and its questions. Every fiftieth call has no price and no usage.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from custody.export.call import Row
from custody.export.columns import chosen
from custody.export.formats import new_file, writer
from custody.export.segment import Made, made
from custody.export.stream import grouped
from custody.journal.scan import Place

MODELS = [("OpenAI", "gpt-5-mini"), ("OpenAI", "gpt-4o"), ("Anthropic", "claude-sonnet-5"),
          ("Anthropic", "claude-haiku"), ("Google Gemini API", "gemini-flash"), ("Mistral", "mistral-large"),
          ("Cohere", "command")]  # fmt: skip
STAGES = ("extraction", "analysis", "review", "synthesis")
_BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
_EVIDENCE = {name: f"response_body:{name}" for name in ("actual_model", "finish_reason", "response_id", "tokens_used")}


def _lines(count: int) -> Iterator[Made]:
    for number in range(count):
        name = f"20261101T000000-0badcafe-{number:06d}"
        line = _line(number, name, hashlib.sha256(name.encode()).hexdigest())
        place = Place(
            f"llm_archive/20261101T000000-0badcafe-{number // 16_000:06d}.jsonl", number % 16_000 * 4096, 3000
        )
        yield made(Row(line, place, "bench", "questions", "https://api.example.com/v1/chat"), content=False)


def _line(number: int, name: str, digest: str) -> dict[str, Any]:
    vendor, model = MODELS[number * 7919 % len(MODELS)]
    began = _BEGIN + timedelta(milliseconds=37 * number)
    known = number % 50 != 0
    usage = {"input": 900 + number % 700, "output": 200 + number % 350, "cache_read": number % 3 * 128, "reasoning": 0}
    stamps = [f"{t:%Y-%m-%dT%H:%M:%S.%f}Z" for t in (began, began + timedelta(milliseconds=800 + number % 900))]
    return {
        "id": name, "session": "session_20261101_000000", "started": stamps[0], "ended": stamps[1],
        "outcome": "success", "success": True, "answers": True, "ending": "complete", "status": 200, "error": None,
        "scope": {"stage": STAGES[number % 4], "document": f"document {number // 24:05d}.txt", "run": number // 4 % 6},
        "replicate": 1, "operation": "chat", "streamed": False, "source": "wire", "redacted": False,
        "attempts": [{"exchange": f"{name}.1", "status": 200, "request_sha256": digest,
                      "response_sha256": digest[::-1]}],
        "model_forensics": {"requested_model": model, "actual_model": f"{model}-2026-06-0{number % 2 + 1}",
                            "vendor": vendor, "api_version": None, "model_build_date": None,
                            "deployment_region": None},
        "response_metadata": {"response_time_ms": 700.5 + number % 900, "first_byte_ms": 200.25,
                              "tokens_used": sum(usage.values()) if known else None, "finish_reason": "stop",
                              "response_id": f"resp-{digest[:24]}"},
        "usage": usage if known else None,
        "cost": {"cost_usd": f"0.00{1000 + number % 8999}25" if known else None,
                 "status": "priced" if known else "unknown", "reason": None if known else "usage_missing"},
        "parameters": {"temperature": 0.2, "max_tokens": 1024}, "evidence": _EVIDENCE,
    }  # fmt: skip


def main() -> None:
    path, count = Path(sys.argv[1]), int(sys.argv[2])
    begun = time.perf_counter()
    columns = chosen(content=False)
    with new_file(path, replace=False) as file:
        into = writer("parquet", columns, file)
        for group in grouped(_lines(count)):
            into.write(group)
        into.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - begun, "bytes": path.stat().st_size, "peak_mb": peak}))


if __name__ == "__main__":
    main()
