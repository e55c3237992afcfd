"""``python -m benchmarks``: measure, print the goals, write the results."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks import goals, overhead, peers, questions, remote, replay, results, scale, space
from benchmarks.processes import REPOSITORY, Bench

PARTS = ("overhead", "peers", "replay", "scale", "space", "questions", "remote")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each comparison")
    parser.add_argument("--calls", default="10000,100000", help="sizes of the sessions that are opened and verified")
    parser.add_argument("--remote", type=int, default=100_000, help="calls of the large session on S3; 0: none")
    parser.add_argument("--short", action="store_true", help="try the harness: one round of a few calls")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results.md")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    repeat, part_of_a_round = (2, 0.1) if options.short else (options.rounds, 1.0)
    sizes = [200] if options.short else [int(size) for size in options.calls.split(",")]
    begun = time.monotonic()
    found = results.Results(sys.argv[1:])
    with Bench(REPOSITORY / ".bench") as bench:
        for part in parts:
            print(part, flush=True)
            started = time.monotonic()
            if part == "overhead":
                found.overhead = overhead.measure(bench, repeat, part_of_a_round)
            elif part == "peers":
                found.peers = peers.measure(bench, repeat, part_of_a_round)
            elif part == "replay":
                found.replay = replay.measure(bench, repeat, part_of_a_round)
            elif part == "scale":
                found.scale = scale.measure(bench, sizes)
            elif part == "questions":
                found.questions = questions.measure(bench, *((2000, 200) if options.short else (1_000_000, 100_000)))
            elif part == "remote":
                found.remote = remote.measure(bench, repeat, part_of_a_round, 200 if options.short else options.remote)
            else:
                found.space = space.measure(bench, *((3, 2) if options.short else (46, 6)))
            print(f"  {time.monotonic() - started:.0f} s", flush=True)
    found.seconds = time.monotonic() - begun
    table = goals.table(found)
    print(table)
    options.out.write_text(results.page(found, table))
    print(f"{options.out.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
