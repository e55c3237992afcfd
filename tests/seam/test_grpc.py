"""The gRPC seams against a real server on loopback: what a program gets bare, recorded, and replayed without it."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import custody
from custody.errors import ReplayExhausted, ReplayMiss
from custody.identity.scope import labelled
from custody.report.stored import StoredCall
from custody.seam import grpc as seam
from custody.seam import grpc_aio, grpc_frames
from custody.seam.patching import Patches

grpc: Any = pytest.importorskip("grpc")
struct_pb2: Any = pytest.importorskip("google.protobuf.struct_pb2")

PLUGIN = """
from custody.plugin import Claim, Forensics, hookimpl

@hookimpl
def claim_exchange(request):
    ours = request.url.startswith("grpc://") and "/test.Oracle/" in request.url
    return Claim("grpc-test", "Test", "chat") if ours else None

@hookimpl
def extract_forensics(exchange):
    failed = b"grpc-status:0" not in exchange.body
    return Forensics(outcome="error" if failed and exchange.ending in ("complete", "broken") else None)
"""


class Oracle:
    """A server that never gives an answer twice. What is asked for decides how it goes."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.metadata: list[dict[str, Any]] = []
        self.serial = 0
        self.hold = threading.Event()
        handlers = grpc.method_handlers_generic_handler(
            "test.Oracle",
            {
                "Ask": grpc.unary_unary_rpc_method_handler(self.ask),
                "Tell": grpc.unary_stream_rpc_method_handler(self.tell),
                "Chat": grpc.stream_stream_rpc_method_handler(lambda requests, context: requests),
            },
        )
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers((handlers,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def arrive(self, raw: bytes, context: Any) -> str:
        request = struct_pb2.Struct.FromString(raw)
        text: str = request.fields["ask"].string_value
        self.asked.append(text)
        self.bodies.append(raw)
        self.metadata.append({pair.key: pair.value for pair in context.invocation_metadata()})
        context.send_initial_metadata(
            (("x-request-id", f"id-{len(self.asked)}"), ("x-secret-session", "shown-to-nobody"))
        )
        if text.startswith("slow"):
            self.hold.wait(5)
        if text.startswith("fail"):
            _, _, code = text.partition(" ")
            context.set_trailing_metadata((("grpc-status-details-bin", b"\x00\x01details"), ("x-request-id", "t-1")))
            context.abort(getattr(grpc.StatusCode, code), f"Failed: 100% of “{text}”")
        return text

    def answer(self) -> bytes:
        self.serial += 1
        made = struct_pb2.Struct()
        made["serial"] = self.serial
        data: bytes = made.SerializeToString()
        return data

    def ask(self, raw: bytes, context: Any) -> bytes:
        text = self.arrive(raw, context)
        context.set_trailing_metadata((("x-request-id", "trailing"),))
        return b"\xff\xff" if text == "garbage" else self.answer()

    def tell(self, raw: bytes, context: Any) -> Iterator[bytes]:
        text = self.arrive(raw, context)
        for number in range(4):
            if text == "cut" and number == 2:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the backend went away")
            if text == "paced" and number == 2:
                self.hold.wait(5)
            yield self.answer()

    def stop(self) -> None:
        self.hold.set()
        self.server.stop(None).wait()


@pytest.fixture
def oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Oracle]:
    """The server, and a plugin that claims its calls."""
    folder = tmp_path / "site"
    info = folder / "grpc_test_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: grpc-test-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\ngrpc-test = grpc_test_plugin\n")
    (folder / "grpc_test_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("CUSTODY_PLUGINS", "grpc-test")
    importlib.invalidate_caches()
    running = Oracle()
    yield running
    running.stop()


def asked(text: str) -> Any:
    made = struct_pb2.Struct()
    made["ask"] = text
    for number in range(8):
        made[f"entry {number}"] = number  # a map: its order on the wire is not fixed
    return made


class Ways:
    """Runs a scenario bare, recording and replaying strictly with the server gone."""

    def __init__(self, oracle: Oracle, root: Path) -> None:
        self.oracle, self.root = oracle, root
        self.session = ""

    def record(self, scenario: Callable[[int], Any]) -> Any:
        with custody.session("P", "E", root=self.root, new=True) as session:
            self.session, self.path = session.id, session.path
            return scenario(self.oracle.port)

    def replay(self, scenario: Callable[[int], Any]) -> Any:
        count = len(self.oracle.asked)
        self.oracle.stop()
        with custody.session("P", "E", root=self.root, session=self.session, strict=True):
            result = scenario(self.oracle.port)
        assert len(self.oracle.asked) == count
        return result

    def __call__(self, scenario: Callable[[int], Any]) -> Any:
        bare = scenario(self.oracle.port)
        recorded = self.record(scenario)
        assert shape(recorded) == shape(bare)
        assert recorded != bare or '"serial"' not in json.dumps(bare, default=str)
        assert self.replay(scenario) == recorded
        return recorded

    @property
    def calls(self) -> list[StoredCall]:
        return list(custody.open(self.path).calls())


@pytest.fixture
def ways(oracle: Oracle, root: Path) -> Ways:
    return Ways(oracle, root)


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [shape(v) for v in value]
    return value if isinstance(value, (str, bool, type(None))) else type(value).__name__


def plain(message: Any) -> Any:
    return {name: value.number_value for name, value in message.fields.items()}


def pairs(metadata: Any) -> Any:
    """As far as metadata are stored; the ids that the server counts are left out."""
    return [tuple(pair) for pair in metadata or () if pair[0] in ("grpc-status-details-bin",)]


def said(error: Any) -> Any:
    """All that a program sees of an error."""
    names = list(dict.fromkeys(kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("grpc")))
    return [names, error.code().name, error.details(), pairs(error.trailing_metadata())]


def stubs(channel: Any) -> tuple[Any, Any]:
    make = {
        "request_serializer": struct_pb2.Struct.SerializeToString,
        "response_deserializer": struct_pb2.Struct.FromString,
    }
    return channel.unary_unary("/test.Oracle/Ask", **make), channel.unary_stream("/test.Oracle/Tell", **make)


def sync(scenario: Callable[[Any, Any], Any], options: Any = ()) -> Callable[[int], Any]:
    def run(port: int) -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            return scenario(*stubs(channel))

    return run


def asynchronous(scenario: Callable[[Any, Any], Any]) -> Callable[[int], Any]:
    async def main(port: int) -> Any:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            return await scenario(*stubs(channel))

    return lambda port: asyncio.run(main(port))


# -- one answer ---------------------------------------------------------------------------------------


def whole(ask: Any, tell: Any) -> Any:
    return [plain(ask(asked("a"))), plain(ask(asked("b"), timeout=20, metadata=(("x-a", "1"),)))]


def with_call(ask: Any, tell: Any) -> Any:
    response, call = ask.with_call(asked("a"))
    states = [call.is_active(), call.done(), call.cancelled(), call.cancel(), call.time_remaining()]
    names = [name for name, _ in (*call.initial_metadata(), *call.trailing_metadata()) if name == "x-request-id"]
    return [plain(response), call.code().name, call.details(), states, names, plain(call.result()), call.exception()]


def future(ask: Any, tell: Any) -> Any:
    made, called = ask.future(asked("a")), []
    response = plain(made.result(timeout=20))
    made.add_done_callback(lambda one: called.append(one.done()))
    return [response, made.done(), made.code().name, called, made.exception(), plain(ask.future(asked("b")).result())]


def errors(ask: Any, tell: Any) -> Any:
    seen = []
    for code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
        for call in (ask, lambda request: ask.with_call(request), lambda request: ask.future(request).result()):
            with pytest.raises(grpc.RpcError) as caught:
                call(asked(f"fail {code}"))
            assert caught.value.initial_metadata() is not None
            seen.append(said(caught.value))
    return seen


def future_that_fails(ask: Any, tell: Any) -> Any:
    made = ask.future(asked("fail NOT_FOUND"))
    error = made.exception(timeout=20)
    return [said(error), made.done(), made.code().name]


def garbage(ask: Any, tell: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        ask(asked("garbage"))
    return [caught.value.code().name, caught.value.details()]


def intercepted(ask: Any, tell: Any) -> Any:
    return plain(ask(asked("a")))


# -- a stream -----------------------------------------------------------------------------------------


def stream(ask: Any, tell: Any) -> Any:
    call = tell(asked("a"))
    answers = [plain(message) for message in call]
    again = list(call)  # it stays at its end
    return [answers, again, call.code().name, call.details(), call.is_active(), call.cancel()]


def stream_metadata_first(ask: Any, tell: Any) -> Any:
    call = tell(asked("a"))
    names = [name for name, _ in call.initial_metadata() if name == "x-request-id"]
    return [names, [plain(message) for message in call]]


def stream_that_fails(ask: Any, tell: Any) -> Any:
    seen = []
    for code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"):
        call = tell(asked(f"fail {code}"))
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
        assert caught.value is call
        seen.append([call.code().name, call.details(), pairs(call.trailing_metadata()), call.is_active()])
    return seen


SYNC = [whole, with_call, future, errors, future_that_fails, garbage, stream, stream_metadata_first, stream_that_fails]


@pytest.mark.parametrize("scenario", SYNC, ids=lambda f: f.__name__)
def test_the_blocking_api(ways: Ways, scenario: Any) -> None:
    ways(sync(scenario))
    assert ways.calls
    assert all(call.fields["transport"] == f"grpc {grpc.__version__}" for call in ways.calls)


@pytest.mark.parametrize("scenario", [stream, stream_that_fails], ids=lambda f: f.__name__)
def test_streams_without_a_thread_of_the_channel(ways: Ways, scenario: Any) -> None:
    ways(sync(scenario, options=((grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),)))
    assert ways.calls


def test_beneath_interceptors(ways: Ways) -> None:
    """An interceptor runs when recording and when replaying, and what it adds is part of the request."""
    ran = []

    class Adds(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc, name-defined]
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            ran.append("unary")
            return continuation(details, request)

        def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
            ran.append("stream")
            return continuation(details, request)

    def scenario(port: int) -> Any:
        with grpc.intercept_channel(grpc.insecure_channel(f"127.0.0.1:{port}"), Adds()) as channel:
            ask, tell = stubs(channel)
            return [plain(ask(asked("a"))), [plain(m) for m in tell(asked("a"))]]

    ways(scenario)
    assert ran == ["unary", "stream"] * 3
    assert len(ways.calls) == 2


# -- asyncio ------------------------------------------------------------------------------------------


async def a_whole(ask: Any, tell: Any) -> Any:
    call = ask(asked("a"))
    response = plain(await call)
    names = [name for name, _ in (*await call.initial_metadata(), *await call.trailing_metadata())]
    state = [call.done(), call.cancelled(), call.cancel(), (await call.code()).name, await call.details()]
    return [response, state, [name for name in names if name == "x-request-id"], plain(await call)]


async def a_gathered(ask: Any, tell: Any) -> Any:
    return [plain(one) for one in await asyncio.gather(*(ask(asked(f"q{n}")) for n in range(6)))]


async def a_errors(ask: Any, tell: Any) -> Any:
    seen = []
    for code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAVAILABLE"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(asked(f"fail {code}"))
        seen.append(said(caught.value))
        call = tell(asked(f"fail {code}"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pytest.fail("a message")
        seen.append([*said(caught.value), call.done(), (await call.code()).name])
    return seen


async def a_stream(ask: Any, tell: Any) -> Any:
    call, called = tell(asked("a")), []
    call.add_done_callback(lambda one: called.append(one.done()))
    await call.wait_for_connection()
    answers = [plain(message) async for message in call]
    return [answers, (await call.code()).name, call.done(), await call.details(), called]


async def a_read(ask: Any, tell: Any) -> Any:
    call, seen = tell(asked("a")), []
    while (message := await call.read()) is not grpc.aio.EOF:
        seen.append(plain(message))
    return seen


ASYNC = [a_whole, a_gathered, a_errors, a_stream, a_read]


@pytest.mark.parametrize("scenario", ASYNC, ids=lambda f: f.__name__)
def test_the_api_for_asyncio(ways: Ways, scenario: Any) -> None:
    ways(asynchronous(scenario))
    assert ways.calls


def test_beneath_interceptors_of_asyncio(ways: Ways) -> None:
    ran = []

    class Notes(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc, name-defined]
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            ran.append("unary")
            return await continuation(details, request)

    async def main(port: int) -> Any:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=[Notes()]) as channel:
            return plain(await stubs(channel)[0](asked("a")))

    ways(lambda port: asyncio.run(main(port)))
    assert ran == ["unary"] * 3
    assert len(ways.calls) == 1


# -- what is written ------------------------------------------------------------------------------------


def test_a_record_holds_what_went_over_the_wire(ways: Ways) -> None:
    """The request as it was sent, the answer framed, status and storable metadata in the trailers."""
    ways.record(sync(lambda ask, tell: [ask(asked("a")), list(tell(asked("b")))]))
    one, many = ways.calls
    assert one.request_body == ways.oracle.bodies[0]
    assert one.request["url"] == f"grpc://127.0.0.1:{ways.oracle.port}/test.Oracle/Ask"
    for call, count in ((one, 1), (many, 4)):
        response = call.response
        assert response is not None
        assert (response.head.status, response.head.reason, response.head.http_version) == (200, "OK", "HTTP/2")
        assert response.head.header("x-request-id") is not None
        body = grpc_frames.parse(b"".join(chunk.data for chunk in response.chunks))
        assert (len(body.messages), body.number) == (count, 0)
    assert dict(grpc_frames.parse(b"".join(c.data for c in one.response.chunks)).trailing) == {
        "x-request-id": "trailing"
    }
    everything = b"".join(path.read_bytes() for path in ways.path.rglob("*") if path.is_file())
    assert b"shown-to-nobody" not in everything


@pytest.mark.parametrize(
    ("code", "status"), [("INVALID_ARGUMENT", 400), ("RESOURCE_EXHAUSTED", 429), ("INTERNAL", 500)]
)
def test_a_failure_is_written_as_one(ways: Ways, code: str, status: int) -> None:
    def scenario(ask: Any, tell: Any) -> None:
        for call in (ask, lambda request: list(tell(request))):
            with pytest.raises(grpc.RpcError):
                call(asked(f"fail {code}"))

    ways.record(sync(scenario))
    assert [(c.outcome, c.fields["status"], c.fields["ending"]) for c in ways.calls] == [
        ("error", status, "complete")
    ] * 2


def test_the_same_message_has_the_same_key(ways: Ways) -> None:
    """A map's order on the wire differs between messages that are equal; the request key does not."""
    forward, backward = struct_pb2.Struct(), struct_pb2.Struct()
    for number in range(20):
        forward[f"entry {number}"] = number
        backward[f"entry {19 - number}"] = 19 - number
    forward["ask"] = backward["ask"] = "a"
    first = ways.record(sync(lambda ask, tell: plain(ask(forward))))
    assert ways.replay(sync(lambda ask, tell: plain(ask(backward)))) == first


# -- how it can end otherwise -----------------------------------------------------------------------------


def test_a_stream_is_not_held_back(ways: Ways) -> None:
    """The first messages are with the program while the vendor still makes the others."""

    def scenario(ask: Any, tell: Any) -> None:
        call = tell(asked("paced"))
        next(call), next(call)
        assert not ways.oracle.hold.is_set()
        ways.oracle.hold.set()
        assert len(list(call)) == 2

    ways.record(sync(scenario))


def test_a_stream_that_is_left_early(ways: Ways) -> None:
    """What was read is replayed; reading on says that there is no more on record."""

    def left(ask: Any, tell: Any) -> Any:
        call = tell(asked("a"))
        answers = [plain(next(call)), plain(next(call))]
        call.cancel()
        return [answers, call.code().name, call.cancelled()]

    def dropped(ask: Any, tell: Any) -> Any:
        answers = [plain(message) for message, _ in zip(tell(asked("b")), range(2), strict=False)]
        gc.collect()
        return answers

    def both(ask: Any, tell: Any) -> Any:
        return [left(ask, tell), dropped(ask, tell)]

    recorded = ways.record(sync(both))
    assert [(c.outcome, c.fields["answers"]) for c in ways.calls] == [("closed_early", True)] * 2
    assert ways.replay(sync(both)) == recorded
    with custody.session("P", "E", root=ways.root, session=ways.session, strict=True), pytest.raises(ReplayExhausted):
        sync(lambda ask, tell: list(tell(asked("a"))))(ways.oracle.port)


def test_a_stream_of_asyncio_that_is_left_early(ways: Ways) -> None:
    async def left(ask: Any, tell: Any) -> Any:
        call = tell(asked("a"))
        answers = []
        async for message in call:
            answers.append(plain(message))
            if len(answers) == 2:
                call.cancel()
                break
        return [answers, call.cancelled(), call.done()]

    recorded = ways.record(asynchronous(left))
    assert [c.outcome for c in ways.calls] == ["closed_early"]
    assert ways.replay(asynchronous(left)) == recorded


def test_a_stream_that_the_vendor_breaks_off(ways: Ways) -> None:
    def scenario(ask: Any, tell: Any) -> Any:
        call = tell(asked("cut"))
        answers = [plain(next(call)), plain(next(call))]
        with pytest.raises(grpc.RpcError):
            next(call)
        return [answers, call.code().name, call.details()]

    recorded = ways.record(sync(scenario))
    assert recorded[1:] == ["UNAVAILABLE", "the backend went away"]
    (call,) = ways.calls
    assert (call.outcome, call.fields["ending"], call.fields["answers"]) == ("error", "broken", False)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_deadline_is_no_answer(ways: Ways, kind: str) -> None:
    def scenario(ask: Any, tell: Any) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            ask(asked("slow"), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(grpc.RpcError):
            list(tell(asked("slow"), timeout=0.2))

    async def a_scenario(ask: Any, tell: Any) -> None:
        with pytest.raises(grpc.RpcError):
            await ask(asked("slow"), timeout=0.2)
        with pytest.raises(grpc.RpcError):
            async for _ in tell(asked("slow"), timeout=0.2):
                pytest.fail("a message")

    ways.record(sync(scenario) if kind == "sync" else asynchronous(a_scenario))
    told = [(c.outcome, c.fields["status"], c.fields["error"]) for c in ways.calls]
    assert told == [("no_response", None, "DEADLINE_EXCEEDED")] * 2


def test_a_server_that_is_gone(ways: Ways) -> None:
    ways.oracle.stop()

    def scenario(ask: Any, tell: Any) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            ask(asked("a"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    ways.record(sync(scenario))
    assert [(c.outcome, c.fields["error"]) for c in ways.calls] == [("no_response", "UNAVAILABLE")]


def test_cancelling(ways: Ways) -> None:
    """A call that the program cancels is recorded as cancelled, and is no answer."""

    def blocking(ask: Any, tell: Any) -> None:
        made = ask.future(asked("slow"))
        time.sleep(0.1)
        assert made.cancel()
        with pytest.raises(grpc.FutureCancelledError):
            made.result()

    async def waiting(ask: Any, tell: Any) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask(asked("slow"))
        call = ask(asked("slow"))
        await asyncio.sleep(0.1)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    ways.record(sync(blocking))
    assert [c.outcome for c in ways.calls] == ["cancelled"]
    ways.record(asynchronous(waiting))
    assert [c.outcome for c in ways.calls] == ["cancelled"] * 2


def test_a_call_that_is_cancelled_at_once_holds_up_nobody(ways: Ways) -> None:
    async def scenario(ask: Any, tell: Any) -> Any:
        ask(asked("a")).cancel()
        await asyncio.sleep(0)
        return plain(await ask(asked("a")))

    first = ways.record(asynchronous(scenario))
    assert ways.replay(asynchronous(scenario)) == first


def test_threads_get_their_own_answers(ways: Ways) -> None:
    def scenario(port: int) -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, futures.ThreadPoolExecutor(8) as pool:
            ask, tell = stubs(channel)

            def one(number: int) -> Any:
                with labelled({"run": number}):
                    return [plain(ask(asked("same"))), [plain(m) for m in tell(asked("same"))]]

            return list(pool.map(one, range(8)))

    recorded = ways.record(scenario)
    assert ways.replay(scenario) == recorded
    assert len({json.dumps(answer) for answer in recorded}) == 8


def test_what_is_not_on_record_is_refused(ways: Ways) -> None:
    ways.record(sync(lambda ask, tell: ask(asked("a"))))
    with pytest.raises(ReplayMiss):
        ways.replay(sync(lambda ask, tell: ask(asked("another"))))

    async def a_miss(ask: Any, tell: Any) -> None:
        await ask(asked("another"))

    with pytest.raises(ReplayMiss):
        ways.replay(asynchronous(a_miss))


def test_what_nobody_claims_passes(ways: Ways) -> None:
    """Another service's calls, and those whose requests are a stream."""

    def scenario(port: int) -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/test.Other/Ask")(b"")
            echo = channel.stream_stream("/test.Oracle/Chat")
            return [caught.value.code().name, list(echo(iter([b"1", b"2"])))]

    assert ways.record(scenario) == ["UNIMPLEMENTED", [b"1", b"2"]]
    assert ways.calls == []


def test_a_channel_that_was_there_before(ways: Ways) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{ways.oracle.port}") as channel:
        ask, _ = stubs(channel)
        ask(asked("before"))
        first = ways.record(lambda port: plain(ask(asked("a"))))
        assert len(ways.calls) == 1
        assert ways.replay(lambda port: plain(ask(asked("a")))) == first


def test_a_library_with_other_inner_names_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and importing it goes on."""
    patches = Patches()
    for patch, name in ((seam._patch, "grpc._channel"), (grpc_aio._patch, "grpc.aio._call")):
        patch(patches, None, ModuleType(name))  # type: ignore[arg-type]
    assert caplog.text.count("is not covered") == 2
    patches.undo()
