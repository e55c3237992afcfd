"""The botocore seam alone: real botocore over a real socket, and a handler that writes down what it is told."""

from __future__ import annotations

import contextlib
import gc
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from custody.errors import Abort, AnswerNotArchived, ReplayExhausted, StorageError
from custody.exchange import Ack, Claim, Ending, Headers, Replay, RequestHead, ResponseHead, Turn
from custody.seam import botocore as seam
from custody.seam.patching import Patches
from custody.seam.wire import inside
from custody.testing.simulator import Fault, Simulator

boto = pytest.importorskip("botocore.session", reason="botocore is not installed")
exceptions = pytest.importorskip("botocore.exceptions")
urllib3 = pytest.importorskip("urllib3")

NOVA = "amazon.nova-micro-v1:0"
ASK: Any = {"modelId": NOVA, "messages": [{"role": "user", "content": [{"text": "Rivers?"}]}]}
JSON = (("content-type", "application/json"),)


class Word(Ack):
    """An Ack that notes when it was waited for."""

    def __init__(self, turn: Noted) -> None:
        self.turn = turn

    def wait(self) -> None:
        self.turn.said.append("waited")
        if self.turn.handler.ack_error is not None:
            raise self.turn.handler.ack_error

    async def awaited(self) -> None:
        raise AssertionError("botocore is not asynchronous")


class Noted(Turn):
    """A turn that writes down what it is told; the last bytes, by content-length or by a mark, have an Ack."""

    def __init__(self, handler: Handler, body: bytes) -> None:
        self.handler, self.body = handler, body
        self.said: list[Any] = []
        self.ended: list[Any] = []
        self.streamed = False
        self.data = b""
        self._waits = handler.waits

    asks_a_server = False

    def ready(self) -> bool:
        self._waits -= 1
        return self._waits < 0

    @property
    def replay(self) -> Replay | None:
        return self.handler.replay

    def abandon(self) -> None:
        self.said.append("abandoned")

    def sending(self, filled: Headers | None = None) -> None:
        self.said.append("sending")
        if self.handler.refusal is not None:
            raise self.handler.refusal

    def head(self, head: ResponseHead, *, streamed: bool, decoded: bool = False) -> None:
        self.said.append(("head", head.status, head.reason, head.http_version))
        self.streamed, self.headers = streamed, head.headers
        assert not decoded
        assert inside.get()

    def chunk(self, data: bytes) -> Ack | None:
        self.said.append("chunk")
        self.data += data
        length = next((v for k, v in self.headers if k.lower() == "content-length"), None)
        return self.end("complete") if length and len(self.data) == int(length) else None

    def end(self, ending: Ending, error: BaseException | None = None) -> Ack | None:
        if self.ended:
            return None
        self.ended = [ending, type(error).__name__ if error else None]
        self.said.append("end")
        return Word(self) if ending == "complete" else None


class Handler:
    """Claims every POST."""

    active = True

    def __init__(self) -> None:
        self.turns: list[Noted] = []
        self.heads: list[RequestHead] = []
        self.transports: list[str] = []
        self.replay: Replay | None = None
        self.refusal: BaseException | None = None
        self.ack_error: Exception | None = None
        self.claims = True
        self.waits = 0

    def claim(self, request: RequestHead, client: object) -> Claim | None:
        self.heads.append(request)
        return Claim("test", "Test", "chat") if self.claims else None

    def begin(self, request: RequestHead, claim: Claim, body: bytes, transport: str, client: object) -> Turn | None:
        self.transports.append(transport)
        self.turns.append(Noted(self, body))
        return self.turns[-1]


@pytest.fixture
def handler() -> Iterator[Handler]:
    patches, made = Patches(), Handler()
    seam.install(patches, made)
    yield made
    patches.undo()


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@contextlib.contextmanager
def client(sim: Simulator, service: str = "bedrock-runtime", **options: Any) -> Iterator[Any]:
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, **options)
    keys = {"aws_access_key_id": "AKIDSIMULATED", "aws_secret_access_key": "simulated-secret-key"}
    one = boto.Session().create_client(service, region_name="us-east-1", endpoint_url=sim.url, config=config, **keys)
    try:
        yield one
    finally:
        one.close()


