"""Vertex AI on loopback, with TLS, so that the SDK sends its tokens; credentials that are canaries."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from custody.testing.simulator.vertex_grpc import VertexSimulator


def crypto(name: str) -> Any:
    """A part of cryptography, which google-auth brings (older ones did not)."""
    return pytest.importorskip(f"cryptography.{name}")


def pem_of(key: Any) -> bytes:
    forms = crypto("hazmat.primitives.serialization")
    data: bytes = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    return data


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, bytes]]:
    """Key and certificate of ``localhost``, which gRPC trusts in this process: it reads its roots once."""
    x509, ec = crypto("x509"), crypto("hazmat.primitives.asymmetric.ec")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, crypto("hazmat.primitives.hashes").SHA256())
    )
    pem = made.public_bytes(crypto("hazmat.primitives.serialization").Encoding.PEM)
    roots = tmp_path_factory.mktemp("tls") / "roots.pem"
    roots.write_bytes(pem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(roots))
        yield pem_of(key), pem


@pytest.fixture
def vertex(certificate: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[VertexSimulator]:
    """A running simulator; nothing in the environment leads the SDK elsewhere."""
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "CLOUDSDK_", "GCE_"))]:
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with VertexSimulator(certificate=certificate) as simulator:
        yield simulator


class _Tokens(BaseHTTPRequestHandler):
    """Google's token endpoint."""

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.given += 1  # type: ignore[attr-defined]
        body = json.dumps({"access_token": Canary.token, "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@dataclass
class Canary:
    """A service account's file, and the endpoint that gives its tokens. None of it may reach the disk."""

    file: Path
    private_key: str
    server: Any
    token = "ya29.canary-0f1e2d3c4b5a69788796a5b4c3d2e1f0-token"

    @property
    def given(self) -> int:
        """How many tokens were given."""
        count: int = self.server.given
        return count

    def traces(self) -> list[bytes]:
        """What must not be found: the token, and lines of the private key."""
        lines = [line.encode() for line in self.private_key.splitlines() if not line.startswith("-")]
        return [self.token.encode(), *lines[:3]]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
    server.given = 0  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    key = pem_of(crypto("hazmat.primitives.asymmetric.rsa").generate_private_key(65537, 2048)).decode()
    file = tmp_path / "service-account.json"
    file.write_text(json.dumps({
        "type": "service_account", "project_id": "canary-project", "private_key_id": "canary", "private_key": key,
        "client_email": "canary@example.org", "client_id": "1",
        "token_uri": f"http://127.0.0.1:{server.server_address[1]}/token",
    }))  # fmt: skip
    yield Canary(file, key, server)
    server.shutdown()
    server.server_close()
    thread.join()
