"""Fills a new environment with what a finished one has of it already: nothing is chosen, fetched or compiled twice.

    .venv/bin/python .ci/seed.py .venv-other others.txt own.txt

It makes links where it can. Of ``others.txt`` it takes what is pinned to the version that this interpreter has, of
``own.txt`` the project's packages that lie in its environment as they are to be there; what it took of these is struck
out of ``own.txt``. What is left is pip's to install, and pip still checks the whole.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

PIN = re.compile(r"^([\w.-]+)==([^\s;]+)")
OWN = re.compile(r"^-e\s+(\S+)")


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def take(found: importlib.metadata.Distribution, environment: Path) -> None:
    """Place the files of ``found`` into ``environment``, its compiled modules too; scripts get the new interpreter."""
    here = Path(sys.prefix).resolve()
    for file in found.files or ():
        source = Path(os.path.normpath(here / found.locate_file(file)))
        target = environment / source.relative_to(here)
        if not source.is_file() or target.exists():
            continue
        if target.parent == environment / "bin" and (text := source.read_bytes()).startswith(b"#!"):
            target.write_bytes(text.replace(os.fsencode(here), os.fsencode(environment.resolve())))
            target.chmod(source.stat().st_mode)
            continue
        _place(source, target)
        for compiled in (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc") if source.suffix == ".py" else ():
            if not (there := target.parent / "__pycache__" / compiled.name).exists():
                _place(compiled, there)


def main(environment: Path, others: Path, own: Path) -> None:
    """Take what is the same."""
    have = {re.sub(r"[-_.]+", "-", d.name).lower(): d for d in importlib.metadata.distributions()}
    for pin in filter(None, map(PIN.match, others.read_text().splitlines())):
        found = have.get(re.sub(r"[-_.]+", "-", pin[1]).lower())
        if found is not None and found.version == pin[2] and found.read_text("direct_url.json") is None:
            take(found, environment)
    sources = {json.loads(text)["url"]: d for d in have.values() if (text := d.read_text("direct_url.json"))}
    left = []
    for line in own.read_text().splitlines():
        folder = OWN.match(line)
        found = sources.get(Path(folder[1]).resolve().as_uri()) if folder else None
        if found is None:
            left.append(line)
        else:
            take(found, environment)
    own.write_text("".join(line + "\n" for line in left))


if __name__ == "__main__":
    modules = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    if (Path(sys.argv[1]) / modules).is_dir():  # else it is one of another Python
        main(*map(Path, sys.argv[1:]))
