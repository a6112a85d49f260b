"""`manage.py check` finds a configuration that cannot work as meant."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.test import override_settings

from gunicorn_prometheus_django.checks import MIDDLEWARE
from tests.integrations import django_site

django_site.start()


def ours(**overrides: Any) -> dict[str, str]:
    """Return what the checks say of these settings, by id."""
    with override_settings(**overrides):
        return {each.id: each.msg for each in run_checks() if "prometheus" in (each.id or "")}


def test_a_good_configuration_is_passed() -> None:
    """Nothing is said of what works."""
    values = {"EXCLUDE": ["/healthz"], "BUCKETS": [0.1, 1], "MODELS": ["django_site.Order"]}

    assert ours(GUNICORN_PROMETHEUS=values) == {}
    assert ours() == {}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"EXLCUDE": []}, "'EXLCUDE'"),
        ({"exclude": []}, "'exclude'"),
        ({"BUCKETS": [3, 1]}, "BUCKETS=[3, 1]"),
        ({"GROUP_STATUS": "maybe"}, "GROUP_STATUS='maybe'"),
        ({"DATABASE": "yes"}, "DATABASE='yes'"),
        ({"MODELS": "shop.Order"}, "MODELS='shop.Order'"),
        ({"METRICS_PATH": "metrics"}, "METRICS_PATH='metrics'"),
        ({"METRICS_AUTH": "no.such.callable"}, "METRICS_AUTH: 'no.such.callable'"),
        ({"LABELS": {"tenant": "no.such.callable"}}, "LABELS: 'no.such.callable'"),
        ([], "GUNICORN_PROMETHEUS=[]"),
    ],
)
def test_a_wrong_setting_is_an_error(
    values: Any, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named as the settings file spells it."""
    # Not by override_settings: it announces the change, and what follows settings would raise.
    monkeypatch.setattr(settings, "GUNICORN_PROMETHEUS", values, raising=False)

    messages = ours()

    assert list(messages) == ["gunicorn_prometheus.E001"]
    assert named in messages["gunicorn_prometheus.E001"]


def test_a_missing_middleware_is_a_warning() -> None:
    """Without it requests have no endpoints."""
    rest = [each for each in settings.MIDDLEWARE if each != MIDDLEWARE]

    assert list(ours(MIDDLEWARE=rest)) == ["gunicorn_prometheus.W001"]


def test_a_middleware_out_of_place_is_a_warning() -> None:
    """What stands before it answers unseen."""
    rest = [each for each in settings.MIDDLEWARE if each != MIDDLEWARE]

    assert list(ours(MIDDLEWARE=[*rest, MIDDLEWARE])) == ["gunicorn_prometheus.W002"]


def test_a_middleware_listed_twice_is_a_warning() -> None:
    """Once is enough."""
    assert list(ours(MIDDLEWARE=[MIDDLEWARE, *settings.MIDDLEWARE])) == ["gunicorn_prometheus.W003"]
