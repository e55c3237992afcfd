"""Vertex AI over gRPC: PredictionService, LlmUtilityService and ModelGardenService, v1 and v1beta1, on loopback.

The answers are those of the Gemini dialect: a request is made into REST's JSON, and the answer back into the
message. It needs grpcio and google-cloud-aiplatform, so they are imported when a server is started. Faults:
``Fault(path="GenerateContent", ...)`` with ``status`` (answered as Google maps HTTP to gRPC), ``delay``,
``cut_after`` (messages of a stream), ``drop``.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from custody.testing.simulator import Fault, Seen, Simulator, gemini
from custody.testing.simulator.answers import Reply

_SERVICES = {
    "PredictionService": (
        "GenerateContent StreamGenerateContent CountTokens EmbedContent Predict RawPredict StreamRawPredict"
    ).split(),
    "LlmUtilityService": ["CountTokens", "ComputeTokens"],
    "ModelGardenService": ["GetPublisherModel"],
}
_SCHEMATA = "gs://google-cloud-aiplatform/schema/predict/instance"
_STREAMS = ("StreamGenerateContent", "StreamRawPredict")
_CODES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED",
    409: "ABORTED", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED",
    503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


class VertexSimulator(Simulator):
    """The simulator, and beside it a gRPC server whose requests are counted, and fail, with the others.

    Attributes:
        grpc_port: kept over stop() and start().
        tokens: the ``authorization`` metadata that came, in order.
    """

    def __init__(self, *, certificate: tuple[bytes, bytes] | None = None, **settings: Any) -> None:
        """``certificate``: private key and certificate in PEM; without it the server speaks no TLS."""
        super().__init__(**settings)
        self.grpc_port = 0
        self.tokens: list[str] = []
        self._certificate = certificate
        self._grpc: Any = None

    @property
    def grpc_target(self) -> str:
        return f"localhost:{self.grpc_port}"

    def start(self) -> Self:
        super().start()
        grpc: Any = importlib.import_module("grpc")
        server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers(tuple(_handlers(self, grpc)))
        address = f"127.0.0.1:{self.grpc_port}"
        if self._certificate is None:
            self.grpc_port = server.add_insecure_port(address)
        else:
            credentials = grpc.ssl_server_credentials([self._certificate])
            self.grpc_port = server.add_secure_port(address, credentials)
        server.start()
        self._grpc = server
        return self

    def stop(self) -> None:
        super().stop()
        server, self._grpc = self._grpc, None
        if server is not None:
            server.stop(None).wait()


def _handlers(core: VertexSimulator, grpc: Any) -> Iterator[Any]:
    for version in ("v1", "v1beta1"):
        types: Any = importlib.import_module(f"google.cloud.aiplatform_{version}.types")
        for service, methods in _SERVICES.items():
            name = f"google.cloud.aiplatform.{version}.{service}"
            made = {}
            for method in methods:
                request = getattr(types, f"{method.replace('StreamGen', 'Gen')}Request", None)
                if request is None:
                    continue
                name_of_answer = f"{method.removeprefix('Stream')}Response"
                answer = getattr(types, "PublisherModel" if method.startswith("Get") else name_of_answer, None)
                serve = _Method(core, grpc, f"/{name}/{method}", version, method, request, answer)
                if method in _STREAMS:
                    made[method] = grpc.unary_stream_rpc_method_handler(serve.stream)
                else:
                    made[method] = grpc.unary_unary_rpc_method_handler(serve.one)
            yield grpc.method_handlers_generic_handler(name, made)


class _Method:
    """One method of one version. ``answer`` is None where the answer is google.api.HttpBody."""

    def __init__(
        self, core: VertexSimulator, grpc: Any, path: str, version: str, method: str, request: Any, answer: Any
    ) -> None:
        self.core, self.grpc, self.path, self.version, self.method = core, grpc, path, version, method
        self.request: Any = request.pb()
        self.answer: Any = answer.pb() if answer is not None else None
        self.json: Any = importlib.import_module("google.protobuf.json_format")

    def one(self, raw: bytes, context: Any) -> bytes:
        number, _, reply = self._arrive(raw, context)
        data = self._message(json.loads(reply.body)) if self.answer is not None else self._http(reply.body)
        self.core.log.mark(number, answered=True)
        return data

    def stream(self, raw: bytes, context: Any) -> Iterator[bytes]:
        number, fault, reply = self._arrive(raw, context)
        for place, frame in enumerate(reply.frames or [reply.body]):
            if fault.cut_after is not None and place >= fault.cut_after:
                self._abort(context, 503, "Simulated: the backend went away.")
            if place and self.core.stopping.wait(self.core.chunk_delay):
                return
            text = frame.decode().removeprefix("data: ").strip()
            yield self._message(json.loads(text)) if self.answer is not None else self._http(frame)
        self.core.log.mark(number, answered=True)

    def _arrive(self, raw: bytes, context: Any) -> tuple[int, Fault, Reply]:
        begun = time.monotonic()
        metadata = {pair.key: str(pair.value) for pair in context.invocation_metadata()}
        self.core.tokens.append(metadata.get("authorization", ""))
        seen = Seen(self.path, "POST", hashlib.sha256(raw).hexdigest(), metadata, time=time.time())
        number, fault = self.core.log.arrive(seen, raw)
        if self.core.stopping.wait(self.core.latency + (fault.delay or 0.0)) or fault.drop:
            context.abort(self.grpc.StatusCode.UNAVAILABLE, "Socket closed")
        headers = gemini.headers(self.core.source, time.monotonic() - begun)
        context.send_initial_metadata([(k, v) for k, v in headers.items() if k == "server-timing"])
        reply = gemini.error(fault.status) if fault.status else self._answer(raw, metadata)
        self.core.log.mark(number, status=reply.status)
        if reply.status >= 400:
            self._abort(context, reply.status, json.loads(reply.body)["error"]["message"])
        return number, fault, reply

    def _answer(self, raw: bytes, metadata: dict[str, str]) -> Reply:
        message = self.request.FromString(raw)
        fields = self.json.MessageToDict(message)
        if self.method == "GetPublisherModel":
            template = "projects/{project}/locations/{location}/" + fields["name"]
            schema = {"instanceSchemaUri": f"{_SCHEMATA}/text_embedding_1.0.0.yaml"}
            found = {"name": fields["name"], "publisherModelTemplate": template, "predictSchemata": schema}
            return Reply(200, json.dumps(found).encode())
        resource = fields.pop("model", None) or fields.pop("endpoint", "")
        body = json.dumps(fields).encode()
        if self.method.endswith("RawPredict"):
            body = message.http_body.data
        method = self.method[0].lower() + self.method[1:]
        path = f"/{self.version}/{resource}:{method}"
        headers = {"x-goog-api-key": "sent-as-call-credentials", **metadata}
        seen = Seen(path, "POST", "", headers, query="alt=sse")
        reply = gemini.answer(seen, body, self.core.source)
        if self.method.endswith("RawPredict") and reply.status == 404:
            text = json.dumps({"echo": self.core.source.text()}).encode()
            return Reply(200, text)
        return reply

    def _message(self, document: Any) -> bytes:
        made = self.json.ParseDict(document, self.answer(), ignore_unknown_fields=True)
        data: bytes = made.SerializeToString()
        return data

    def _http(self, body: bytes) -> bytes:
        pb: Any = importlib.import_module("google.api.httpbody_pb2")
        data: bytes = pb.HttpBody(content_type="application/json", data=body).SerializeToString()
        return data

    def _abort(self, context: Any, status: int, message: str) -> None:
        """End with a status, and the details that Google sends with one."""
        code = getattr(self.grpc.StatusCode, _CODES.get(status, "UNKNOWN"))
        with contextlib.suppress(ImportError):
            details: Any = importlib.import_module("google.rpc.error_details_pb2")
            status_pb2: Any = importlib.import_module("google.rpc.status_pb2")
            info = details.ErrorInfo(reason=code.name, domain="googleapis.com")
            rich = status_pb2.Status(code=code.value[0], message=message)
            rich.details.add().Pack(info)
            context.set_trailing_metadata((("grpc-status-details-bin", rich.SerializeToString()),))
        context.abort(code, message)
