"""`python -m custody.testing.simulator`: serve in a process of its own.

The first line on stdout is the url. Ends on SIGTERM, SIGINT, or, when stdin is a pipe or socket, at its end
(so that it never outlives the process that started it).
"""

from __future__ import annotations

import argparse
import os
import signal
import stat
import threading

from custody.testing.simulator import Simulator


def _watch_stdin(done: threading.Event) -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    done.set()


def main() -> None:
    """Parse the command line (seconds for latency and chunk delay) and serve."""
    parser = argparse.ArgumentParser(prog="python -m custody.testing.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--chunk-delay", type=float, default=0.0, help="seconds between two SSE events")
    parser.add_argument("--gzip", action="store_true", help="compress plain bodies on request")
    args = parser.parse_args()
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with Simulator(args.port, args.latency, args.chunk_delay, gzip=args.gzip) as sim:
        print(sim.url, flush=True)
        try:
            mode = os.fstat(0).st_mode
        except OSError:
            mode = 0
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            threading.Thread(target=_watch_stdin, args=(done,), daemon=True).start()
        done.wait()


if __name__ == "__main__":
    main()
