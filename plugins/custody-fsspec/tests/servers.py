"""S3 servers for tests, on loopback."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """moto, one request at a time: its put-if-absent is not atomic among threads. Gives its address."""
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3,server]'")
    serving = pytest.importorskip("werkzeug.serving")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = server.DomainDispatcherApplication(server.create_backend_app)
    made = serving.make_server("127.0.0.1", 0, app, threaded=False)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_port}"
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def make_bucket(endpoint: str, bucket: str, access: str = "test", secret: str = "test") -> None:
    """With the one request that no storage sends."""
    import boto3

    boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access, aws_secret_access_key=secret
    ).create_bucket(Bucket=bucket)
