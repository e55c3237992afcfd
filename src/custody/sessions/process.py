"""This process: its plugins, its patched SDKs, and the one session that is active in it."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

from packaging.specifiers import SpecifierSet

from custody.exchange import Claim, RequestHead, Turn
from custody.hooks.discovery import installed_version, sdk_range
from custody.hooks.manager import PluginManager
from custody.pipeline.call import LogicalCall
from custody.pipeline.flow import Flow
from custody.pipeline.in_flight import InFlight
from custody.seam import aiohttp, botocore, calls, grpc, httpx, requests, threads, websockets
from custody.seam.patching import Patches
from custody.sessions import loops
from custody.storage import Storage, folders
from custody.vendor import CallSeam, Vendor

log = logging.getLogger("custody")

WIRE_SEAMS = (httpx, aiohttp, requests, botocore, grpc, websockets)

SeamState = Literal["waiting", "patched", "skipped", "not installed", "failed"]


@dataclass
class SdkStatus:
    """One vendor plugin's SDK. ``reason`` says why it is skipped or failed."""

    plugin: str
    sdk: str
    found: str
    known: str
    state: SeamState
    reason: str = ""


@dataclass
class Process:
    """The installation. ``flow`` is the active session's, None when idle: then every seam steps aside.

    ``last`` is the one that was open last: what its threads still ask after a failed end is refused.
    """

    hooks: PluginManager
    patches: Patches = field(default_factory=Patches)
    sdks: dict[str, SdkStatus] = field(default_factory=dict)
    flow: Flow | None = None
    last: Flow | None = None
    _unrecorded: Flow | None = None  # after which it was said that nothing is recorded

    # As a WireHandler:

    @property
    def active(self) -> bool:
        return self._flow() is not None

    def _flow(self) -> Flow | None:
        if self.flow is not None or self.last is None:
            return self.flow
        flight = self.last.in_flight
        return self.last if flight.refusing and threading.current_thread() in flight.threads else None

    def in_flight(self) -> InFlight | None:
        return self.last.in_flight if self.last is not None else None

    def claim(self, request: RequestHead, client: object) -> Claim | None:
        flow = self._flow()
        return flow.claim(request, client) if flow is not None else None

    def begin(self, request: RequestHead, claim: Claim, body: bytes, transport: str, client: object) -> Turn | None:
        flow = self._flow()
        return flow.begin(request, claim, body, transport, client) if flow is not None else None

    def open_call(
        self, plugin: str, seam: CallSeam, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> LogicalCall | None:
        flow = self.flow
        if flow is None:
            self._say_unrecorded()
            return None
        return flow.open_call(plugin, seam, args, kwargs)

    def _say_unrecorded(self) -> None:
        """Once for each session: in a notebook the next cell looks as if it was recorded, too."""
        last = self.last
        if last is not None and not last.in_flight.refusing and self._unrecorded is not last:
            self._unrecorded = last
            log.warning(
                "custody: %s has ended: this call, and what follows, is not recorded. custody.session(...) opens "
                "the next one", last.session,
            )  # fmt: skip

    def sdk_version(self, plugin: str) -> str:
        status = self.sdks.get(plugin)
        return f"{status.sdk} {status.found}" if status and status.found else ""

    def install(self) -> None:
        for seam in WIRE_SEAMS:
            seam.install(self.patches, self)
        threads.install(self.patches)
        loops.install(self.patches, self.in_flight)
        for name, vendor in self.hooks.vendors():
            self._install_seams(name, vendor)

    def _install_seams(self, plugin: str, vendor: Vendor) -> None:
        status = self.sdks[plugin] = sdk_status(self.hooks, plugin, vendor)
        if status.state in ("skipped", "not installed"):
            if status.state == "skipped":  # said when the program imports it, not to those who do not
                reason = status.reason
                self.patches.when_imported(vendor.import_name, lambda _: log.warning("custody: %s", reason))
            return

        def opener(name: str, seam: CallSeam, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LogicalCall | None:
            status.state = "patched"
            return self.open_call(name, seam, args, kwargs)

        def failed(error: AttributeError) -> None:
            status.state, status.reason = "failed", f"{vendor.sdk} {status.found}: {error}"
            log.warning("custody: call seam of %s not patched: %s", plugin, error)

        for seam in vendor.seams:
            calls.install(self.patches, plugin, seam, opener, failed)
        for patch in vendor.patches:
            calls.install_patch(self.patches, patch, failed)


def sdk_status(hooks: PluginManager, plugin: str, vendor: Vendor) -> SdkStatus:
    """Compare the installed SDK with the range in the plugin's metadata."""
    found = next((f for f in hooks.found if f.name == plugin), None)
    known = sdk_range(found.distribution, vendor.sdk) if found else ""
    have = installed_version(vendor.sdk)
    if not have:
        return SdkStatus(plugin, vendor.sdk, "", known, "not installed", f"{vendor.sdk} is not installed")
    if known and not SpecifierSet(known).contains(have, prereleases=True):
        reason = (
            f"skipped: found {vendor.sdk} {have}, {plugin} knows {known}; "
            "its calls are still archived, each attempt as a call of its own"
        )
        return SdkStatus(plugin, vendor.sdk, have, known, "skipped", reason)
    return SdkStatus(plugin, vendor.sdk, have, known, "waiting")


_process: Process | None = None
_looking: PluginManager | None = None


def open_url(url: str, create: bool) -> Storage:
    """By the storage plugins, also where nothing is patched. Raises PluginError and the plugin's own errors."""
    global _looking
    if _process is not None:
        return _process.hooks.open_storage(url, create=create)
    _looking = _looking or PluginManager.load()
    return _looking.open_storage(url, create=create)


folders.opener = open_url
_lock = threading.RLock()


def current() -> Process | None:
    return _process


def install() -> Process:
    """Load plugins and patch SDKs, once. Raises RequiredPluginMissing."""
    global _process
    with _lock:
        if _process is None:
            process = Process(PluginManager.load())
            process.install()
            _process = process
            atexit.register(_at_exit)
        return _process


def uninstall() -> None:
    """Take every patch back. A session that is active is left to its owner."""
    global _process
    with _lock:
        if _process is not None:
            _process.patches.undo()
            _process = None


def _at_exit() -> None:
    from custody.sessions import starting

    starting.close_at_exit()


def custody_version() -> str:
    return installed_version("custody") or "0"


def on_fork() -> None:
    """In a forked child: the session's journal belongs to the parent, so the child joins anew."""
    from custody.sessions import starting

    global _lock
    _lock = threading.RLock()
    starting.rejoin_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=on_fork)
