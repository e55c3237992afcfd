"""What every vendor plugin must do, as tests to inherit::

    class TestMyVendor(VendorContract):
        @pytest.fixture
        def plugin(self):
            return MyPlugin()

        @pytest.fixture
        def exchanges(self, plugin):
            return [Sample(sample_exchange(plugin, ...), fields={"actual_model": "m-1"}, usage=Usage(3, 5))]

        @pytest.fixture
        def drive(self):
            return Drive(call, sent, cut)  # the real SDK, led to a server or transport of your own

The plugin has to be installed: the flow tests use it as custody finds it.
"""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import ClassVar, get_args

import pytest

import custody
from custody.exchange import Exchange, RequestHead, parse_json
from custody.hooks.discovery import Found, discover
from custody.record import FORENSIC_FIELDS, PLACES, REASONS, RESPONSE_FIELDS, Forensics, Outcome, Usage, plain_numbers
from custody.report.stored import StoredSession
from custody.sessions import process
from custody.sessions.session import Session
from custody.testing.samples import JSON, Sample, manager_of, mutilations, occurs, sample_exchange
from custody.vendor import Vendor

CAPABILITIES = ("sdk", "stream", "cut")
MARKER = "a sentence of the user's that no call line may hold"

FOREIGN = (
    ("openai", RequestHead("POST", "https://api.openai.com/v1/chat/completions", JSON)),
    ("openai", RequestHead("POST", "https://api.openai.com/v1/responses", JSON)),
    ("openai", RequestHead("GET", "https://api.openai.com/v1/models", ())),
    ("anthropic", RequestHead("POST", "https://api.anthropic.com/v1/messages", (*JSON, ("anthropic-version", "1")))),
    ("", RequestHead("GET", "https://www.example.org/", ())),
    ("", RequestHead("POST", "https://www.example.org/login", JSON)),
    ("", RequestHead("GET", "https://packages.example/simple/some-package/", ())),
    ("", RequestHead("GET", "https://packages.example/files/some_package-1.0.tar.gz", ())),
)
"""Requests with the SDK whose they are: no other plugin may claim them."""


@dataclass(frozen=True)
class Drive:
    """The real SDK, led to the author's own server or transport, which answers differently each time.

    Attributes:
        call: given a prompt and whether to stream, makes one call; gives something comparable with ``==``.
        sent: how many requests the server or transport has seen.
        cut: makes the next streamed answer break off in the middle.
    """

    call: Callable[[str, bool], object]
    sent: Callable[[], int]
    cut: Callable[[], None] | None = None


