"""Which salvaged answer a call may have. Better none than a wrong one: what does not fit is asked and paid for.

By labels: document and model must agree, and the run where both say one. A name agrees with its stem; two
names that differ in their endings are two documents. An agent's answers all go to one stage, and to calls that
do not differ in their other labels for one document. Runs that a script counts from 0 are those that the older
program counted from 1. By texts, where the script names no document: the user's message is the stored prompt.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from custody.salvage.asked import Asked
from custody.salvage.stored import Salvaged

How = Literal["labels", "texts"]

_SYSTEM, _USER = "=== SYSTEM PROMPT ===\n", "\n\n=== USER PROMPT ===\n"
_ANY_STAGE = frozenset("stage step phase part main run runs llm call calls first one i a".split())
_SAME = 5  # letters with which two words for one thing begin ("analysis", "analyse")


@dataclass
class Bindings:
    """What answers that were given say of those to come.

    Attributes:
        stages: by kind of agent, the stage that asks for its answers.
        others: by document and kind of agent, the other labels with which they are asked for.
        shift: what is added to a script's run to get the older program's; None until it shows.
    """

    stages: dict[str | None, str | None] = field(default_factory=dict)
    others: dict[tuple[str, str | None], tuple[tuple[str, Any], ...]] = field(default_factory=dict)
    shift: int | None = None

    def bind(self, asked: Asked, answer: Salvaged) -> None:
        self.stages.setdefault(answer.agent, asked.stage)
        self.others.setdefault((stem(asked.document or ""), answer.agent), asked.others)
        if asked.run is not None and answer.run is not None and asked.document is not None:
            self.shift = answer.run - asked.run


def candidates(
    asked: Asked, shelf: Iterable[Salvaged], bound: Bindings, prompt_of: Callable[[Salvaged], str | None]
) -> tuple[list[Salvaged], How]:
    """The answers that the call may have, the best first."""
    fitting = [one for one in shelf if same_model(asked.model, one.model)]
    if asked.document is None:
        equal = [one for one in fitting if same_texts(asked, prompt_of(one))]
        return [one for one in equal if asked.run is None or one.run in (None, asked.run)], "texts"
    fitting = [one for one in fitting if one.corpus_file and same_document(asked.document, one.corpus_file)]
    exact = [one for one in fitting if _name(one.corpus_file or "") == _name(asked.document)]
    fitting = [one for one in exact or fitting if _same_stage(asked, one, bound) and _same_others(asked, one, bound)]
    return _of_run(asked, fitting, bound), "labels"


def _of_run(asked: Asked, fitting: list[Salvaged], bound: Bindings) -> list[Salvaged]:
    if asked.run is None:
        return sorted(fitting, key=lambda one: (one.run is None, one.run or 0, one.ended, one.id))
    runs = {one.run for one in fitting if one.run is not None}
    shift = bound.shift
    if shift is None:
        shift = 1 if asked.run == 0 and runs and 0 not in runs else 0
    return [one for one in fitting if one.run is None or one.run == asked.run + shift]


def same_document(asked: str, known: str) -> bool:
    """Whether two names are one document's; one of them may be without its ending."""
    one, other = _name(asked), _name(known)
    if one == other:
        return True
    if _ending(one) and _ending(other):
        return False
    return stem(one) == stem(other)


def same_model(asked: str | None, known: str | None) -> bool:
    """Whether two names are one model's; one may name a gateway's provider before it. Unknown fits all."""
    if asked is None or known is None:
        return known is None
    one, other = (name.lower().split("/") for name in (asked, known))
    short = min(len(one), len(other))
    return one[-short:] == other[-short:]


def same_texts(asked: Asked, prompt: str | None) -> bool:
    """Whether the messages are, letter by letter, what was stored."""
    if not prompt or asked.user is None:
        return False
    if prompt.startswith(_SYSTEM):
        system, found, user = prompt.removeprefix(_SYSTEM).partition(_USER)
        return bool(found) and (system, user) == (asked.system, asked.user)
    return prompt == asked.user


def stem(name: str) -> str:
    name = _name(name)
    return PurePosixPath(name).stem if _ending(name) else name


def _name(value: str) -> str:
    return unicodedata.normalize("NFC", PurePosixPath(value.replace("\\", "/")).name)


def _ending(name: str) -> bool:
    return re.search(r"\.[A-Za-z][A-Za-z0-9]{0,4}\Z", name) is not None


def _same_stage(asked: Asked, one: Salvaged, bound: Bindings) -> bool:
    if one.stage is not None:
        return one.stage == asked.stage
    if asked.stage is None or one.agent is None:
        return bound.stages.get(one.agent, asked.stage) == asked.stage
    if one.agent in bound.stages:
        return bound.stages[one.agent] == asked.stage
    agent = [word for word in _words(one.agent) if word != "agent"]
    stage = _words(asked.stage)
    alike = any(a[:_SAME] == s[:_SAME] and min(len(a), len(s)) >= _SAME for a in agent for s in stage)
    return alike or _ANY_STAGE.issuperset(stage)


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name.lower())


def _same_others(asked: Asked, one: Salvaged, bound: Bindings) -> bool:
    return bound.others.get((stem(asked.document or ""), one.agent), asked.others) == asked.others
