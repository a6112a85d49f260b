"""The Pyramid adapter does what every adapter does."""

from __future__ import annotations

from typing import Any

import pytest

from gunicorn_prometheus_pyramid import tween
from tests.conformance.adapters import METRICS_PATH, AdapterConformance, Client, moved
from tests.integrations import pyramid_site


class TestPyramid(AdapterConformance):
    """The suite, with the settings of Pyramid."""

    user_template = "/users/{id}"
    wrong_method_status = 404  # a view predicate: Pyramid knows no 405

    def client(self, **settings: Any) -> Client:
        """Make the application."""
        return pyramid_site.calls(**settings)

    def break_resolver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Break what the tween asks."""

        def broken(*arguments: object) -> None:
            raise RuntimeError("the resolver is broken")

        monkeypatch.setattr(tween, "template_of", broken)

    def test_settings_of_an_ini_file_are_strings(self) -> None:
        """Lists, numbers, switches and callables are read from them."""
        call = self.client(
            **{
                "exclude": "/healthz\n/vmeth/*",
                "buckets": "0.5, 2",
                "group_status": "true",
                "labels.method_length": "tests.integrations.pyramid_hooks.method_length",
                "metrics_path": METRICS_PATH,
                "metrics_auth": "tests.integrations.pyramid_hooks.refuse",
            }
        )

        labels = {"endpoint": "/star/*rest", "status": "2xx", "method_length": "3"}
        assert moved(lambda: call("/star/a/b"), "gunicorn_requests_total", **labels) == 1
        assert moved(lambda: call("/healthz"), "gunicorn_requests_total") == 0
        assert moved(lambda: call("/vmeth/3"), "gunicorn_requests_total") == 0
        assert call(METRICS_PATH).status == 403

    @pytest.mark.parametrize("path", ["/hidden-class", "/hidden-method"])
    def test_marked_classes_and_methods_are_left_out(self, path: str) -> None:
        """The marker works on all kinds of views, and only there."""
        call = self.client()

        assert call(path).status == 200
        assert moved(lambda: call(path), "gunicorn_requests_total") == 0
        assert moved(lambda: call("/shown-method"), "gunicorn_requests_total") == 1
