"""Pages whose every save, deletion and action goes through the write room, with `admin:NAME` as the actor.

The parent of the pages of movies, people, genres and keys. It must never save or delete a model itself. When the write room
refuses a save, the form is shown again with the reason; when the leader is away, with a 503.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as confirm_deletion
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from unfold.paginator import InfinitePaginator

from matinee.errors import MatineeError, RequestError, Unavailable
from matinee.http.admin.keyset import ListAdmin, is_id
from matinee.http.admin.seen_form import SeenForm, log_address
from matinee.http.admin.unavailable import as_unavailable, with_retry
from matinee.storage import leader_link
from matinee.storage.models import Change

# Where a request carries what one step of Django's admin has to tell a later one.
_REFUSAL = "matinee.admin.refusal"
_UNCHANGED = "matinee.admin.unchanged"
_SHOWN_CHARS = 40  # of an id that does not exist: the message travels in a cookie


def actor(request: HttpRequest) -> str:
    """Return who acts, as the log of changes names them."""
    return f"admin:{request.user.get_username()}"


def _may_read_log(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("catalogue.view_change"))


class WrittenAdmin(ListAdmin):
    """The pages of one kind of thing that the write room writes; `subject` is what the log calls it."""

    subject = ""
    actions: tuple[str, ...] = ("delete_selected",)
    paginator = InfinitePaginator  # for Django's own address of options, which must not count either
    change_form_before_template = "matinee_admin/seen.html"

    def write(self, request: HttpRequest, obj: Any, form: Any, formsets: Any) -> bool:
        """Add or change the thing, give `obj` its id, and return whether anything changed. Raises: MatineeError."""
        raise NotImplementedError

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Delete the thing. Raises: MatineeError."""
        raise NotImplementedError

    # A save: Django validates, then calls save_model and save_related; the write room is called once, in the second.

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponseBase:
        """Answer the form; when its save is refused, answer it again with the reason and what was typed."""
        try:
            response: HttpResponseBase = super().changeform_view(request, object_id, form_url, extra_context)
        except RequestError as error:
            refusal: MatineeError = error
        except (Unavailable, *leader_link.LOST) as error:
            refusal = as_unavailable(error, request)
        else:
            return response
        if request.method != "POST":
            raise refusal
        request.META[_REFUSAL] = refusal
        # Not the method of above: that one opens a transaction, which needs the leader.
        again: HttpResponse = self._changeform_view(request, object_id, form_url, extra_context)
        return with_retry(again) if isinstance(refusal, Unavailable) else again

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form's class, which knows why an earlier attempt of this request was refused."""
        form = super().get_form(request, obj, change=change, **kwargs)
        if not issubclass(form, SeenForm):
            return form
        return type(form.__name__, (form,), {"refusal": request.META.get(_REFUSAL), "subject": self.subject})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Do nothing; see save_related."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Write the thing with all that belongs to it, in one transaction."""
        if not self.write(request, form.instance, form, formsets):
            request.META[_UNCHANGED] = True

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponseBase:
        """Say so when there was nothing to save."""
        if _UNCHANGED not in request.META:
            response: HttpResponseBase = super().response_change(request, obj)
            return response
        self.message_user(request, f"“{obj}” is as it was: there was nothing to save.", messages.INFO)
        if "_continue" in request.POST:
            return HttpResponseRedirect(request.get_full_path())
        saved: HttpResponseBase = self.response_post_save_change(request, obj)
        return saved

    # Deletion, one by one or many.

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Return what is deleted: the things themselves, and nothing is loaded to find that out."""
        names = [str(obj) for obj in objs]
        return names, {str(self.opts.verbose_name_plural): len(names)}, set(), []

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponseBase:
        """Delete one thing, or say why that cannot be."""
        try:
            response: HttpResponseBase = super().delete_view(request, object_id, extra_context)
        except RequestError as error:
            self.message_user(request, error.detail, messages.ERROR)
            return HttpResponseRedirect(self.address("change", unquote(object_id)))
        return response

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete one thing through the write room."""
        self.remove(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete these things through the write room, one by one; those that must stay are named to the user."""
        self.each(request, queryset, lambda obj: self.remove(request, obj), "deleted")

    @admin.action(permissions=["delete"], description="Delete selected %(verbose_name_plural)s")
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        """Ask first; then delete what can be deleted, and tell how many were."""
        if request.POST.get("post"):
            self.delete_queryset(request, queryset)
            return None
        return confirm_deletion(self, request, queryset)

    def each(self, request: HttpRequest, things: Iterable[Any], act: Callable[[Any], object], done: str) -> None:
        """Do something to each thing, each in its own transaction; stop when the leader is away."""
        count = 0
        for thing in things:
            name = str(thing)
            try:
                act(thing)
            except MatineeError as error:
                self.message_user(request, f"“{name}” was not {done}: {error.detail}", messages.ERROR)
                if isinstance(error, Unavailable):
                    as_unavailable(error, request)
                    break
            else:
                count += 1
        if count:
            noun = self.opts.verbose_name if count == 1 else self.opts.verbose_name_plural
            self.message_user(request, f"{count} {noun} {'was' if count == 1 else 'were'} {done}.", messages.SUCCESS)

    # The log of changes takes the place of Django's own, which would be a second truth.

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        """Do nothing: the write room has logged it."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:
        """Do nothing: the write room has logged it."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:
        """Do nothing: the write room will log it."""

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> list[Any]:
        """Return nothing: the log knows the fields."""
        return []

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponseBase:
        """Show the thing's rows in the log of changes. Raises: PermissionDenied for whoever may not see both."""
        if not (self.has_view_or_change_permission(request) and _may_read_log(request)):
            raise PermissionDenied
        return HttpResponseRedirect(log_address(self.subject, unquote(object_id)))

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponseBase:
        text = f"There is no {self.opts.verbose_name} {unquote(object_id)[:_SHOWN_CHARS]}."
        if is_id(number := unquote(object_id)) and _may_read_log(request):
            newest = Change.objects.filter(subject=self.subject, subject_id=number).order_by("-position").first()
            if newest is not None:
                text = f"{text[:-1]} any more: {newest.actor}, {newest.kind} at {newest.at:%Y-%m-%d %H:%M:%S} UTC."
        self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(self.address("changelist"))

    def address(self, page: str, *args: Any) -> str:
        """Return the address of one of these pages."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}", args=args)
