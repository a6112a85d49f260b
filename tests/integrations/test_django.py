"""The Django adapter does what every adapter does, under WSGI and ASGI."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from gunicorn_prometheus_django import routes
from gunicorn_prometheus_exporter.errors import SettingsError
from tests.conformance.adapters import METRICS_PATH, AdapterConformance, Client, moved
from tests.integrations import django_site

django_site.start()


class DjangoConformance(AdapterConformance):
    """The suite, with the settings of Django."""

    protocol = "wsgi"
    user_template = "/users/<int:pk>"

    @pytest.fixture(autouse=True)
    def _settings_end_with_the_test(self) -> Iterator[None]:
        self.overrides: list[override_settings] = []
        yield
        while self.overrides:
            self.overrides.pop().disable()

    def client(self, **settings: Any) -> Client:
        """Start a handler under these settings, which Django spells in capitals."""
        values = {name.upper(): value for name, value in settings.items()}
        override = override_settings(GUNICORN_PROMETHEUS=values)
        try:
            override.enable()
            self.overrides.append(override)
            return django_site.calls(self.protocol)
        except SettingsError as error:
            # The suite looks for the name as the other frameworks spell it.
            raise SettingsError(str(error).lower()) from error

    def break_resolver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*arguments: object) -> None:
            raise RuntimeError("the resolver is broken")

        monkeypatch.setattr(routes, "match_of", broken)

    def test_the_metrics_can_be_a_view(self) -> None:
        """`views.metrics` in the URLs asks the auth hook too, and does not count itself."""
        call = self.client()

        assert b"gunicorn_requests_total" in call("/metrics-view").body
        assert moved(lambda: call("/metrics-view"), "gunicorn_requests_total") == 0
        assert self.client(metrics_auth=lambda request: False)("/metrics-view").status == 403

    def test_a_dotted_path_is_a_callable(self) -> None:
        """Settings files need not import what they name."""
        call = self.client(
            metrics_path=METRICS_PATH,
            metrics_auth="tests.integrations.django_site.hooks.refuse",
            labels={"method_length": "tests.integrations.django_site.hooks.method_length"},
        )

        assert call(METRICS_PATH).status == 403
        labels = {"endpoint": "/plain", "method_length": "3"}
        assert moved(lambda: call("/plain"), "gunicorn_requests_total", **labels) == 1

    def test_a_marked_class_is_left_out(self) -> None:
        """The marker works on view classes."""
        call = self.client()

        assert moved(lambda: call("/hidden-class"), "gunicorn_requests_total") == 0


class TestDjangoUnderWSGI(DjangoConformance):
    """The suite through WSGIHandler."""

    protocol = "wsgi"


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function SpooledTemp:pytest.PytestUnraisableExceptionWarning"
)
class TestDjangoUnderASGI(DjangoConformance):
    """The suite through ASGIHandler."""

    protocol = "asgi"
    random_requests = 1_000

    @pytest.fixture(autouse=True)
    def _collect_what_django_leaves_open(self) -> Iterator[None]:
        """Django's ASGIHandler does not close the request body where a stream breaks."""
        yield
        gc.collect()
