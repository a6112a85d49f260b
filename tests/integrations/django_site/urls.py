"""The URLs: those of the conformance suite, and one for each row of the tables."""

from __future__ import annotations

from typing import Any

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path, re_path, register_converter
from django.urls.converters import get_converters
from django.utils.functional import lazy
from django.utils.translation import get_language
from rest_framework.routers import DefaultRouter

from gunicorn_prometheus_django import views as metrics_views
from tests.integrations.django_site import views


class FourDigits:
    """A converter of the project's own."""

    regex = "[0-9]{4}"

    def to_python(self, value: str) -> int:
        """Return the year."""
        return int(value)

    def to_url(self, value: Any) -> str:
        """Return its spelling."""
        return f"{value:04}"


if "yyyy" not in get_converters():
    register_converter(FourDigits, "yyyy")

router = DefaultRouter()
router.register("items", views.ItemViewSet, basename="item")

translated = lazy(lambda: "preise/" if get_language() == "de" else "prices/", str)()

items = [path("", views.plain), path("<int:pk>/", views.plain), path("leaf", views.plain)]

urlpatterns = [
    path("", views.plain),
    # The conformance suite.
    path("plain", views.plain),
    path("users/<int:pk>", views.user),
    path("absent", views.absent),
    path("boom", views.boom),
    path("swallowed", views.swallowed),
    path("stream", views.stream),
    path("broken-stream", views.broken_stream),
    path("hidden", views.hidden),
    path("healthz", views.plain),
    path("labelled", views.plain),
    path("bucketed", views.plain),
    path("grouped", views.plain),
    path("prefixed", views.plain),
    # Everything else.
    path("api/v1/", include(items)),
    path("api/v2/", include(items)),
    path("tenants/<slug:tenant>/", include([path("shop/", include(items))])),
    re_path(r"^articles/(?P<year>[0-9]{4})/(?P<slug>[\w-]+)/$", views.plain),
    re_path(r"^shops/(?P<shop>\w+)/", include(items)),
    path("c++/", include([re_path(r"^(?P<page>\d+)\.html$", views.plain)])),
    re_path(r"^comments/(?:page-(?P<page>\d+)/)?$", views.plain),
    re_path(r"^pairs/(\d+)/(\d+)/$", views.plain),
    path("archive/<yyyy:year>/", views.plain),
    path("files/<path:rest>", views.plain),
    path("drf/", include(router.urls)),
    path("admin/", admin.site.urls),
    path("async/<int:pk>", views.plain_async),
    path("async-class/<int:pk>", views.AsyncView.as_view()),
    path("boom-async", views.boom_async),
    path("sleep", views.sleep),
    path("forbidden", views.forbidden),
    path("suspicious", views.suspicious),
    path("hidden-class", views.HiddenView.as_view()),
    path("metrics-view", metrics_views.metrics),
    *i18n_patterns(path("about/", views.plain), path(translated, views.plain)),
]
