"""``custody estimate``: what a run may cost, before it is made."""

from __future__ import annotations

import click

from custody.cli.console import print_json, print_pairs
from custody.cli.stored import RATES_HELP, json_option, open_session, root_option
from custody.cost.rates import chosen
from custody.errors import UsageError
from custody.report.cost import shown
from custody.report.estimate import Estimate, from_plan, from_session
from custody.report.repriced import read as read_repricing


@click.command()
@click.argument("session", required=False)
@click.option("--calls", type=click.IntRange(min=0), help="How many calls the run will make.")
@click.option("--vendor", help="Of a plan without a session: openai, anthropic, gemini, ...")
@click.option("--model", help="Of a plan: the model.")
@click.option("--input-tokens", metavar="N|LOW:EXPECTED:HIGH", help="Of a plan: input tokens of a call.")
@click.option("--output-tokens", metavar="N|LOW:EXPECTED:HIGH", help="Of a plan: output tokens of a call.")
@click.option("--batch", is_flag=True, help="Of a plan: through the vendor's batch API.")
@click.option("--region", help="Of a plan: where the price depends on it.")
@click.option("--rates", type=click.Path(dir_okay=False), help=RATES_HELP)
@click.option("--repriced", is_flag=True, help="Of a SESSION: by its last custody cost reprice.")
@root_option
@json_option
def estimate(
    session: str | None, calls: int | None, vendor: str | None, model: str | None, input_tokens: str | None,
    output_tokens: str | None, batch: bool, region: str | None, rates: str | None, repriced: bool, root: str,
    as_json: bool,
) -> None:  # fmt: skip
    """What a run may cost: low, expected and high.

    From the calls of an earlier SESSION, or from a plan: --vendor, --model, --calls, --input-tokens and
    --output-tokens.
    """
    if session is not None:
        opened = open_session(session, root)
        repricing = read_repricing(opened.storage) if repriced else None
        if repriced and repricing is None:
            raise UsageError(f"{session} was never priced anew: custody cost reprice {session} does")
        lines = [call.fields if repricing is None else repricing.line(call.fields) for call in opened.calls()]
        found = from_session(lines, calls, opened.archive.answers())
    elif vendor and model and calls is not None and input_tokens and output_tokens:
        found = from_plan(vendor, model, calls, _three(input_tokens), _three(output_tokens), batch=batch,
                          region=region, rates=chosen(rates))  # fmt: skip
    else:
        raise UsageError("give a SESSION, or all of --vendor, --model, --calls, --input-tokens, --output-tokens")
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found)


def _print(found: Estimate) -> None:
    pairs: list[tuple[str, object]] = [
        ("calls", found.calls),
        ("low", shown(found.low)),
        ("expected", shown(found.expected)),
        ("high", shown(found.high)),
        ("rests on", found.basis + (f"; {found.unpriced} more had no price" if found.unpriced else "")),
    ]
    if found.saved_by_replay:
        pairs.append(("replay saves", f"{shown(found.saved_by_replay)}, if the same session is continued"))
    print_pairs(pairs)


def _three(text: str) -> tuple[int, int, int]:
    parts = text.split(":")
    if len(parts) not in (1, 3) or not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"{text!r} is neither a number of tokens nor LOW:EXPECTED:HIGH")
    low, expected, high = (int(part) for part in (parts * 3 if len(parts) == 1 else parts))
    if not low <= expected <= high:
        raise UsageError(f"{text!r}: low, expected and high do not rise")
    return low, expected, high