def test_a_whole_answer_is_handed_on_when_it_is_durable(handler: Handler, sim: Simulator) -> None:
    with client(sim) as one:
        answer = one.converse(**ASK)
    (turn,) = handler.turns
    assert json.loads(turn.data)["output"] == answer["output"]
    assert json.loads(turn.body) == {"messages": ASK["messages"]}
    assert turn.said[:2] == ["sending", ("head", 200, "OK", "HTTP/1.1")]
    assert turn.said[-2:] == ["end", "waited"]
    assert [turn.streamed, turn.ended] == [False, ["complete", None]]
    (head,) = handler.heads
    assert (head.method, head.url) == ("POST", f"{sim.url}/model/amazon.nova-micro-v1%3A0/converse")
    assert str(head.header("authorization")).startswith("AWS4-HMAC-SHA256 ")
    assert handler.transports[0].startswith("botocore 1.")


def test_events_are_handed_on_one_by_one(handler: Handler, sim: Simulator) -> None:
    sim.chunk_delay = 0.02
    with client(sim) as one:
        events = iter(one.converse_stream(**ASK)["stream"])
        (turn,) = handler.turns
        next(events)
        assert turn.streamed
        first = turn.said.count("chunk")
        rest = list(events)
    assert 1 <= first <= 3
    assert turn.said.count("chunk") > len(rest) // 2
    assert turn.ended == ["complete", None]
    assert turn.said[-1] == "waited"


def test_a_body_that_is_read_lazily_ends_when_it_was_read(handler: Handler, sim: Simulator) -> None:
    with client(sim) as one:
        body = one.invoke_model(modelId=NOVA, body=json.dumps({"messages": ASK["messages"]}))["body"]
        (turn,) = handler.turns
        assert turn.ended == []
        assert not turn.streamed
        first = body.read(5)
        assert turn.data == first
        rest = body.read()
        assert turn.data == first + rest
        assert turn.ended == ["complete", None]
        body.close()


@pytest.mark.parametrize("way", ["close", "forget"])
def test_a_body_that_is_left_is_closed_early(handler: Handler, sim: Simulator, way: str) -> None:
    with client(sim) as one:
        answer = one.converse_stream(**ASK)["stream"]
        next(iter(answer))
        if way == "close":
            answer.close()
        raw = answer._raw_stream.__wrapped__
        del answer
        gc.collect()  # an event stream and its generator hold each other
        raw.close()
    assert handler.turns[0].ended == ["closed_early", None]


READS: list[Callable[[Any], Any]] = [
    lambda body: body.read(),
    lambda body: [body.read(9), body.read(0), body.read(), body.read()],
    lambda body: list(body.iter_chunks(10)),
    lambda body: list(body.iter_lines(10)),
    lambda body: list(body),
    lambda body: body.readlines(),
    lambda body: [body.tell(), len(body.read(4)), body.tell()],
    lambda body: [body._raw_stream.readinto(into := bytearray(6)), bytes(into)],
    lambda body: json.load(body),
    lambda body: body._raw_stream.readline(),
    lambda body: body._raw_stream.data,
    lambda body: list(body._raw_stream),
    lambda body: next(body._raw_stream),
    lambda body: body._raw_stream.read1(5),
    lambda body: isinstance(body.__enter__(), urllib3.HTTPResponse),
    lambda body: body._raw_stream.status,
    lambda body: body._raw_stream.headers["content-type"],
]


@pytest.mark.parametrize("read", READS)
def test_every_way_to_read_gives_what_it_gave(handler: Handler, sim: Simulator, read: Callable[[Any], Any]) -> None:
    """Bare, teed and replayed, of one and the same answer."""
    body = b'{"generation":"one\\ntwo",\n"stop_reason":"stop"}\n'
    replay = Replay("c", ResponseHead(200, "OK", "HTTP/1.1", (*JSON, ("content-length", str(len(body))))), (body,))
    seen = []
    for way in ("bare", "teed", "replayed"):
        handler.active = way != "bare"
        handler.replay = replay if way == "replayed" else None
        with plain(sim, body), client(sim) as one:
            answer = one.invoke_model(modelId=NOVA, body=b"{}")["body"]
            seen.append(read(answer))
            answer.close()
    assert seen[0] == seen[1] == seen[2]


@contextlib.contextmanager
def plain(sim: Simulator, body: bytes) -> Iterator[None]:
    """The simulator answers with these bytes."""
    from custody.testing.simulator import bedrock
    from custody.testing.simulator.answers import Reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bedrock, "answer", lambda *_: Reply(200, body))
        yield


def test_what_is_not_claimed_passes(handler: Handler, sim: Simulator) -> None:
    handler.claims = False
    with client(sim) as one:
        assert one.converse(**ASK)["output"]
        assert list(one.converse_stream(**ASK)["stream"])
    assert handler.turns == []


def test_nothing_is_asked_while_no_session_is_open(handler: Handler, sim: Simulator) -> None:
    handler.active = False
    with client(sim) as one:
        assert one.converse(**ASK)["output"]
    assert handler.heads == []


