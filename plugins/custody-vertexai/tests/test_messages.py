"""The tables of messages against the SDK's own descriptors, and the reader against the SDK's own."""

from __future__ import annotations

import importlib
import json
import math
from typing import Any

import pytest
from custody_vertexai.messages import MESSAGES
from custody_vertexai.protobuf import Field, Table, decode
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

VERSIONS = ("v1", "v1beta1")
# A method's answer where it is not called like the method.
ANSWERS = {
    "StreamGenerateContent": "GenerateContentResponse",
    "GetPublisherModel": "PublisherModel",
    "ServerStreamingPredict": "StreamingPredictResponse",
}
ASKED = {"StreamGenerateContent": "GenerateContentRequest", "ServerStreamingPredict": "StreamingPredictRequest"}
BODIES = ("RawPredict", "StreamRawPredict", "ChatCompletions")  # they answer with google.api.HttpBody


def kinds(version: str) -> Any:
    return importlib.import_module(f"google.cloud.aiplatform_{version}.types")


def differences(table: Table, descriptor: Any, place: str) -> list[str]:
    """Fields that the descriptor does not have under this number, name and type."""
    wrong = []
    for number, field in table.items():
        theirs = descriptor.fields_by_number.get(number)
        where = f"{place}.{field.name}"
        if theirs is None:
            wrong.append(f"{where}: no field {number}")
            continue
        if theirs.json_name != field.name or bool(theirs.is_repeated) != field.many:
            wrong.append(f"{where}: {number} is {theirs.json_name}")
        if isinstance(field.kind, Table):
            wrong += differences(field.kind, theirs.message_type, where)
        elif isinstance(field.kind, tuple):
            names = [value.name for value in theirs.enum_type.values]
            if names[: len(field.kind)] != list(field.kind):
                wrong.append(f"{where}: {names}")
        elif not _fits(field, theirs):
            wrong.append(f"{where}: is of type {theirs.type}, read as {field.kind}")
    return wrong


def _fits(field: Field, theirs: Any) -> bool:
    types = {
        "string": (theirs.TYPE_STRING,),
        "data": (theirs.TYPE_BYTES,),
        "int": (theirs.TYPE_INT32, theirs.TYPE_INT64, theirs.TYPE_ENUM),
        "bool": (theirs.TYPE_BOOL,),
        "float": (theirs.TYPE_FLOAT,),
        "double": (theirs.TYPE_DOUBLE,),
        "present": (theirs.TYPE_MESSAGE, theirs.TYPE_BYTES, theirs.TYPE_STRING),
        "value": (theirs.TYPE_MESSAGE,),
    }
    return theirs.type in types[str(field.kind)]


@pytest.mark.parametrize("method", MESSAGES)
def test_numbers_and_names_are_the_sdks(method: str) -> None:
    """What one version has not, the other has; what both have is the same."""
    wrong, found = [], 0
    for version in VERSIONS:
        types = kinds(version)
        request = getattr(types, ASKED.get(method, f"{method}Request"), None)
        if request is None:
            continue
        if method in BODIES:
            answer = importlib.import_module("google.api.httpbody_pb2").HttpBody.DESCRIPTOR
        else:
            answer = getattr(types, ANSWERS.get(method, f"{method}Response")).pb().DESCRIPTOR
        _, asked, answered = MESSAGES[method]
        wrong.append({*differences(asked, request.pb().DESCRIPTOR, method), *differences(answered, answer, method)})
        found += 1
    assert found, "neither version has this method"
    assert set.intersection(*wrong) == set()
    assert all(": no field " in one for one in set.union(*wrong)), wrong


PARTS: list[Any] = [{"text": "日本"}, {"functionCall": {"name": "f"}}, {"text": "t", "thought": True}]
RESPONSE = {
    "candidates": [
        {
            "index": 1,
            "content": {"role": "model", "parts": PARTS},
            "finishReason": "MAX_TOKENS",
        }
    ],
    "promptFeedback": {"blockReason": "SAFETY"},
    "usageMetadata": {"promptTokenCount": 300, "totalTokenCount": 70000, "trafficType": "ON_DEMAND"},
    "modelVersion": "m-1",
    "responseId": "r-1",
}  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_it_reads_what_the_sdk_wrote(version: str) -> None:
    form = importlib.import_module("google.protobuf.json_format")
    kind = kinds(version).GenerateContentResponse.pb()
    data = form.ParseDict(RESPONSE, kind(), ignore_unknown_fields=True).SerializeToString()
    read = decode(data, MESSAGES["GenerateContent"][2])
    theirs = form.MessageToDict(kind.FromString(data), use_integers_for_enums=True)
    for candidate in theirs["candidates"]:
        for part in candidate["content"]["parts"]:
            part.update({name: {} for name in part if name == "functionCall"})
    assert read == theirs


NUMBERS = {"temperature": 0.2, "topP": 0.95, "topK": 40.0, "maxOutputTokens": 2048, "seed": -7, "presencePenalty": -1.5}


def test_a_request_keeps_its_numbers() -> None:
    form = importlib.import_module("google.protobuf.json_format")
    kind = kinds("v1").GenerateContentRequest.pb()
    tool = {"functionCallingConfig": {"mode": "ANY"}}
    asked = {"model": "m", "generationConfig": NUMBERS, "contents": [{"role": "user"}, {}], "toolConfig": tool}
    read = decode(form.ParseDict(asked, kind()).SerializeToString(), MESSAGES["GenerateContent"][1])
    assert read == {"model": "m", "generationConfig": NUMBERS, "contents": [{}, {}], "toolConfig": tool}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_values_are_read_as_json(value: Any) -> None:
    form = importlib.import_module("google.protobuf.json_format")
    kind = kinds("v1").PredictResponse.pb()
    data = form.ParseDict({"predictions": [value], "deployedModelId": "d"}, kind()).SerializeToString()
    read = decode(data, MESSAGES["Predict"][2])
    assert read.get("deployedModelId") == "d"
    if value is not None:
        (got,) = read["predictions"]
        assert got == value or (isinstance(value, float) and math.isclose(got, value))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_bytes_make_it_raise(data: st.DataObject) -> None:
    """Damaged, cut and invented messages."""
    form = importlib.import_module("google.protobuf.json_format")
    kind = kinds("v1").GenerateContentResponse.pb()
    whole = form.ParseDict(RESPONSE, kind(), ignore_unknown_fields=True).SerializeToString()
    kept = bytearray(whole[: data.draw(st.integers(0, len(whole)))] + data.draw(st.binary(max_size=20)))
    for _ in range(data.draw(st.integers(0, 4)) if kept else 0):
        kept[data.draw(st.integers(0, len(kept) - 1))] = data.draw(st.integers(0, 255))
    method = data.draw(st.sampled_from(sorted(MESSAGES)))
    for table in MESSAGES[method][1:]:
        json.dumps(decode(bytes(kept), table), default=len)


def test_nesting_is_no_danger() -> None:
    deep = b""
    for _ in range(500):
        entry = b"\x32" + _size(b"\x0a" + _size(deep))
        deep = entry
    assert decode(b"\x0a" + _size(deep), MESSAGES["Predict"][2]) is not None


def _size(data: bytes) -> bytes:
    number, out = len(data), b""
    while True:
        number, low = number >> 7, number & 0x7F
        out += bytes([low | 0x80 if number else low])
        if not number:
            return out + data
