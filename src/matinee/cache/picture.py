"""The result of a simulation drawn: an SVG of hit ratios over cache sizes, one line a policy. No library is needed for that.

Called by the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import log10

_WIDTH, _HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 600, 52, 376  # the edges of the plot; the legend stands to the right of it
_COLOURS = ("#c2410c", "#4d7c0f", "#0b6e99", "#7e22ce", "#be185d")
_FONT = 'font-family="system-ui, sans-serif" font-size="14"'
_INK, _GREY, _PALE = "#1f2937", "#6b7280", "#e5e7eb"


def draw(title: str, percents: Sequence[float], lines: Mapping[str, Sequence[float]], limit: str) -> str:
    """Return the picture: the hit ratios (0 to 1) of each line at each size; the line named `limit` is dashed."""
    x = _places(percents)
    strokes = dict(_strokes(lines, limit))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
            _text(_LEFT, 28, title, "start", 'font-size="16" font-weight="600"'),
            *_axes(x),
            *(_curve(x, percents, ratios, strokes[name]) for name, ratios in lines.items()),
            *_legend(lines, strokes),
            "</svg>\n",
        ]
    )


def _places(percents: Sequence[float]) -> dict[float, float]:
    """Return where each size stands; sizes differ by powers of ten, so the axis is logarithmic."""
    low = log10(min(percents))
    span = log10(max(percents)) - low
    return {
        percent: _LEFT + 20 + ((log10(percent) - low) / span if span else 0.5) * (_RIGHT - _LEFT - 40) for percent in percents
    }


def _height(ratio: float) -> float:
    return _BOTTOM - ratio * (_BOTTOM - _TOP)


def _strokes(lines: Mapping[str, Sequence[float]], limit: str) -> Iterator[tuple[str, str]]:
    for number, name in enumerate(lines):
        colour = _GREY if name == limit else _COLOURS[number % len(_COLOURS)]
        yield name, f'stroke="{colour}" stroke-width="2.5" fill="none"' + (' stroke-dasharray="7 5"' if name == limit else "")


def _axes(x: Mapping[float, float]) -> Iterator[str]:
    for ratio in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        y = _height(ratio)
        yield f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{_PALE}"/>'
        yield _text(_LEFT - 8, y + 5, f"{100 * ratio:.0f} %", "end")
    for percent, place in x.items():
        yield f'<path d="M{place:.1f} {_TOP}V{_BOTTOM}" stroke="{_PALE}"/>'
        yield _text(place, _BOTTOM + 22, f"{percent:g} %", "middle")
    yield f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" stroke="{_INK}" fill="none"/>'
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 48, "size of the cache, in percent of all ids (logarithmic)", "middle")
    middle = (_TOP + _BOTTOM) / 2
    yield _text(18, middle, "hit ratio", "middle", f'transform="rotate(-90 18 {middle:.0f})"')


def _curve(x: Mapping[float, float], percents: Sequence[float], ratios: Sequence[float], stroke: str) -> str:
    points = " ".join(f"{x[percent]:.1f},{_height(ratio):.1f}" for percent, ratio in sorted(zip(percents, ratios, strict=True)))
    return f'<polyline points="{points}" {stroke}/>'


def _legend(lines: Mapping[str, Sequence[float]], strokes: Mapping[str, str]) -> Iterator[str]:
    """Yield the names, in the order in which their lines end."""
    for number, name in enumerate(sorted(lines, key=lambda name: -lines[name][-1])):
        y = _TOP + 12 + 26 * number
        yield f'<path d="M{_RIGHT + 20} {y}h30" {strokes[name]}/>'
        yield _text(_RIGHT + 58, y + 5, name, "start")


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{_INK}" {more}>{escape(text)}</text>'