def test_a_client_beneath_another_is_not_recorded_again(handler: Handler, sim: Simulator) -> None:
    token = inside.set(True)
    try:
        with client(sim) as one:
            assert one.converse(**ASK)["output"]
    finally:
        inside.reset(token)
    assert handler.turns == []


def test_it_waits_for_another_process(handler: Handler, sim: Simulator) -> None:
    handler.waits = 3
    with client(sim) as one:
        assert one.converse(**ASK)["output"]
    assert handler.turns[0].ended == ["complete", None]


@pytest.mark.parametrize("refusal", [StorageError("full"), Abort(StorageError("full"))])
def test_a_refusal_stops_the_request(handler: Handler, sim: Simulator, refusal: BaseException) -> None:
    handler.refusal = refusal
    with client(sim) as one, pytest.raises(type(refusal)) as caught:
        one.converse(**ASK)
    assert caught.value is refusal
    assert handler.turns[0].said[-1] == "abandoned"
    assert sim.count() == 0


def test_an_answer_that_nothing_could_keep_is_not_taken_for_botocores_error(handler: Handler, sim: Simulator) -> None:
    handler.ack_error = AnswerNotArchived("nothing kept it", status=200, body=b"")
    with client(sim) as one, pytest.raises(AnswerNotArchived):
        one.converse(**ASK)


def test_a_body_that_came_short_is_broken(handler: Handler, sim: Simulator) -> None:
    sim.inject(Fault(cut_after=40))
    with client(sim) as one, contextlib.suppress(Exception):
        one.converse(**ASK)
    assert handler.turns[0].ended[0] == "broken"


def test_a_timeout_has_botocores_name(handler: Handler, sim: Simulator) -> None:
    sim.inject(Fault(delay=2.0))
    with client(sim, read_timeout=0.2) as one, pytest.raises(exceptions.ReadTimeoutError):
        one.converse(**ASK)
    assert handler.turns[0].ended == ["no_response", "ReadTimeoutError"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ReadTimeoutError", "ReadTimeoutError"),
        ("EndpointConnectionError", "EndpointConnectionError"),
        ("ProxyConnectionError", "ProxyConnectionError"),
        ("ConnectionClosedError", "ConnectionClosedError"),
        ("NobodyKnowsThisError", "ConnectionClosedError"),
        ("ParamValidationError", "ConnectionClosedError"),
        (None, "ConnectionClosedError"),
    ],
)
def test_a_request_that_got_no_response_raises_as_it_did(
    handler: Handler, sim: Simulator, name: str | None, kind: str
) -> None:
    handler.replay = Replay("c7", None, (), error=name)
    with client(sim) as one, pytest.raises(getattr(exceptions, kind)):
        one.converse(**ASK)
    assert sim.count() == 0


def test_a_replay_that_is_read_past_its_end_says_so(handler: Handler, sim: Simulator) -> None:
    with client(sim) as one:
        list(one.converse_stream(**ASK)["stream"])
        (turn,) = handler.turns
        head = ResponseHead(200, "OK", "HTTP/1.1", turn.headers)
        half = turn.data[: len(turn.data) // 2]
        handler.replay = Replay("c", head, (half[:50], half[50:]), exhausted="closed early")
        events, seen = iter(one.converse_stream(**ASK)["stream"]), []
        with pytest.raises(ReplayExhausted, match="closed early"):
            seen.extend(events)


def test_every_patch_is_taken_back(sim: Simulator) -> None:
    from botocore import awsrequest, endpoint, httpsession, signers

    places = (
        (httpsession.URLLib3Session, "send"),
        (awsrequest.AWSResponse, "__init__"),
        (signers.RequestSigner, "get_auth_instance"),
        (endpoint.Endpoint, "_needs_retry"),
    )
    before = [vars(owner)[name] for owner, name in places]
    patches = Patches()
    seam.install(patches, Handler())
    assert all(vars(owner)[name] is not one for (owner, name), one in zip(places, before, strict=True))
    patches.undo()
    assert [vars(owner)[name] for owner, name in places] == before


def test_threads_do_not_mix_their_answers(handler: Handler, sim: Simulator) -> None:
    sim.latency = 0.05
    answers: dict[int, Any] = {}

    def ask(number: int) -> None:
        with client(sim) as one:
            answers[number] = one.converse(**{**ASK, "system": [{"text": str(number)}]})["output"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorded = {json.loads(turn.body)["system"][0]["text"]: json.loads(turn.data)["output"] for turn in handler.turns}
    assert recorded == {str(number): answer for number, answer in answers.items()}
