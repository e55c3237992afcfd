"""What can record a program's calls: nothing, custody, and the peers (each as its own manual sets it up).

The peers' exporters lead to the sink on loopback or to files; nothing of them leaves the machine.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Bare:
    """The SDK alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def client(self, **options: Any) -> Any:
        import openai

        return openai.OpenAI(max_retries=0, **options)

    def asynchronous(self, **options: Any) -> Any:
        import openai

        return openai.AsyncOpenAI(max_retries=0, **options)

    def floor(self, size: int) -> Callable[[], None]:
        """Appends so many bytes to a file and makes them durable: what the best of recorders would do."""
        fd = os.open(self.folder / "floor", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        data = b"x" * size

        def write() -> None:
            os.write(fd, data)
            os.fdatasync(fd)

        return write

    def flush(self) -> None:
        """Finish what was put off."""

    def close(self) -> None:
        """End as the manual says."""

    def reopen(self) -> None:
        """Continue the same session."""


class InMemory(Bare):
    """The SDK alone, with a transport that answers at once from memory: no replay below the SDK can be faster."""

    def client(self, **options: Any) -> Any:
        import httpx2
        import openai

        transport = httpx2.MockTransport(self._answers(httpx2))
        return openai.OpenAI(max_retries=0, http_client=httpx2.Client(transport=transport), **options)

    def asynchronous(self, **options: Any) -> Any:
        import httpx2
        import openai

        transport = httpx2.MockTransport(self._answers(httpx2))
        return openai.AsyncOpenAI(max_retries=0, http_client=httpx2.AsyncClient(transport=transport), **options)

    @staticmethod
    def _answers(httpx2: Any) -> Callable[[Any], Any]:
        known: dict[bool, Any] = {}

        def answer(request: Any) -> Any:
            streamed = b'"stream":true' in request.content
            if streamed not in known:
                with httpx2.Client() as real:
                    known[streamed] = real.post(request.url, content=request.content, headers=request.headers)
            kept = known[streamed]
            return httpx2.Response(kept.status_code, headers=kept.headers, content=kept.content)

        return answer


class Custody(Bare):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._open()

    def _open(self, **which: Any) -> None:
        import custody

        self._session = custody.session(project="bench", experiment="overhead", root=self.folder, **which)

    def close(self) -> None:
        self._session.close()

    def reopen(self) -> None:
        self.close()
        self._open(session=self._session.id)


class BareS3(Bare):
    """The SDK alone, for a floor on S3."""

    def floor(self, size: int) -> Callable[[], None]:
        """Puts an object of so many bytes unless its name is taken: what the best of recorders on S3 would do."""
        import obstore
        from obstore.store import S3Store

        _, _, place = os.environ["S3_ROOT"].partition("://")
        store = S3Store(place.partition("/")[0], prefix="floor", client_options={"allow_http": True})
        names, data = itertools.count(time.monotonic_ns()), b"x" * size

        def put() -> None:
            obstore.put(store, str(next(names)), data, mode="create")

        return put


class CustodyS3(Custody):
    def __init__(self, folder: Path) -> None:
        super().__init__(os.environ["S3_ROOT"])  # type: ignore[arg-type]  # a root may be a URL


class _Slow:
    """A disk that takes 10 ms for a sync: ``os.fdatasync`` sleeps before it does what it does."""

    @staticmethod
    def install() -> None:
        real = os.fdatasync

        def fdatasync(fd: Any) -> None:
            time.sleep(0.010)
            real(fd)

        os.fdatasync = fdatasync


class BareSlowDisk(Bare):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        _Slow.install()


class CustodySlowDisk(Custody):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        _Slow.install()


def _to_sink(provider: Any, processor: Any = None) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider.add_span_processor((processor or BatchSpanProcessor)(OTLPSpanExporter(os.environ["SINK_URL"])))
    return provider


class _Telemetry(Bare):
    """Instruments of OpenTelemetry, with its batching exporter at its defaults."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from opentelemetry.sdk.trace import TracerProvider

        self._provider = _to_sink(TracerProvider())
        self._instrument(self._provider)

    def _instrument(self, provider: Any) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        self._provider.force_flush()

    def close(self) -> None:
        self._provider.shutdown()


class OpenLLMetry(_Telemetry):
    def _instrument(self, provider: Any) -> None:
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor

        OpenAIInstrumentor().instrument(tracer_provider=provider)


class OpenInference(_Telemetry):
    def _instrument(self, provider: Any) -> None:
        from openinference.instrumentation.openai import OpenAIInstrumentor

        OpenAIInstrumentor().instrument(tracer_provider=provider)


class Logfire(Bare):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import logfire
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = BatchSpanProcessor(OTLPSpanExporter(os.environ["SINK_URL"]))
        logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[exporter], metrics=False)
        logfire.instrument_openai()
        self._logfire = logfire

    def flush(self) -> None:
        self._logfire.force_flush()

    def close(self) -> None:
        self._logfire.shutdown()


class Langfuse(Bare):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.environ.update(
            LANGFUSE_PUBLIC_KEY="pk-lf-bench",
            LANGFUSE_SECRET_KEY="sk-lf-bench",
            LANGFUSE_HOST=os.environ["SINK_URL"],
            LANGFUSE_BASE_URL=os.environ["SINK_URL"],
        )

    def client(self, **options: Any) -> Any:
        from langfuse.openai import openai

        return openai.OpenAI(max_retries=0, **options)

    def flush(self) -> None:
        from langfuse import get_client

        get_client().flush()


class MLflow(Bare):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.chdir(folder)
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.set_experiment("bench")
        mlflow.openai.autolog()
        self._mlflow = mlflow

    def flush(self) -> None:
        with contextlib.suppress(Exception):
            self._mlflow.flush_trace_async_logging()


class Weave(Bare):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.chdir(folder)
        os.environ.update(
            WANDB_API_KEY="0" * 40,
            WANDB_BASE_URL=os.environ["SINK_URL"],
            WF_TRACE_SERVER_URL=os.environ["SINK_URL"],
            WANDB_ERROR_REPORTING="false",
            WEAVE_PRINT_CALL_LINK="false",
        )
        import weave

        self._weave = weave.init("bench/bench")

    def flush(self) -> None:
        self._weave.flush()


class LiteLLM(Bare):
    """litellm without its cache: the measure for the one with it."""

    def client(self, **options: Any) -> Any:
        import litellm

        litellm.suppress_debug_info = True
        litellm.telemetry = False
        return _AsOpenAI(litellm)


class LiteLLMDisk(LiteLLM):
    def client(self, **options: Any) -> Any:
        import litellm
        from litellm.caching.caching import Cache

        litellm.cache = Cache(type="disk", disk_cache_dir=str(self.folder / "cache"))
        return super().client(**options)


class _AsOpenAI:
    """litellm's function where the OpenAI SDK has its method."""

    def __init__(self, litellm: Any) -> None:
        self._litellm = litellm
        self.chat = self.completions = self

    def create(self, *, model: str, **arguments: Any) -> Any:
        return self._litellm.completion(model=f"openai/{model}", caching=True, **arguments)


_ALL: dict[str, type[Bare]] = {
    "bare": Bare,
    "in memory": InMemory,
    "custody": Custody,
    "bare, S3": BareS3,
    "custody, S3": CustodyS3,
    "bare, 10 ms disk": BareSlowDisk,
    "custody, 10 ms disk": CustodySlowDisk,
    "OpenLLMetry": OpenLLMetry,
    "OpenInference": OpenInference,
    "Langfuse": Langfuse,
    "MLflow": MLflow,
    "Weave": Weave,
    "Logfire": Logfire,
    "litellm": LiteLLM,
    "litellm, disk cache": LiteLLMDisk,
}


def of(name: str, folder: Path) -> Bare:
    """A recorder, set up in this process. ``floor`` is the bare SDK, too: what follows each call is its own."""
    return _ALL[name](folder)