class VendorContract:
    """Inherit, and override ``plugin``, ``exchanges`` and ``drive``.

    Attributes:
        not_applicable: what this vendor does not have (one of ``CAPABILITIES``), each with the reason.
        reads_too: SDKs of others whose traffic this plugin reads on purpose ("openai").
    """

    not_applicable: ClassVar[Mapping[str, str]] = {}
    reads_too: ClassVar[Sequence[str]] = ()

    @pytest.fixture
    def plugin(self) -> object:
        """The plugin, as its entry point makes it."""
        raise NotImplementedError("override the fixture 'plugin'")

    @pytest.fixture
    def exchanges(self) -> list[Sample]:
        """Whole, streamed and failed exchanges, with what must be read from them."""
        raise NotImplementedError("override the fixture 'exchanges'")

    @pytest.fixture
    def drive(self) -> Drive:
        """The real SDK."""
        raise NotImplementedError("override the fixture 'drive'")

    @pytest.fixture
    def installed(self, plugin: object, tmp_path: Path) -> Iterator[Found]:
        """The plugin as custody finds it, alone; every patch is taken back afterwards."""
        found = [f for f in discover({}) if f.plugin is plugin or (type(f.plugin) is type(plugin) is not ModuleType)]
        problems = [f"{f.name}: {f.problem}" for f in discover({}) if f.problem]
        assert found, f"no entry point of the group 'custody' leads to this plugin; is it installed? {problems}"
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("CUSTODY_")]:
                patch.delenv(name)
            patch.setenv("CUSTODY_SPILL_DIR", str(tmp_path / "spill"))
            patch.setenv("CUSTODY_PLUGINS", found[0].name)
            yield found[0]
            custody.uninstall()

    def _needs(self, *capabilities: str) -> None:
        for name in capabilities:
            if name in self.not_applicable:
                pytest.skip(f"{name}: {self.not_applicable[name]}")

    # -- the plugin ---------------------------------------------------------------------------------

    def test_what_does_not_apply_has_a_name_and_a_reason(self) -> None:
        assert set(self.not_applicable) <= set(CAPABILITIES)
        assert all(reason.strip() for reason in self.not_applicable.values())

    def test_it_is_installed_and_loaded(self, installed: Found) -> None:
        assert installed.state == "loaded", installed.problem
        assert installed.distribution
        assert installed.version

    def test_it_registers_and_implements_the_vendor_hooks(self, plugin: object) -> None:
        manager = manager_of(plugin)
        (found,) = manager.found
        assert found.state == "loaded", found.problem
        assert {"claim_exchange", "extract_forensics"} <= set(found.hooks), "a vendor plugin claims and reads"

    def test_it_imports_no_sdk(self, plugin: object, installed: Found) -> None:
        self._needs("sdk")
        vendor = _vendor(plugin)
        script = (
            "import sys; from custody.hooks.manager import PluginManager; m = PluginManager.load(); m.vendors(); "
            "print('\\n'.join(sys.modules))"
        )
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        ran = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
        loaded = ran.stdout.split()
        assert type(installed.plugin).__module__ in loaded or installed.plugin.__name__ in loaded
        assert vendor.import_name not in loaded, f"loading the plugin imports {vendor.import_name}"

    # -- claims -------------------------------------------------------------------------------------

    def test_a_claim_is_stable_and_carries_the_plugins_name(self, exchanges: list[Sample], installed: Found) -> None:
        assert exchanges, "give at least one sample"
        manager = manager_of(installed.plugin)
        for sample in exchanges:
            first, second = (manager.claim_exchange(replace(sample.exchange.request)) for _ in range(2))
            assert first is not None, f"{sample.exchange.request.url} is not claimed"
            assert second is not None, f"{sample.exchange.request.url} is claimed once only"
            assert first.plugin == installed.name, "Claim.plugin is the name of the entry point"
            assert first.vendor
            assert first.operation
            assert replace(first, stream_end=None) == replace(second, stream_end=None), "two claims of one request"

    @pytest.mark.parametrize(("sdk", "request_head"), FOREIGN, ids=[f"{r.method} {r.url}" for _, r in FOREIGN])
    def test_it_claims_nothing_of_others(self, plugin: object, sdk: str, request_head: RequestHead) -> None:
        manager = manager_of(plugin)
        own = {vendor.sdk for _, vendor in manager.vendors()} | set(self.reads_too)
        if sdk in own:
            pytest.skip(f"{sdk} is what this plugin reads")
        assert manager.claim_exchange(request_head) is None, f"{request_head.url} is not this vendor's"

    # -- reading ------------------------------------------------------------------------------------

    def test_it_reads_what_the_samples_say(self, plugin: object, exchanges: list[Sample]) -> None:
        for sample in exchanges:
            read = _read(plugin, sample.exchange)
            _check(read, sample.exchange, "the sample")
            silent = set(FORENSIC_FIELDS) - set(read.findings) - {"vendor"}
            assert not silent, f"neither a value nor a reason for {sorted(silent)}"
            assert {name: _value(read, name) for name in sample.fields} == dict(sample.fields)
            assert _classes(read.usage) == _classes(sample.usage)

    def test_reading_is_pure(self, plugin: object, exchanges: list[Sample]) -> None:
        for sample in exchanges:
            first = _read(plugin, replace(sample.exchange))
            seen = replace(sample.exchange)
            before = copy.deepcopy((seen.request_body, seen.chunks, seen.request_json, seen.response_json, seen.events))
            assert _read(plugin, seen) == first == _read(plugin, seen), "the same exchange, read differently"
            after = (seen.request_body, seen.chunks, seen.request_json, seen.response_json, seen.events)
            assert after == before, "reading changed the exchange, which other plugins read too"

    def test_reading_survives_any_bytes_and_invents_nothing(self, plugin: object, exchanges: list[Sample]) -> None:
        for sample in exchanges:
            for what, mutilated in mutilations(sample.exchange):
                try:
                    read = _read(plugin, mutilated)
                except Exception as error:
                    raise AssertionError(f"extract_forensics raised {error!r} on {what}") from error
                _check(read, mutilated, what)

    def test_the_end_of_a_stream_is_recognised(self, exchanges: list[Sample]) -> None:
        self._needs("stream")
        streams = [s.exchange for s in exchanges if s.exchange.succeeded and s.exchange.events]
        assert streams, "give a sample of a complete stream, or say in not_applicable['stream'] why there is none"
        for exchange in streams:
            stream_end = exchange.claim.stream_end
            assert stream_end is not None, "without stream_end a stream that was cut looks complete"
            said = [stream_end(event) for event in exchange.events]
            assert "complete" in said or "complete_at_eof" in said, f"no event ends this stream: {said}"
            assert "complete" not in said[:-1], f"the stream is taken for complete before its last event: {said}"
            assert said[0] is None, "the first event of a stream is taken for its end"

    # -- the flow: the real SDK under a real session ------------------------------------------------

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    def test_a_call_is_recorded_and_replayed(
        self, installed: Found, drive: Drive, tmp_path: Path, stream: bool
    ) -> None:
        self._needs(*["stream"] * stream)
        sent = drive.sent()
        with _session(tmp_path) as session:
            answer = drive.call(MARKER, stream)
            sdk = process.install().sdks.get(installed.name)
        assert drive.sent() == sent + 1, "one call is one request"
        if "sdk" not in self.not_applicable:
            assert sdk is not None, "no hook 'vendor': give it, or say in not_applicable['sdk'] why there is no SDK"
            assert sdk.state == "patched", f"the call did not pass a call seam: {sdk}"
        (call,) = StoredSession(session.path).calls()
        assert call.success, call.fields
        assert call.fields["streamed"] is stream
        assert MARKER not in json.dumps(call.fields), "the call line holds text of the user's"
        assert MARKER.encode() in call.request_body
        with _session(tmp_path, session, strict=True):
            again = drive.call(MARKER, stream)
        assert again == answer, "the replayed answer is not the recorded one"
        assert drive.sent() == sent + 1, "an archived call was sent again"

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    def test_six_runs_are_six_answers(self, installed: Found, drive: Drive, tmp_path: Path, stream: bool) -> None:
        self._needs(*["stream"] * stream)
        sent = drive.sent()
        with _session(tmp_path) as session:
            answers = [_run(session, drive, run, stream) for run in range(6)]
        assert drive.sent() == sent + 6
        alike = [a for a in range(6) for b in range(a) if answers[a] == answers[b]]
        assert not alike, "the server must answer differently each time, or a wrong replay cannot show"
        with _session(tmp_path, session, strict=True) as resumed:
            again = {run: _run(resumed, drive, run, stream) for run in reversed(range(6))}
        assert [again[run] for run in range(6)] == answers, "a run was given another run's answer"
        assert drive.sent() == sent + 6

    def test_a_stream_that_was_cut_is_not_replayed(self, installed: Found, drive: Drive, tmp_path: Path) -> None:
        self._needs("stream", "cut")
        assert drive.cut is not None, "give Drive.cut, or say in not_applicable['cut'] why it cannot be"
        with _session(tmp_path) as session:
            drive.cut()
            try:
                cut = drive.call(MARKER, True)
            except Exception as error:  # how an SDK takes it is its own affair
                cut = error
        assert [call.success for call in StoredSession(session.path).calls()] == [False], (
            "a cut stream counts as a success"
        )
        sent = drive.sent()
        with _session(tmp_path, session):
            whole = drive.call(MARKER, True)
        assert drive.sent() == sent + 1, "half an answer was replayed as a whole one"
        assert whole != cut


