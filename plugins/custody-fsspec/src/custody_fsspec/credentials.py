"""How S3 is reached: the platform's usual variables and files. Nothing of it is kept or written by custody.

The library takes keys from ``AWS_*``, a web identity, the container's or the machine's role. What it does not read is
``~/.aws``: keys of a profile are taken from there; what a profile describes beyond keys (single sign-on, roles) is
asked of boto3, where that is installed.
"""

from __future__ import annotations

import configparser
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ELSEWHERE = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)


def s3_options(environment: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Arguments of ``S3Store``, and the server's address, empty for Amazon's own."""
    options: dict[str, Any] = {}
    profile = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
    config = _section(environment, "AWS_CONFIG_FILE", "config", profile)
    endpoint = (
        environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
        or environment.get("AWS_ENDPOINT")
        or config.get("endpoint_url", "")
    )
    if endpoint:
        options["endpoint"] = endpoint
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or config.get("region")
    options["region"] = region or "us-east-1"
    if environment.get("AWS_ACCESS_KEY_ID") or any(environment.get(name) for name in _ELSEWHERE):
        return options, endpoint
    keys = _section(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials", profile) or config
    if "aws_access_key_id" in keys and "aws_secret_access_key" in keys:
        options["access_key_id"] = keys["aws_access_key_id"]
        options["secret_access_key"] = keys["aws_secret_access_key"]
        if keys.get("aws_session_token"):
            options["session_token"] = keys["aws_session_token"]
    elif (keys or config) and importlib.util.find_spec("boto3") is not None:
        from obstore.auth.boto3 import Boto3CredentialProvider

        options["credential_provider"] = Boto3CredentialProvider()
    return options, endpoint


def _section(environment: Mapping[str, str], variable: str, file: str, profile: str) -> Mapping[str, str]:
    path = Path(environment.get(variable) or Path("~/.aws", file)).expanduser()
    parser = configparser.RawConfigParser()
    try:
        parser.read(path)
    except (OSError, configparser.Error, UnicodeDecodeError):
        return {}
    for name in (profile, f"profile {profile}"):
        if parser.has_section(name):
            return dict(parser.items(name))
    return {}
