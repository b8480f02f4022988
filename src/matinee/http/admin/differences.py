"""Values of a document as people read them, two beside each other with what they share left out. Pure; called by changes.py."""

from __future__ import annotations

import json
from typing import Any


def differences(before: Any, after: Any) -> tuple[str, str]:
    """Return two values as text. Of two lists or objects only what differs is shown, one a line."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return _of_names(before, names), _of_names(after, names)
    if isinstance(before, list) and isinstance(after, list):
        return _of_items(before, after), _of_items(after, before)
    return as_text(before), as_text(after)


def as_text(value: Any) -> str:
    """Return a value of a document as text."""
    if value in (None, [], {}):
        return "—"
    if isinstance(value, list):
        return "\n".join(map(as_text, value))
    if isinstance(value, dict) and "name" in value:
        character = f" as {value['character']}" if value.get("character") else ""
        billing = f", billed {value['order']}" if value.get("order") is not None else ""
        return f"{value['name']} (id {value.get('id')}){character}{billing}"
    if isinstance(value, dict):
        return _of_names(value, [name for name in value if value[name] is not None])
    return value if isinstance(value, str) else json.dumps(value)


def _of_names(value: dict[str, Any], names: list[str]) -> str:
    return "\n".join(f"{name}: {as_text(value.get(name))}" for name in names) or "—"


def _of_items(items: list[Any], others: list[Any]) -> str:
    own = [as_text(item) for item in items if item not in others]
    shared = len(items) - len(own)
    if not own and items:
        return f"(the same {shared}, in another order)" if len(items) == len(others) else f"({shared} that are on both sides)"
    return "\n".join([*own, *([f"(and {shared} that are on both sides)"] if shared else [])]) or "—"
