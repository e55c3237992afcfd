"""Drives the SDKs of this environment through the recordings of real vendors and writes a JSON result.

    .venv/bin/python tests/conformance/run.py --out default.json
    .venv/bin/python tests/conformance/table.py default.json genai3.json litellm.json   (or their folder)

Without ``--out`` it ends with 1 where anything differs from the recordings; with it, ``table.py`` says so. Where
there are no recordings it says that and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from wireplay import recordings


def main() -> int:
    parser = argparse.ArgumentParser(description="plays recordings of real vendors to the SDKs of this environment")
    parser.add_argument("--out", type=Path, help="where the result is written, as JSON")
    parser.add_argument("--name", default=Path(sys.prefix).name, help="the environment's name in the table")
    parser.add_argument("--only", action="append", help="only recordings whose name contains this; may be repeated")
    parser.add_argument("--through", help="only through this driver, and only what it takes: LiteLLM, GenAI, ...")
    parser.add_argument("--wire", type=Path, help="the folder of the recordings; default: ../shared/wire")
    parser.add_argument("--keep", type=Path, help="keep the session below this folder")
    options = parser.parse_args()
    wire = options.wire or recordings.find(Path(__file__))
    if wire is None:
        print("no recordings of real vendors at ../shared/wire: this is a plain clone")
        return 0
    every = list(recordings.read_all(wire))
    chosen = [one for one in every if not options.only or any(part in one.id for part in options.only)]
    with tempfile.TemporaryDirectory() as scratch:
        found = play(chosen, Path(scratch), options.keep or Path(scratch) / "root", options.name, options.through)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    for fault in found["faults"][:40]:
        print(f"{fault['recording']} through {fault['through']}: {fault['fault']}")
    print(f"{len(chosen)} exchanges, {len(found['faults'])} faults, seconds: {found['seconds']}")
    return 1 if found["faults"] and not options.out else 0


def play(
    chosen: list[recordings.Recorded], scratch: Path, root: Path, name: str, through: str | None = None
) -> dict[str, Any]:
    """The three phases, and what came of them. SDKs are imported only when the environment leads to the player."""
    from wireplay.player import Player

    player = Player(scratch, [one.host for one in chosen])
    for variable, value in player.environment().items():
        os.environ.pop(variable, None)
        if value:
            os.environ[variable] = value
    for variable in [variable for variable in os.environ if variable.startswith("CUSTODY_")]:
        del os.environ[variable]
    os.environ["CUSTODY_SPILL_DIR"] = str(scratch / "spill")
    warnings.simplefilter("ignore")  # SDKs warn of what is deprecated; recordings are old

    from wireplay import drivers, phases, result

    able = [driver for driver in drivers.ALL if through in (None, driver.__name__)]
    if through:
        chosen = [one for one in chosen if any(driver.takes(one) for driver in able)]
    run = phases.Run(phases.plan(chosen, able), player, root)
    run.bare()
    run.record()
    run.replay()
    return result.of(run, chosen, name)


if __name__ == "__main__":
    raise SystemExit(main())
