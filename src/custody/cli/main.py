"""``custody``: the entry point.

Exit codes: 0 done, 1 something is not as it should be (an unsound session, a storage that refuses),
2 misuse; ``run`` and ``resume`` exit as their program did.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from custody.cli.console import say
from custody.errors import CustodyError

COMMANDS = {
    "run": "run",
    "resume": "run",
    "status": "inspect",
    "sessions": "sessions",
    "calls": "inspect",
    "show": "inspect",
    "verify": "inspect",
    "repair": "upkeep",
    "compress": "upkeep",
    "copy": "transfer",
    "move": "transfer",
    "compact": "transfer",
    "prune": "retention",
    "forensics": "forensics",
    "cost": "cost",
    "estimate": "estimate",
    "export": "export",
    "sql": "sql",
    "explain-miss": "misses",
    "drift": "drift",
    "init": "init",
    "layout": "layout",
    "regenerate": "regenerate",
    "migrate": "migrate",
    "plugins": "installed",
    "doctor": "doctor",
    "demo": "demo",
}


class _Commands(click.Group):
    """Imports a command's module when it is used; plugins add theirs when ``--help`` or an unknown name asks."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins()
        return [*COMMANDS, *sorted(name for name in self.commands if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            command: click.Command = getattr(import_module(f"custody.cli.{COMMANDS[name]}"), name.replace("-", "_"))
            return command
        self._ask_plugins()
        return self.commands.get(name)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        taken = name or cmd.name or ""
        if taken in COMMANDS or taken in self.commands:
            say(f"custody: a plugin's command {taken!r} is not added: the name is taken")
            return
        super().add_command(cmd, name)

    def _ask_plugins(self) -> None:
        if self.params_asked:
            return
        self.params_asked = True
        from custody.hooks.manager import PluginManager

        PluginManager.load().register_commands(self)

    params_asked = False


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="custody")
def cli() -> None:
    """Keeps the chain of custody of every LLM call that a program makes."""


def main(argv: list[str] | None = None) -> Any:
    """Run the command line; returns only through SystemExit."""
    try:
        sys.exit(cli.main(args=argv, prog_name="custody", standalone_mode=False) or 0)
    except CustodyError as error:
        say(f"custody: {error}")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        say("custody: stopped")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"custody: {where}{error.strerror or error}")
        sys.exit(1)
