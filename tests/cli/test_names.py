"""Which names a command gets when it is given none."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.cli.names import Names, of_command

SAYS = 'import custody\nwith custody.session(project="MVA", experiment="experiment_2", root="data") as s: ...\n'


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (SAYS, Names("MVA", "experiment_2", "data")),
        ('import custody\ncustody.session("A", "B")\ncustody.session("A", "B")\n', Names("A", "B")),
        ('import custody\ncustody.session("A", "B")\ncustody.session("A", "C")\n', None),
        ('import custody\nname = "A"\ncustody.session(name, "B")\n', None),
        ('client.session(project="X", experiment="Y")\n', None),
        ("this is not python(\n", None),
    ],
)
def test_what_the_script_says(tmp_path: Path, script: str, expected: Names | None) -> None:
    (tmp_path / "study.py").write_text(script)
    found = of_command(["python", str(tmp_path / "study.py")], Path("/somewhere/work"))
    assert found == (expected or Names("work", "study"))


def test_commands_without_a_script() -> None:
    folder = Path("/somewhere/My Project (2026)")
    assert of_command(["python", "-m", "package.main", "x"], folder) == Names("My Project (2026)", "package.main")
    assert of_command(["/usr/bin/make", "all"], folder).experiment == "make"
    assert of_command(["python", "no_such_script.py"], folder).experiment == "no_such_script"
