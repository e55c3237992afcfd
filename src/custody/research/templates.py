"""What ``custody init`` puts into a new experiment's folder. Never overwrites."""

from __future__ import annotations

from pathlib import Path

from custody import layout
from custody.errors import UsageError

TOML = """\
# What this experiment is about. Paths are relative to this folder.
# custody reads it when a session starts, freezes the files, and binds the session to their digests.

definition = "experiment.md"      # what is asked, and how
framework = "framework.md"        # by which framework; frozen word for word
corpus = "corpus/*.txt"           # the documents: a pattern, or a folder

# A session does not start with more documents than this:
# most_files = 50
"""

EXPERIMENT = """\
# {experiment}

Framework: framework.md

## Question

What do you want to know, and what would you expect to see?

## Method

Which documents, how many runs of each, which models and parameters, which stages.
"""

FRAMEWORK = """\
# Framework

The text that the analyses follow, word for word.
"""


def make(root: Path, project: str, experiment: str | None) -> list[Path]:
    """Make a project's folder, or an experiment's with its templates; gives what was made.

    Raises UsageError where the experiment is there already, or a file is in the way.
    """
    if experiment is None:
        folder = root / "projects" / project / "experiments"
        return _folders([folder]) or _taken(folder.parent)
    folder = layout.experiment_path(root, project, experiment)
    files = {
        folder / layout.EXPERIMENT_TOML: TOML,
        folder / "experiment.md": EXPERIMENT.format(experiment=experiment),
        folder / "framework.md": FRAMEWORK,
    }
    if (folder / layout.EXPERIMENT_TOML).exists():
        return _taken(folder)
    made = _folders([folder / "corpus"])
    for path, text in files.items():
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue  # the user's own
        made.append(path)
    return made


def _folders(folders: list[Path]) -> list[Path]:
    made = []
    for folder in folders:
        if folder.is_dir():
            continue
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"{error.filename}: this folder cannot be made: {error.strerror}") from error
        made.append(folder)
    return made


def _taken(folder: Path) -> list[Path]:
    raise UsageError(f"{folder} is there already; nothing was changed")
