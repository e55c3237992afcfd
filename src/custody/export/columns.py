"""The columns of an export: one row a call, named after the GenAI attributes of OpenTelemetry where these have a word.

The attributes are those of https://github.com/open-telemetry/semantic-conventions-genai, all of status "development"
in November 2026. What they have no word for is ``custody.*``. docs/export.md is the table for people, and a test holds
it to this one. Every value comes from the call line as it was written; nothing is computed anew but sums of tokens, as
OpenTelemetry counts them, and differences of times. Unknown is None, never 0; what this session did not pay, because
another one had, is known, and 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from custody.export.call import Row

Kind = str
"""``string``, ``strings`` (a list), ``integer`` (64 bits), ``double``, ``boolean``, ``timestamp`` (UTC, microseconds),
``decimal`` (38 digits, 18 of them behind the point), ``json`` (a string that holds JSON)."""


class Column(NamedTuple):
    """One column.

    Attributes:
        name: in the file.
        short: in ``custody sql``, where names with dots would have to be quoted.
        unit: of its values; empty where they have none.
        source: where it comes from, in the words of docs/format.md.
        read: its value; what is not of the column's kind becomes None.
        only_parquet: other formats have the same as a string.
    """

    name: str
    short: str
    kind: Kind
    unit: str
    source: str
    read: Callable[[Row], Any]
    only_parquet: bool = False


def _line(field: str) -> Callable[[Row], Any]:
    return lambda row: row.line.get(field)


def _forensics(field: str) -> Callable[[Row], Any]:
    return lambda row: row.forensics.get(field)


def _metadata(field: str) -> Callable[[Row], Any]:
    return lambda row: row.metadata.get(field)


def _usage(*fields: str) -> Callable[[Row], Any]:
    return lambda row: row.tokens(*fields)


def _label(*names: str) -> Callable[[Row], Any]:
    return lambda row: row.label(*names)


def _sent(*names: str) -> Callable[[Row], Any]:
    return lambda row: row.parameter(*names)


def _last(field: str) -> Callable[[Row], Any]:
    return lambda row: row.last.get(field)


_MOST = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens", "max_new_tokens")

OTEL = (
    Column("gen_ai.operation.name", "operation", "string", "", "`operation`", _line("operation")),
    Column("gen_ai.provider.name", "provider", "string", "", "`model_forensics.vendor`, by OpenTelemetry's name where "
           "it has one", lambda row: row.provider),
    Column("gen_ai.request.model", "request_model", "string", "", "`model_forensics.requested_model`",
           _forensics("requested_model")),
    Column("gen_ai.response.model", "response_model", "string", "", "`model_forensics.actual_model`",
           _forensics("actual_model")),
    Column("gen_ai.response.id", "response_id", "string", "", "`response_metadata.response_id`",
           _metadata("response_id")),
    Column("gen_ai.response.finish_reasons", "finish_reasons", "strings", "", "`response_metadata.finish_reason`, a "
           "list of one", lambda row: row.finish_reasons),
    Column("gen_ai.request.temperature", "temperature", "double", "", "`parameters`", _sent("temperature")),
    Column("gen_ai.request.top_p", "top_p", "double", "", "`parameters`", _sent("top_p", "topP")),
    Column("gen_ai.request.top_k", "top_k", "double", "", "`parameters`", _sent("top_k", "topK")),
    Column("gen_ai.request.max_tokens", "max_tokens", "integer", "tokens", "`parameters`, by the vendor's own name",
           _sent(*_MOST)),
    Column("gen_ai.request.seed", "seed", "integer", "", "`parameters`", _sent("seed", "random_seed")),
    Column("gen_ai.request.choice.count", "choice_count", "integer", "", "`parameters`", _sent("n", "candidateCount")),
    Column("gen_ai.usage.input_tokens", "input_tokens", "integer", "tokens", "`usage.input`, `usage.cache_read` and "
           "`usage.cache_write` together, as OpenTelemetry counts; null where `usage.input` is",
           _usage("input", "cache_read", "cache_write")),
    Column("gen_ai.usage.output_tokens", "output_tokens", "integer", "tokens", "`usage.output` and `usage.reasoning` "
           "together; null where `usage.output` is", _usage("output", "reasoning")),
    Column("gen_ai.usage.cache_read.input_tokens", "cache_read_tokens", "integer", "tokens", "`usage.cache_read`",
           _usage("cache_read")),
    Column("gen_ai.usage.cache_creation.input_tokens", "cache_write_tokens", "integer", "tokens",
           "`usage.cache_write`", _usage("cache_write")),
    Column("gen_ai.usage.reasoning.output_tokens", "reasoning_tokens", "integer", "tokens", "`usage.reasoning`",
           _usage("reasoning")),
    Column("server.address", "server_address", "string", "", "host of `url` in the last attempt's request line",
           lambda row: row.host),
    Column("server.port", "server_port", "integer", "", "port of the same", lambda row: row.port),
    Column("error.type", "error_type", "string", "", "`error`, else `status` from 400 on; null where neither is there",
           lambda row: row.error_type),
    Column("http.response.status_code", "status_code", "integer", "", "`status`", _line("status")),
)  # fmt: skip

CUSTODY = (
    Column("custody.session", "session", "string", "", "`session`", _line("session")),
    Column("custody.project", "project", "string", "", "`project` of `session.json`", lambda row: row.project),
    Column("custody.experiment", "experiment", "string", "", "`experiment` of `session.json`",
           lambda row: row.experiment),
    Column("custody.call", "call", "string", "", "`id`", _line("id")),
    Column("custody.scope.stage", "stage", "string", "", "label `stage`", _label("stage")),
    Column("custody.scope.document", "document", "string", "", "label `corpus_file`, else `document`",
           _label("corpus_file", "document")),
    Column("custody.scope.run", "run", "string", "", "label `run`, else `run_number`", _label("run", "run_number")),
    Column("custody.scope.condition", "condition", "string", "", "label `condition`", _label("condition")),
    Column("custody.scope", "scope", "json", "", "all labels", lambda row: row.scope),
    Column("custody.replicate", "replicate", "integer", "", "`replicate`", _line("replicate")),
    Column("custody.outcome", "outcome", "string", "", "`outcome`", _line("outcome")),
    Column("custody.success", "success", "boolean", "", "`success`", _line("success")),
    Column("custody.answers", "answers", "boolean", "", "`answers`", _line("answers")),
    Column("custody.ending", "ending", "string", "", "`ending`", _line("ending")),
    Column("custody.streamed", "streamed", "boolean", "", "`streamed`", _line("streamed")),
    Column("custody.source", "source", "string", "", "`source`", _line("source")),
    Column("custody.origin", "origin", "string", "", "`origin`, only of calls of an older layout", _line("origin")),
    Column("custody.redacted", "redacted", "boolean", "", "`redacted`", _line("redacted")),
    Column("custody.reused_from", "reused_from", "string", "", "`reused_from.session`: paid for there, not here",
           lambda row: row.reused_from),
    Column("custody.attempts", "attempts", "integer", "", "how many `attempts` there are", lambda row: row.attempts),
    Column("custody.vendor", "vendor", "string", "", "`model_forensics.vendor`", _forensics("vendor")),
    Column("custody.cost_usd", "cost_usd", "string", "US dollars", "`cost.cost_usd`, exact: what this session paid; 0 "
           "where `custody.reused_from` is not null", lambda row: row.usd),
    Column("custody.cost", "cost", "decimal", "US dollars", "the same as a number, rounded at the 18th place",
           lambda row: row.usd, True),
    Column("custody.reused_cost_usd", "reused_cost_usd", "string", "US dollars", "`cost.cost_usd` of a reused answer, "
           "exact: what it had cost where it was paid; null for a call that was made here", lambda row: row.reused_usd),
    Column("custody.reused_cost", "reused_cost", "decimal", "US dollars", "the same as a number, rounded at the 18th "
           "place", lambda row: row.reused_usd, True),
    Column("custody.repriced_cost_usd", "repriced_cost_usd", "string", "US dollars", "`custody.cost_usd` by the last "
           "`custody cost reprice` (`system_state/repriced_costs.jsonl`); null where there was none, or no price",
           lambda row: row.repriced_usd),
    Column("custody.repriced_cost", "repriced_cost", "decimal", "US dollars", "the same as a number, rounded at the "
           "18th place", lambda row: row.repriced_usd, True),
    Column("custody.repriced_reason", "repriced_reason", "string", "", "`cost.reason` by the same",
           lambda row: row.repriced.get("reason")),
    Column("custody.cost_status", "cost_status", "string", "", "`cost.status`", lambda row: row.cost.get("status")),
    Column("custody.cost_reason", "cost_reason", "string", "", "`cost.reason`", lambda row: row.cost.get("reason")),
    Column("custody.cost_source", "cost_source", "string", "", "`cost.source.kind`", lambda row: row.cost_source),
    Column("custody.started", "started", "timestamp", "", "`started`", _line("started")),
    Column("custody.ended", "ended", "timestamp", "", "`ended`", _line("ended")),
    Column("custody.duration", "duration_ms", "double", "ms", "`ended` less `started`: retries and waits included",
           lambda row: row.duration),
    Column("custody.response_time", "response_time_ms", "double", "ms", "`response_metadata.response_time_ms`",
           _metadata("response_time_ms")),
    Column("custody.first_byte", "first_byte_ms", "double", "ms", "`response_metadata.first_byte_ms`",
           _metadata("first_byte_ms")),
    Column("custody.vendor_processing", "vendor_processing_ms", "double", "ms",
           "`response_metadata.vendor_processing_ms`", _metadata("vendor_processing_ms")),
    Column("custody.tokens.input", "plain_input_tokens", "integer", "tokens", "`usage.input`, without any cache",
           _usage("input")),
    Column("custody.tokens.output", "plain_output_tokens", "integer", "tokens", "`usage.output`, without reasoning",
           _usage("output")),
    Column("custody.tokens.total", "tokens", "integer", "tokens", "`response_metadata.tokens_used`",
           _metadata("tokens_used")),
    Column("custody.region", "region", "string", "", "`model_forensics.deployment_region`",
           _forensics("deployment_region")),
    Column("custody.api_version", "api_version", "string", "", "`model_forensics.api_version`",
           _forensics("api_version")),
    Column("custody.model_build_date", "model_build_date", "string", "", "`model_forensics.model_build_date`",
           _forensics("model_build_date")),
    Column("custody.system_fingerprint", "system_fingerprint", "string", "", "`response_metadata.system_fingerprint`",
           _metadata("system_fingerprint")),
    Column("custody.organization", "organization", "string", "", "`response_metadata.organization`",
           _metadata("organization")),
    Column("custody.vendor_project", "vendor_project", "string", "", "`response_metadata.project`",
           _metadata("project")),
    Column("custody.provider_request_id", "provider_request_id", "string", "",
           "`response_metadata.provider_request_id`", _metadata("provider_request_id")),
    Column("custody.service_tier_requested", "service_tier_requested", "string", "",
           "`response_metadata.service_tier_requested`", _metadata("service_tier_requested")),
    Column("custody.service_tier", "service_tier", "string", "", "`response_metadata.service_tier`",
           _metadata("service_tier")),
    Column("custody.sdk", "sdk", "string", "", "`sdk.version`", lambda row: row.sdk),
    Column("custody.transport", "transport", "string", "", "`transport`", _line("transport")),
    Column("custody.parameters", "parameters", "json", "", "`parameters`", _line("parameters")),
    Column("custody.evidence", "evidence", "json", "", "`evidence`: where each value was found, or why it is unknown",
           _line("evidence")),
    Column("custody.exchange", "exchange", "string", "", "`attempts[].exchange` of the last attempt",
           _last("exchange")),
    Column("custody.request_sha256", "request_sha256", "string", "", "`attempts[].request_sha256` of the last attempt",
           _last("request_sha256")),
    Column("custody.response_sha256", "response_sha256", "string", "",
           "`attempts[].response_sha256` of the last attempt", _last("response_sha256")),
    Column("custody.segment", "segment", "string", "", "the segment in which the call line stands",
           lambda row: row.place.segment),
    Column("custody.segment.offset", "segment_offset", "integer", "bytes", "where in the segment it begins",
           lambda row: row.place.offset),
    Column("custody.segment.size", "segment_size", "integer", "bytes", "its length, without its newline",
           lambda row: row.place.size),
)  # fmt: skip

CONTENT = (
    Column("custody.request.body", "request_body", "string", "", "the last attempt's request, only with `--content`; "
           "null where it is no text", lambda row: row.request_body),
    Column("custody.response.body", "response_body", "string", "", "the last attempt's response without its "
           "content-encoding, only with `--content`; null where it is no text", lambda row: row.response_body),
)  # fmt: skip

COLUMNS = (*OTEL, *CUSTODY)

VERSION = 2
"""Changes whenever a column is added, renamed or read otherwise."""


def chosen(*, content: bool) -> tuple[Column, ...]:
    """The columns of an export."""
    return (*COLUMNS, *CONTENT) if content else COLUMNS
