"""Costs as bars, in SVG of plain shapes: no script, no font, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from xml.sax.saxutils import escape

from custody.report.cost import Sum, shown

_ROW, _LEFT, _WIDE, _RIGHT = 24, 260, 420, 240
_MOST = 60


def bars(groups: Mapping[str, Sum], title: str) -> str:
    """One bar a group, as long as its cost."""
    rows = list(groups.items())[:_MOST]
    top = max((part.usd for _, part in rows), default=Decimal(0)) or Decimal(1)
    width, height = _LEFT + _WIDE + _RIGHT, 40 + _ROW * max(1, len(rows)) + (20 if len(groups) > _MOST else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{_text(title, 400)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="20" font-size="13" font-weight="bold">{_text(title, 120)}</text>',
    ]
    for n, (name, part) in enumerate(rows):
        y = 36 + n * _ROW
        length = int(part.usd / top * _WIDE)
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{_text(name or "(all)", 40)}</text>',
            f'<rect x="{_LEFT}" y="{y + 2}" width="{length}" height="{_ROW - 8}" fill="#3a6ea5"/>',
            f'<text x="{_LEFT + length + 6}" y="{y + 14}">{_text(_amount(part), 60)}</text>',
        ]
    if len(groups) > _MOST:
        parts.append(f'<text x="{_LEFT}" y="{height - 6}">and {len(groups) - _MOST} more, each of less</text>')
    return "\n".join([*parts, "</svg>", ""])


def _amount(part: Sum) -> str:
    if part.known is None:
        return f"unknown, {part.calls} calls"
    more = "at least " if part.least else ""
    return f"{more}{shown(part.usd)}, {part.calls} calls"


def _text(text: str, most: int) -> str:
    plain = "".join(ch if ch.isprintable() else "?" for ch in text)
    return escape(plain if len(plain) <= most else plain[: most - 1] + "…", {'"': "&quot;"})
