"""Forms of users and groups that know which state they were made from: these have no version, so a digest takes its place.

Called by users.py. Without it, a form that was opened before a superuser demoted a user would restore the old rank when it is
saved for another reason. seen_form.py does the same for rows with versions.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model

_NOT_STATE = {"seen", "password"}  # the password has a form of its own, and this one never writes it


class SeenState(forms.ModelForm):  # type: ignore[type-arg]  # a form of users or of groups
    """A form with a digest of the values that it was made from."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["seen"] = self._state()

    def clean(self) -> dict[str, Any]:
        """Refuse a form that was made from other values than the stored ones."""
        cleaned = super().clean() or self.cleaned_data
        if self.instance.pk and cleaned.get("seen", "") != self.initial["seen"]:
            raise ValidationError(
                f"This {type(self.instance).__name__.lower()} was changed after you opened this form. Nothing was saved. "
                "Open it again, and make your change there.",
                code="stale",
            )
        return cleaned

    def _state(self) -> str:
        state = {name: _plain(self.initial.get(name)) for name in sorted(self.fields) if name not in _NOT_STATE}
        return hashlib.sha256(json.dumps(state, default=str).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value of a form; of rows that it refers to, the sorted ids."""
    if isinstance(value, list):
        return sorted(row.pk if isinstance(row, Model) else row for row in value)
    return value
