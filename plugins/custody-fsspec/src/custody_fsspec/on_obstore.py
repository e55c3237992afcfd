"""S3, Google Cloud Storage and Azure by obstore, a client in Rust.

Conditional writes are tried again here and not by the library: after an answer that got lost the server says that the
name is taken, and only a look tells whether it is taken by us.
"""

from __future__ import annotations

import datetime
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from custody.plugin import UsageError
from custody_fsspec.credentials import s3_options
from custody_fsspec.objects import Stored, Unconditional, sort_key
from custody_fsspec.settings import Settings

T = TypeVar("T")

_STATUS = re.compile(r"status code: (\d{3})( [A-Z][A-Za-z ]*)?")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_KIND = re.compile(r"kind: (Connect|Timeout|Request|Interrupted|Decode)\b")
_SIZE = re.compile(r"<ActualObjectSize>(\d+)<")
_MISSING = re.compile(r"\bMissing([A-Z][A-Za-z]{3,40})\b")
_PIECE = 8 * 1024 * 1024  # bytes of a part of what is stored in pieces; S3 allows 10,000 of them
_DOWN = 15.0  # seconds after a request that failed for as long as the settings say, in which none is tried again
_SILENT = 5.0  # seconds after one that was not answered in all that time, in which none is sent
_SMALL = 256 * 1024  # bytes that a server that works takes within a moment
_SINGLE = 32 * 1024 * 1024  # bytes put with one request; more are sent in pieces


