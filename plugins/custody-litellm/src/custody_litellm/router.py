"""The Router's choices: written onto the call line, and made again on replay.

A Router picks among deployments at random and by what it has seen of them. A call of its is known by what
it asks (``CallSeam.keyed``), so that on a hit the deployment that answered is handed out at once, without
the attempts that failed and without the pauses between them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from weakref import WeakKeyDictionary

from custody.plugin import OpenCall, Patch, current_call
from custody_litellm.describe import plain

log = logging.getLogger("custody")

DEPLOYMENTS = "deployments"
"""The annotation: names of the deployments that were picked, in order."""

_picking: ContextVar[bool] = ContextVar("custody_litellm_picking", default=False)
_picked: WeakKeyDictionary[Any, list[str]] = WeakKeyDictionary()
_lock = threading.Lock()


UNSEEN_FROM = (1, 109)
"""From this version of litellm on the Router is a facade of a core in Rust, whose choice no patch can see or steer."""


def chooses_unseen() -> bool:
    """Whether the installed litellm is such a one."""
    try:
        major, minor = version("litellm").split(".")[:2]
        return (int(major), int(minor)) >= UNSEEN_FROM
    except (PackageNotFoundError, ValueError):
        return False


def patches() -> tuple[Patch, ...]:
    """The Router's methods that choose, and the one that says how long to sleep; where these are out of reach, the one
    that tells of a Router."""
    if chooses_unseen():
        return (Patch("litellm.router", "Router._attach", _warned),)
    return (
        Patch("litellm.router", "Router.get_available_deployment", _pick),
        Patch("litellm.router", "Router.async_get_available_deployment", _pick_async),
        Patch("litellm.router", "Router._time_to_sleep_before_retry", _no_sleep),
    )


def name_of(deployment: Mapping[str, Any]) -> str:
    """A deployment's name that outlives its credentials: its group, and a digest of its parameters."""
    group = str(deployment.get("model_name"))
    params = deployment.get("litellm_params")
    said = json.dumps([group, plain(params) if isinstance(params, Mapping) else {}], sort_keys=True, default=str)
    return f"{group[:64]}:{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def names_of(deployments: Iterable[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """All deployments with their names; those that differ by credentials only are numbered."""
    seen: Counter[str] = Counter()
    named = []
    for deployment in deployments:
        name = name_of(deployment)
        seen[name] += 1
        named.append((name if seen[name] == 1 else f"{name}#{seen[name]}", deployment))
    return named


def _warned(original: Any) -> Any:
    @functools.wraps(original)
    def attach(self: Any, *args: Any, **kwargs: Any) -> Any:
        _say_once()
        return original(self, *args, **kwargs)

    return attach


@functools.cache
def _say_once() -> None:
    log.warning(
        "custody: the Router of litellm %s chooses deployments where custody cannot see it: each attempt is archived "
        "and replayed as a call of its own, but a resumed program may choose another deployment, whose answer is paid. "
        "Give each group one deployment, or install 'litellm<%d.%d'", version("litellm"), *UNSEEN_FROM,
    )  # fmt: skip


def _pick(original: Any) -> Any:
    @functools.wraps(original)
    def get_available_deployment(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = current_call()
        if call is None or _picking.get():
            return original(self, *args, **kwargs)
        again = _again(self, call)
        if again is not None:
            return again
        token = _picking.set(True)
        try:
            chosen = original(self, *args, **kwargs)
        finally:
            _picking.reset(token)
        _note(self, call, chosen)
        return chosen

    return get_available_deployment


def _pick_async(original: Any) -> Any:
    @functools.wraps(original)
    async def async_get_available_deployment(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = current_call()
        if call is None or _picking.get():
            return await original(self, *args, **kwargs)
        again = _again(self, call)
        if again is not None:
            return again
        token = _picking.set(True)
        try:
            chosen = await original(self, *args, **kwargs)
        finally:
            _picking.reset(token)
        _note(self, call, chosen)
        return chosen

    return async_get_available_deployment


def _no_sleep(original: Any) -> Any:
    @functools.wraps(original)
    def time_to_sleep_before_retry(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = current_call()
        if call is not None and call.archived is not None:
            return 0  # the answers are on record: nobody recovers while we wait
        return original(self, *args, **kwargs)

    return time_to_sleep_before_retry


def _again(router: Any, call: OpenCall) -> Any:
    """On a hit, the deployment that answered then, or of a call that failed, one after the other as then.

    None where it is gone, or where the program asks for more than it did then.
    """
    archived = (call.archived or {}).get(DEPLOYMENTS)
    if not isinstance(archived, list) or not archived:
        return None
    left = archived if call.archived_failed else archived[-1:]
    with _lock:
        handed_out = _picked.setdefault(call, [])
        if len(handed_out) >= len(left):
            return None
        name = left[len(handed_out)]
        handed_out.append(name)
    return next((deployment for named, deployment in _deployments(router) if named == name), None)


def _note(router: Any, call: OpenCall, chosen: Any) -> None:
    if not isinstance(chosen, Mapping):
        return
    model_id = _id(chosen)
    named = _deployments(router)
    name = next((n for n, deployment in named if model_id is not None and _id(deployment) == model_id), None)
    with _lock:
        picked = _picked.setdefault(call, [])
        picked.append(name or name_of(chosen))
        call.annotate(DEPLOYMENTS, list(picked))


def _deployments(router: Any) -> list[tuple[str, Mapping[str, Any]]]:
    held = getattr(router, "model_list", None)
    return names_of(one for one in held if isinstance(one, Mapping)) if isinstance(held, list) else []


def _id(deployment: Mapping[str, Any]) -> Any:
    info = deployment.get("model_info")
    return info.get("id") if isinstance(info, Mapping) else None
