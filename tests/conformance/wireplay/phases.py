"""The run: every recording bare, recorded by custody, and replayed with the server off."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import custody
from custody.sessions import starting
from wireplay import picture
from wireplay.drivers.base import CannotAsk, Driver
from wireplay.player import Player, Sent
from wireplay.recordings import Recorded


@dataclass
class Played:
    """One recording through one SDK.

    Attributes:
        way: see ``Driver.way``.
        skipped: why the SDK could not be asked to make this request; empty where it was.
        sent: the request as it arrived while custody recorded.
        results: by phase, what the program was given.
    """

    recorded: Recorded
    driver: type[Driver]
    way: str = ""
    skipped: str = ""
    sent: Sent | None = None
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        return {"recording": self.recorded.id, "through": self.driver.__name__}


@dataclass
class Run:
    """The plays of one environment, and the session that holds them."""

    plays: list[Played]
    player: Player
    root: Path
    session: str = ""
    path: Path = Path()
    seconds: dict[str, float] = field(default_factory=dict)
    sent_while_replaying: int = 0

    def bare(self) -> None:
        """Without custody."""
        with self._phase("bare") as drive:
            for play in self.plays:
                self.player.expect(play.recorded)
                drive(play)
                play.skipped = play.skipped or ("" if self.player.seen(play.recorded) else _unasked(play))

    def record(self) -> None:
        """With custody, in a new session."""
        with custody.session(project="wire", experiment="conformance", root=self.root, new=True) as session:
            self.session, self.path = session.id, session.path
            with self._phase("recorded") as drive:
                for play in self._asked():
                    self.player.expect(play.recorded)
                    with session.scope(**play.labels):
                        drive(play)
                    play.sent = self.player.seen(play.recorded)

    def replay(self) -> None:
        """With the server off, in the same session, strictly."""
        self.player.stop()
        asked = self.player.asked
        with (
            custody.session(
                project="wire", experiment="conformance", root=self.root, session=self.session, strict=True
            ) as session,
            self._phase("replayed") as drive,
        ):
            for play in self._asked():
                with session.scope(**play.labels):
                    drive(play)
        starting.uninstall()
        self.sent_while_replaying = self.player.asked - asked

    def _asked(self) -> Iterator[Played]:
        return (play for play in self.plays if not play.skipped)

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[Callable[[Played], None]]:
        begun = time.monotonic()
        with asyncio.Runner() as runner:
            drivers = {kind: kind(runner) for kind in dict.fromkeys(play.driver for play in self.plays)}

            def drive(play: Played) -> None:
                driver = drivers[play.driver]
                try:
                    play.results[name] = driver.result(picture.of_value(driver.drive(play.recorded)))
                except CannotAsk as error:
                    play.skipped = str(error)
                except Exception as error:
                    play.results[name] = driver.result(picture.of_error(error))
                play.way = driver.way

            yield drive
            for driver in drivers.values():
                driver.close()
        self.seconds[name] = round(time.monotonic() - begun, 1)


def _unasked(play: Played) -> str:
    """Not even without custody did the SDK send anything."""
    return f"the SDK sent nothing: {play.results.get('bare')}"


def plan(recordings: Sequence[Recorded], drivers: Sequence[type[Driver]]) -> list[Played]:
    """Which SDK plays which recording: all that take it and that this environment can drive."""
    able = [driver for driver in drivers if driver.missing() is None]
    return [Played(recorded, driver) for recorded in recordings for driver in able if driver.takes(recorded)]