class ObstoreObjects:
    ordered = True
    conditional = True
    server_clock = True
    durability: Literal["process", "machine", "server"] = "server"

    def __init__(self, url: str, kind: str, settings: Settings) -> None:
        scheme, _, rest = url.partition("://")
        self.url, self._patience = url, settings.patience
        self._timeout = _brief(settings)
        bucket, _, root = rest.partition("/")
        if "@" in bucket:  # abfs://container@account
            bucket = bucket.partition("@")[0]
        self._root = f"{root}/" if root else ""
        self.ordered = not bucket.endswith("--x-s3")  # directory buckets of S3 Express list in no order
        self._patient, self._once, self._brief, endpoint = _stores(kind, bucket, settings)
        self.store = f"{scheme}://{bucket} {endpoint}"

    @property
    def _store(self) -> Any:
        """The client that tries again; not where the server was down a moment ago, after all that patience: the end of
        a program asks for a dozen things, one after another."""
        return self._once if self._is_down() else self._patient

    def _is_down(self) -> bool:
        return time.monotonic() < _down.get(self.store, 0.0)

    def _check_silent(self, key: str) -> None:
        """Raises while the server is silent: who ends a program waits for that once, and then for short questions."""
        until = _silent.get(self.store)
        if until is None:
            return
        if time.monotonic() >= until:
            try:
                self._tried("", lambda path: obstore.head(self._brief, f"{path}custody"))
            except FileNotFoundError:  # an answer of any kind will do
                _silent.pop(self.store, None)
            except OSError:
                pass
            if _silent.get(self.store) == until:
                _silent[self.store] = time.monotonic() + _SILENT
        if self.store in _silent:
            raise _Refused(f"{self.url}/{key}: the server did not answer in time a moment ago", 0)

    def get(self, key: str, offset: int = 0, size: int | None = None) -> tuple[bytes, int]:
        options: dict[str, Any] = {}
        if size is not None:
            options["range"] = (offset, offset + size)
        elif offset:
            options["range"] = {"offset": offset}
        try:
            found = self._ask(key, lambda path: obstore.get(self._store, path, options=options))  # type: ignore[arg-type]
            return self._ask(key, lambda _: bytes(found.bytes())), found.meta["size"]
        except _Refused as error:
            if error.status != 416:  # nothing is there from this byte on
                raise
            return b"", self.head(key).size

    def put(self, key: str, data: bytes) -> None:
        multipart = len(data) > _SINGLE
        self._ask(key, lambda path: obstore.put(self._store, path, data, mode="overwrite", use_multipart=multipart))

    def put_pieces(self, key: str, pieces: Iterable[bytes]) -> None:
        # A writer and not an iterator for ``obstore.put``: that one would be read within the library's own thread,
        # where a piece that comes from another bucket cannot be asked for.
        writer = self._ask(
            key, lambda path: obstore.open_writer(self._store, path, buffer_size=_PIECE, max_concurrency=4)
        )
        for piece in pieces:
            self._ask(key, lambda _, piece=piece: writer.write(piece))  # type: ignore[misc]
        self._ask(key, lambda _: writer.close())  # the only step by which there is an object

    def put_new(self, key: str, data: bytes) -> bool:
        self._check_silent(key)
        patience = 0.0 if self._is_down() else self._patience
        client = self._brief if len(data) <= _SMALL else self._once
        begun, pause, unknown = time.monotonic(), 0.1, False
        while True:
            try:
                self._tried(key, lambda path: obstore.put(client, path, data, mode="create", use_multipart=False))
            except FileExistsError:
                return unknown and self.get(key)[0] == data
            except _Refused as error:
                if error.status == 501:
                    raise Unconditional(*error.args) from None
                # 409: another conditional write of the same name was under way, and neither has won.
                if (error.status and error.status < 500 and error.status not in (408, 409, 429)) or (
                    time.monotonic() + pause > begun + patience
                ):
                    self._note(error)
                    raise
                unknown = unknown or error.status != 409
                time.sleep(pause)
                pause = min(pause * 2, 2.0)
            except Exception:
                raise
            except BaseException:  # Ctrl-C, which the library notices when the request is over
                if time.monotonic() - begun > self._timeout / 2:
                    self._note(_Refused("", 0, silent=True))
                raise
            else:
                return True

    def delete(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        try:
            self._ask(keys[0], lambda _: obstore.delete(self._store, [self._root + key for key in keys]))
        except FileNotFoundError:  # Azure and Google mind what is gone already, and the others may be left
            for key in keys if len(keys) > 1 else ():
                self.delete([key])

    def list(self, prefix: str = "", after: str = "") -> Iterator[Stored]:
        folder = (self._root + prefix).rpartition("/")[0]
        # The library lists whole folders; the server skips what comes before the prefix.
        start = max(self._root + after if after else "", _before(self._root + prefix), key=sort_key)
        begin = self._root + prefix
        offset = start if self.ordered and start else None
        stream = self._ask(prefix, lambda _: iter(obstore.list(self._store, folder or None, offset=offset)))
        while chunk := self._ask(prefix, lambda _: next(stream, None)):
            for meta in chunk:
                key = meta["path"]
                if key.startswith(begin):
                    relative = key[len(self._root) :]
                    if not after or not self.ordered or sort_key(relative) > sort_key(after):
                        yield Stored(relative, meta["size"], meta["last_modified"].timestamp())
                elif self.ordered and sort_key(key) > sort_key(begin):
                    return

    def names(self, folder: str = "") -> Iterator[str]:
        above = (self._root + folder).rstrip("/")
        found = self._ask(folder, lambda _: obstore.list_with_delimiter(self._store, above or None))
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        return iter(sorted({path.rstrip("/").rpartition("/")[2] for path in paths}))

    def head(self, key: str) -> Stored:
        meta = self._ask(key, lambda path: obstore.head(self._store, path))
        return Stored(key, meta["size"], meta["last_modified"].timestamp())

    def _ask(self, key: str, request: Callable[[str], T]) -> T:
        """Of a request that the library tries again by itself."""
        self._check_silent(key)
        try:
            return self._tried(key, request)
        except _Refused as error:
            self._note(error)
            raise

    def _note(self, error: _Refused) -> None:
        """After all patience: whether the server is down."""
        if not error.status or error.status >= 500:
            _down[self.store] = time.monotonic() + _DOWN
        if error.silent:
            _silent[self.store] = time.monotonic() + _SILENT

    def _tried(self, key: str, request: Callable[[str], T]) -> T:
        if _asking.setdefault("process", os.getpid()) != os.getpid():
            raise OSError(
                f"{self.url}: a forked process cannot ask a server by obstore, whose threads stay with its parent; "
                "start processes with 'spawn' or 'forkserver'"
            )
        # The errors of the library quote requests and answers, which say more than a log should hold: not chained.
        try:
            answer = request(self._root + key)
            if _down:
                _down.pop(self.store, None)
                _silent.pop(self.store, None)
            return answer
        except exceptions.AlreadyExistsError as error:
            # S3's 409 is a race that nobody has won yet; Azure's says that the name is taken (x-ms-error-code).
            if "status code: 409" in str(error) and "BlobAlreadyExists" not in str(error):
                raise self._refused(key, error) from None
            raise FileExistsError(f"{self.url}/{key} exists already") from None
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._refused(key, error) from None
            raise FileNotFoundError(f"{self.url}/{key} does not exist") from None
        except (exceptions.BaseError, ValueError) as error:
            refused = self._refused(key, error)
            if refused.status in (401, 403):
                raise PermissionError(str(refused)) from None
            raise refused from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of the library's Rust; it is no Exception
                raise
            raise OSError(f"{self.url}/{key}: the client library broke down; are its settings right?") from None

    def _refused(self, key: str, error: BaseException) -> _Refused:
        text = str(error)
        status, code, kind = _STATUS.search(text), _CODE.search(text), _KIND.search(text)
        said = []
        if status:
            said.append(f"the server answered {status[1]}{status[2] or ''}".rstrip())
        if code:
            said.append(code[1])
        if kind and not status:
            said.append(
                {"Connect": "no connection to the server", "Timeout": "the server did not answer in time"}.get(
                    kind[1], "the connection broke"
                )
            )
        number = int(status[1]) if status else 0
        if number:
            _silent.pop(self.store, None)
        if "StartTooLarge" in text:  # the library's own, of a server that answers as if there were something
            number = 416
        return _Refused(
            f"{self.url}/{key}: {', '.join(said) or type(error).__name__}",
            number,
            silent=not status and bool(kind) and kind[1] == "Timeout",  # type: ignore[index]
        )


class _Refused(OSError):
    def __init__(self, message: str, status: int, *, silent: bool = False) -> None:
        super().__init__(message)
        self.status, self.silent = status, silent


def _before(prefix: str) -> str:
    """A key shortly before all those that begin with ``prefix``."""
    if not prefix:
        return ""
    last = prefix[-1]
    return prefix[:-1] + (chr(ord(last) - 1) + "~" if "0" < last < "\x7f" else "")


def _brief(settings: Settings) -> float:
    """Seconds for a small request: a server that is silent is asked again within the patience."""
    return min(settings.timeout, max(1.0, settings.patience / 2))


def _stores(kind: str, bucket: str, settings: Settings) -> tuple[Any, Any, Any, str]:
    """The client, one that tries nothing again, one for small requests that does neither, and the server's address."""
    endpoint = ""
    client: dict[str, Any] = {"timeout": f"{settings.timeout:g}s", "connect_timeout": "5s"}
    options: dict[str, Any] = {}
    if kind == "s3":
        options, endpoint = s3_options(os.environ)
        if endpoint and not _is_address(endpoint):
            shown = endpoint.rpartition("@")[2]
            raise UsageError(f"AWS_ENDPOINT_URL: {shown!r} is no address of a server, such as https://host:port")
        if endpoint.startswith("http://"):
            allowed = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes")
            if not allowed and urlsplit(endpoint).hostname not in ("localhost", "127.0.0.1", "::1"):
                raise UsageError(
                    f"{endpoint} is not encrypted, and not on this machine: give an https:// address, or set "
                    "AWS_ALLOW_HTTP=true"
                )
            client["allow_http"] = True
    make: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[kind]
    patience = datetime.timedelta(seconds=settings.patience)
    backoff = {
        "init_backoff": datetime.timedelta(milliseconds=100),
        "max_backoff": datetime.timedelta(seconds=2),
        "base": 2,
    }
    retry = {"max_retries": 10, "retry_timeout": patience, "backoff": backoff}
    once = {**retry, "max_retries": 0}
    try:
        with _making:
            return (
                make(bucket, client_options=client, retry_config=retry, **options),
                make(bucket, client_options=client, retry_config=once, **options),
                make(
                    bucket, client_options={**client, "timeout": f"{_brief(settings):g}s"}, retry_config=once, **options
                ),
                endpoint,
            )
    except (exceptions.BaseError, ValueError, TypeError) as error:  # it may quote what it was given
        missing = _MISSING.search(str(error))
        what = f"{missing[1]} is missing" if missing else type(error).__name__
        raise UsageError(f"{kind}://{bucket}: the client library refuses its settings ({what})") from None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is none
        return False


_making = threading.Lock()
_down: dict[str, float] = {}  # by server: until when it is not waited for
_silent: dict[str, float] = {}  # by server that has not answered since: until when it is not even asked
_asking: dict[
    str, int
] = {}  # the process in which the library's own threads were begun; a forked one would wait for ever
