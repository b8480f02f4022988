"""The addresses that Django answers. Django imports it by name from settings."""

from django.urls import path

from matinee.http.admin.site import site

urlpatterns = [path("admin/", site.urls)]
