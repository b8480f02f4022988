"""What /metrics says of the caches, as figures: of each local tier and its policy, of the shared tier, and beside them.

Called by cache_server.py. A metric that this file has not heard of is shown after the known ones, under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from matinee.errors import OperatorError

_TIERS, _SHARED = "matinee_cache_", "matinee_shared_cache_"
_BESIDE = ("matinee_cache_", "matinee_warm_up_", "matinee_popularity_")
_ORDER = (
    "hits", "misses", "hit_ratio", "stale_hits", "bytes", "bound_bytes", "entries", "insertions", "evictions", "invalidations",
    "expiries", "loads", "collapsed",
)  # fmt: skip
_NOT_SHOWN = ("_bucket", "_created")

Figures = dict[str, float]


class Key(NamedTuple):
    """What figures are of: a tier with its policy; `shared`, or what is no tier's."""

    tier: str
    policy: str = ""


SHARED, BESIDE = Key("shared"), Key("")


@dataclass
class Look:
    """The figures of one look, and which of them only grow."""

    figures: dict[Key, Figures] = field(default_factory=dict)
    growing: set[tuple[Key, str]] = field(default_factory=set)

    def lines(self) -> Iterator[tuple[Key, str, float]]:
        """Yield each figure, the known ones first."""
        for key in sorted(self.figures, key=lambda key: (key == BESIDE, key == SHARED, key)):
            named = self.figures[key]
            for name in sorted(named, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
                yield key, name, named[name]

    def rate(self, key: Key, name: str, before: Look, passed_s: float) -> float | None:
        """Return by how much a figure has grown in a second since an earlier look; of hit_ratio that of the time between."""
        if name == "hit_ratio":
            then, now = before.figures.get(key, {}), self.figures[key]
            return hit_ratio({part: now.get(part, 0) - then.get(part, 0) for part in ("hits", "misses")})
        if (key, name) not in self.growing:
            return None
        grown = self.figures[key][name] - before.figures.get(key, {}).get(name, 0)
        return max(grown, 0.0) / passed_s  # a server that was started anew counts from nothing


def look_at(text: str) -> Look:
    """Return the figures of the text of /metrics. Raises: OperatorError when it is not a Matinee's."""
    from prometheus_client.parser import text_string_to_metric_families

    found = Look()
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError:
        families = []
    if not any(family.name.startswith("matinee_") for family in families):
        raise OperatorError("These are no metrics of a Matinee; give the server's address: --url URL")
    for family in families:
        _note(found, family)
    for named in found.figures.values():
        _derive(named)
    return found


def _derive(named: Figures) -> None:
    ratio = hit_ratio(named)
    if ratio is not None:
        named["hit_ratio"] = ratio
    for sum_name in [name for name in named if "_seconds_sum" in name]:
        times = named.get(sum_name.replace("_seconds_sum", "_seconds_count"), 0.0)
        if times:
            named[sum_name.replace("_seconds_sum", "_mean_ms")] = round(1000 * named[sum_name] / times, 3)


def hit_ratio(figures: Mapping[str, float]) -> float | None:
    """Return the share of hits among all that was asked; None when nothing was."""
    asked = figures.get("hits", 0.0) + figures.get("misses", 0.0)
    return figures.get("hits", 0.0) / asked if asked > 0 else None


def _note(found: Look, family: Any) -> None:
    for sample in family.samples:
        place = _place(sample.name, sample.labels)
        if place is None:
            continue
        key, name = place
        found.figures.setdefault(key, {})[name] = sample.value
        if sample.name.endswith(("_total", "_count", "_sum")):
            found.growing.add((key, name))


def _place(metric: str, labels: Mapping[str, str]) -> tuple[Key, str] | None:
    """Return whose figure a sample is, and its name there; None for one that is not shown."""
    if metric.endswith(_NOT_SHOWN):
        return None
    plain = metric.removesuffix("_total")
    if plain.startswith(_TIERS) and "tier" in labels:
        key = Key(labels["tier"], labels.get("policy", ""))
        return key, _name(plain.removeprefix(_TIERS), labels, ("tier", "policy"))
    if plain.startswith(_SHARED):
        return SHARED, _name(plain.removeprefix(_SHARED), labels, ())
    return (BESIDE, _name(plain.removeprefix("matinee_"), labels, ())) if plain.startswith(_BESIDE) else None


def _name(plain: str, labels: Mapping[str, str], left_out: Iterable[str]) -> str:
    more = " ".join(value for label, value in sorted(labels.items()) if label not in left_out)
    return f"{plain} {more}" if more else plain
