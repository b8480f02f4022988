"""Forms that know which version they were made from. A stale one is refused; what was typed stays in it.

Called by written.py for everything that has versions: movies, people, genres (and keys, which are only added).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.html import format_html

from matinee.errors import Fault, MatineeError
from matinee.storage.models import Change


class SeenForm(forms.ModelForm):  # type: ignore[type-arg]  # a form of any of our models
    """A form with the version that its text was made from, and with the reason for which the write room refused it.

    `refusal` and `subject` are set by the page that makes the form; `subject` is what the log calls the thing.
    """

    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    refusal: ClassVar[MatineeError | None] = None
    subject: ClassVar[str] = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["seen"] = self.current_version()

    def current_version(self) -> str:
        """Return the thing's version as it is now, nothing for a new one."""
        return str(self.instance.version) if self.instance.pk else ""

    def clean(self) -> dict[str, Any]:
        """Refuse a form that was made from another version than the current one, and say what the write room said."""
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("seen", "") != self.current_version():
            raise ValidationError(stale_text(self.subject, self.instance.pk), code="stale")
        if self.refusal is not None:
            self.add_faults(self.refusal)
        return cleaned

    def add_faults(self, error: MatineeError) -> None:
        """Put each fault at its field, unless that has one already, and what has no field at the top."""
        for fault in error.faults or (Fault("", error.detail),):
            field = self.field_of(fault.pointer)
            if field is None:
                self.add_error(None, plain_words(error.detail))
            elif field not in self.errors:
                self.add_error(field, plain_words(fault.detail))

    def field_of(self, pointer: str) -> str | None:
        """Return the field that a JSON pointer leads to, None when there is none."""
        name = pointer.removeprefix("/")
        return name if name in self.fields else None


_MODELS = {"key": "apikey"}  # where the log names a subject otherwise than its model


def stale_text(subject: str, subject_id: int) -> str:
    """Return who changed a thing last and when, and what to do about it."""
    newest = Change.objects.filter(subject=subject, subject_id=subject_id).order_by("-position").first()
    who = f"{newest.actor} changed it at {newest.at:%Y-%m-%d %H:%M:%S} UTC" if newest else "Somebody changed it"
    return format_html(
        "This {} is not as it was when you opened this form: {}. Nothing was saved, and what you typed is still below. "
        '<a href="{}" target="_blank" class="underline">Open it as it is now</a>, and make your change there; '
        '<a href="{}" target="_blank" class="underline">the log</a> shows what the other change was.',
        subject,
        who,
        reverse(f"admin:catalogue_{_MODELS.get(subject, subject)}_change", args=(subject_id,)),
        log_address(subject, subject_id),
    )


def log_address(subject: str, subject_id: int | str) -> str:
    """Return the address of the log of one thing."""
    return f"{reverse('admin:catalogue_change_changelist')}?{urlencode({'subject': subject, 'subject_id': subject_id})}"


_PLAIN = (
    (re.compile(r"Expected `(?:int|float)` >= (\S+)"), r"It must be \1 or more."),
    (re.compile(r"Expected `(?:int|float)` <= (\S+)"), r"It must be \1 or less."),
    (re.compile(r"Expected `str` of length <= (\d+)"), r"It may have \1 characters at most."),
    (re.compile(r"Expected `array` of length <= (\d+)"), r"There may be \1 at most."),
    (re.compile(r"(must .*)"), r"It \1."),
)


def plain_words(reason: str) -> str:
    """Return what the validation of a document says in the words of a form."""
    for pattern, words in _PLAIN:
        if pattern.match(reason):
            return pattern.sub(words, reason)
    return reason[:1].upper() + reason[1:]