# -- what the tests stand on ------------------------------------------------------------------------


def _vendor(plugin: object) -> Vendor:
    vendors = manager_of(plugin).vendors()
    assert vendors, "no hook 'vendor': give it, or say in not_applicable['sdk'] why there is no SDK"
    return vendors[0][1]


def _session(root: Path, before: Session | None = None, *, strict: bool = False) -> Session:
    return custody.session("contract", "contract", root=root, session=before.id if before else None, strict=strict)


def _run(session: Session, drive: Drive, run: int, stream: bool) -> object:
    with session.scope(run=run):
        return drive.call("one prompt for all runs", stream)


def _read(plugin: object, exchange: Exchange) -> Forensics:
    parts = manager_of(plugin).extract_forensics(exchange)
    assert len(parts) == 1, "extract_forensics gave no Forensics for an exchange that the plugin claims"
    return parts[0]


def _value(read: Forensics, name: str) -> str | int | float | None:
    assert name in read.findings, f"nothing is said of {name}"
    return read.findings[name].value


def _classes(usage: Usage | None) -> dict[str, int | None] | None:
    names = ("input", "output", "cache_read", "cache_write", "reasoning")
    return {name: getattr(usage, name) for name in names} if usage else None


def _check(read: Forensics, exchange: Exchange, what: str) -> None:
    """Every value has evidence and lies where it says; every null has a reason."""
    known = {*FORENSIC_FIELDS, *RESPONSE_FIELDS}
    assert set(read.findings) <= known, f"no such fields: {sorted(set(read.findings) - known)}"
    for name, finding in read.findings.items():
        where, value = f"{name} of {what}", finding.value
        if value is None:
            assert finding.evidence.removeprefix("unknown:") in REASONS, f"{where}: a null without a reason of the list"
            continue
        place, _, spot = finding.evidence.partition(":")
        assert place in PLACES, f"{where}: {finding.evidence!r} is no evidence"
        assert spot, f"{where}: the evidence names no field"
        assert isinstance(value, (str, int, float)), f"{where}: {value!r} is not plain"
        assert not isinstance(value, float) or math.isfinite(value), f"{where}: {value} is not JSON"
        assert not isinstance(value, str) or (len(value) <= 256 and occurs(value, place, exchange)), (
            f"{where}: {value!r} does not occur in the {place}"
        )
        assert place != "response_body" or exchange.content, f"{where}: {value!r} from an empty body"
    for parameter, value in read.parameters.items():
        short = not isinstance(value, str) or (len(value) <= 64 and " " not in value)
        assert short, f"parameter {parameter} of {what} may be text"
        assert isinstance(value, (str, int, float)), f"parameter {parameter} of {what} is not plain"
    assert read.outcome is None or read.outcome in get_args(Outcome)
    if read.usage is None:
        assert read.usage_reason in REASONS, f"no usage of {what}, and no reason of the list"
        return
    assert read.usage.evidence.partition(":")[0] in PLACES
    assert plain_numbers(read.usage.raw) == read.usage.raw, f"usage.raw of {what} holds text"
    assert all(n is None or (type(n) is int and n >= 0) for n in (_classes(read.usage) or {}).values()), read.usage
    content = exchange.content or b""
    said = parse_json(content) or exchange.events or content[:1] == b"\0"  # gRPC's frames begin with a flag
    assert said or not read.usage.evidence.startswith("response_body"), f"usage of {what}: from an empty body"


__all__ = ["CAPABILITIES", "Drive", "Sample", "VendorContract", "sample_exchange"]
