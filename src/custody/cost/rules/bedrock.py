"""Amazon Bedrock: the inference profile decides, and an application's own profile hides the model."""

from __future__ import annotations

import re

from custody.cost.call import Call, Terms
from custody.cost.library import table
from custody.cost.record import Unpriced
from custody.cost.rules import anthropic
from custody.cost.rules.tiers import served

_PROFILES = ("us", "eu", "apac", "global", "jp", "au", "ca", "in", "sa", "us-gov")
_ARN = re.compile(r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:\d*:([a-z-]+)/(.+)")
_AWS_REGION = re.compile(r"(us|eu|ap|ca|sa|me|af|il|mx|us-gov)-[a-z]+-\d")
_REGIONAL_PRICES = re.compile(r"(anthropic\.)?claude-((sonnet|haiku|opus)-4-[5-9]|(sonnet|haiku|opus|fable|mythos)-\d)")
_SAME_EVERYWHERE = re.compile(r"anthropic\.|openai\.gpt-[56]|writer\.|moonshotai\.|zai\.")


def terms(call: Call) -> Terms:
    """Raises ``Unpriced``."""
    tier = served(call, call.response.get("serviceTier"), call.response.get("service_tier"))
    performance = call.response.get("performanceConfig")
    if isinstance(performance, dict) and performance.get("latency") == "optimized":
        raise Unpriced("tier_unpriced", "latency-optimised inference")
    if tier != "standard":
        raise Unpriced("tier_unpriced", f"Bedrock's rates for {tier} are not known")
    name, profile = _name(call)
    found = Terms(f"{profile}.{name}" if profile else name, tier, profile or call.region)
    anthropic.elsewhere(call, found)
    if profile is not None and not _known(found.model) and (_known(f"global.{name}") or _known(name)):
        raise Unpriced("region_unpriced", f"no rates for {name} by the profile {profile}")
    return found


def _name(call: Call) -> tuple[str, str | None]:
    """The model's own name, and the profile by which it was asked."""
    name, region = call.model, (call.region or "").lower()
    if name.startswith("arn:"):
        arn = _ARN.fullmatch(name)
        kind, name = (arn[1], arn[2]) if arn else ("", "")
        if kind == "provisioned-model":
            raise Unpriced("provisioned_throughput")
        if kind not in ("inference-profile", "foundation-model"):
            raise Unpriced("model_unresolved", f"an ARN of the kind {kind!r} hides the model")
    head, _, rest = name.partition(".")
    profile = head if head in _PROFILES and rest else None
    name = rest if profile else name
    if region and region not in _PROFILES and _AWS_REGION.fullmatch(region) is None:
        raise Unpriced("region_unpriced", f"the region {call.region!r} is not known")
    if profile == "us-gov" or region.startswith("us-gov"):
        raise Unpriced("region_unpriced", "prices of the government regions are not known")
    if name.startswith("claude-"):
        if _REGIONAL_PRICES.match(name) and profile is None and region not in _PROFILES:
            raise Unpriced("region_unpriced", f"by which profile {name} was asked is not known")
        name = f"anthropic.{name}"
    if profile is None and region in _PROFILES and _REGIONAL_PRICES.match(name):
        profile = region
    if not _SAME_EVERYWHERE.match(name) and not _at_home(profile, region):
        raise Unpriced("region_unpriced", f"the library has the price of {name} in the United States only")
    return name, profile


def _at_home(profile: str | None, region: str) -> bool:
    return profile in (None, "us", "global") and (not region or region in ("us", "global") or region.startswith("us-"))


def _known(name: str) -> bool:
    try:
        table().model("bedrock", name)
    except Unpriced:
        return False
    return True
