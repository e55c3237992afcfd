"""Writes the results of a campaign into docs/durability.md: ``make faults-page``, after ``make faults``."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from campaign import tally

BEGIN, END = "<!-- campaign: make faults-page -->", "<!-- end of campaign -->"


def main(results: Path, page: Path) -> int:
    """Gives 2 where there is nothing to write."""
    if not results.exists():
        print(f"{results} is not there: run make faults first", file=sys.stderr)
        return 2
    dumped = results.read_text().splitlines()
    when = datetime.fromtimestamp(results.stat().st_mtime, UTC)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    where = f"Python {platform.python_version()}, {platform.system()} {platform.release().split('-')[0]}"
    head = f"{when:%d %B %Y}, {where}, {os.cpu_count()} cores, commit {commit.stdout.strip() or 'unknown'}:"
    text = page.read_text()
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    assert found and ended, f"{page} has no place for the results"
    page.write_text(f"{before}{BEGIN}\n{head}\n\n{tally.markdown(dumped)}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
