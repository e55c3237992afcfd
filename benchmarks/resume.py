"""Continues a session up to its first replayed call: ``python -m benchmarks.resume ROOT STARTED``.

``STARTED``: Unix seconds when this process was started. Prints one JSON object: seconds from then on, and the
process's greatest memory.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time


def main() -> None:
    root, started = sys.argv[1], float(sys.argv[2])
    import openai

    import custody
    from benchmarks import synthetic

    imported = time.time()
    session = custody.session(project="bench", experiment="scale", root=root, strict=True)
    opened = time.time()
    synthetic.ask(openai.OpenAI(max_retries=0))
    replayed = time.time()
    assert session.flow.strict
    times = {"imported": imported - started, "opened": opened - started, "replayed": replayed - started}
    print(json.dumps({**times, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
    sys.stdout.flush()
    os._exit(9)  # as if it had been killed: the session stays one that can be resumed


if __name__ == "__main__":
    main()
