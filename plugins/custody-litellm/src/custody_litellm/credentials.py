"""AWS's credentials, which litellm looks for before it sends: where there are none, that is said on a miss only.

Read in litellm 1.106: ``get_request_headers`` signs what Converse sends, ``_sign_request`` what goes by litellm's
common HTTP handler; both raise botocore's NoCredentialsError where nothing leads to credentials.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from typing import Any
from urllib.parse import unquote

from custody.plugin import Patch, current_call, defer

_MODULE = "litellm.llms.bedrock.base_aws_llm"


def patches() -> tuple[Patch, ...]:
    """The two methods that sign."""
    return (
        Patch(_MODULE, "BaseAWSLLM.get_request_headers", _prepared),
        Patch(_MODULE, "BaseAWSLLM._sign_request", _signed),
    )


def _later(error: Exception, url: str) -> str:
    """What litellm makes of the error, raised when the request is sent."""
    model = unquote(url.partition("/model/")[2].rpartition("/")[0])

    def fail() -> str:
        litellm = importlib.import_module("litellm")
        litellm.exception_type(model=model, original_exception=error, custom_llm_provider="bedrock")
        raise error

    placeholder: str = defer(fail)
    return placeholder


def _none() -> Any:
    return importlib.import_module("botocore.exceptions").NoCredentialsError


def _prepared(original: Any) -> Any:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def get_request_headers(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except _none() as error:
            if current_call() is None:
                raise
            given = signature.bind(*args, **kwargs).arguments
            headers = {**given["headers"], "Authorization": _later(error, given["endpoint_url"])}
            request = importlib.import_module("botocore.awsrequest").AWSRequest
            return request(method="POST", url=given["endpoint_url"], data=given["data"], headers=headers).prepare()

    return get_request_headers


def _signed(original: Any) -> Any:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def _sign_request(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except _none() as error:
            if current_call() is None:
                raise
            given = signature.bind(*args, **kwargs).arguments
            headers = {"Content-Type": "application/json", **(given["headers"] or {})}
            headers["Authorization"] = _later(error, given["api_base"])
            return headers, json.dumps(given["request_data"]).encode()

    return _sign_request
