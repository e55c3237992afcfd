"""One measured program: an SDK's client, bare or under one recorder, in a process of its own.

``python -m benchmarks.subject NAME FOLDER`` reads one JSON object a line from stdin, does it and answers with
one line. It is told the vendor's addresses by OPENAI_BASE_URL and SLOW_BASE_URL, the sink's by SINK_URL.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import calls, recorders


class Subject:
    """Does what it is told. ``name``: see ``recorders.of``."""

    def __init__(self, name: str, folder: Path) -> None:
        self.recorder = recorders.of(name, folder)
        self._clients: dict[bool, Any] = {}

    def calls(self, then: str = "", floor: int = 0, **work: Any) -> dict[str, Any]:
        """One round. ``then``: "kill" ends this process in the middle of everything."""
        asked = calls.Work(**work)
        client = self._client(asked.slow)
        gc.collect()
        at_start = time.process_time()
        after = self.recorder.floor(floor) if floor else None
        times = calls.run(asked, client, lambda: self.recorder.asynchronous(**_where(asked.slow)), after)
        if then == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return {**asdict(times), "cpu_at_start": at_start}

    def _client(self, slow: bool) -> Any:
        if slow not in self._clients:
            self._clients[slow] = self.recorder.client(**_where(slow))
        return self._clients[slow]

    def cpu(self) -> dict[str, Any]:
        """CPU seconds of this process so far, with everything that it had put off."""
        self.recorder.flush()
        return {"cpu": time.process_time()}

    def close(self) -> dict[str, Any]:
        self.recorder.close()
        return {}

    def reopen(self) -> dict[str, Any]:
        self.recorder.reopen()
        return {}


def _where(slow: bool) -> dict[str, str]:
    return {"base_url": os.environ["SLOW_BASE_URL"]} if slow else {}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a recorder prints is no answer
    subject = Subject(sys.argv[1], Path(sys.argv[2]))
    answers.write("{}\n")
    answers.flush()
    for line in sys.stdin:
        wanted = json.loads(line)
        result = getattr(subject, wanted.pop("do"))(**wanted)
        answers.write(json.dumps(result) + "\n")
        answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
