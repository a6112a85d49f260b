"""What including the package does: settings, tween, view marker, metrics view."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pyramid.config import Configurator
from pyramid.events import ApplicationCreated
from pyramid.interfaces import ITweens
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.tweens import EXCVIEW
from pyramid.viewderivers import INGRESS

from gunicorn_prometheus_exporter.adapter import AdapterSettings, Labeller
from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_pyramid.marker import tell_excluded
from gunicorn_prometheus_pyramid.view import METRICS_ROUTE, metrics_view

logger = logging.getLogger("gunicorn_prometheus_exporter")

PREFIX = "gunicorn_prometheus."
TWEEN = "gunicorn_prometheus_pyramid.tween_factory"

_LAST = 1000
"""The order of an action that runs when the application's own ones have run."""


def includeme(config: Configurator) -> None:
    """Set up everything that the package's own `includeme` promises; raise SettingsError."""
    settings = read_settings(config)
    config.registry.gunicorn_prometheus = Labeller(settings)
    # Outside the security check: a view that is left out is so for those who may not see it too.
    config.add_view_deriver(
        tell_excluded, name="gunicorn_prometheus", under=INGRESS, over="secured_view"
    )
    # The tween that is added last comes first: what other tweens answer has to pass it.
    config.action(None, lambda: config.add_tween(TWEEN, over=EXCVIEW), order=_LAST)
    config.add_subscriber(warn_if_dropped, ApplicationCreated)
    if settings.metrics_path:
        config.add_route(METRICS_ROUTE, settings.metrics_path)
        config.add_view(metrics_view, route_name=METRICS_ROUTE, permission=NO_PERMISSION_REQUIRED)


def read_settings(config: Configurator) -> AdapterSettings:
    """Return what the settings under our prefix spell; raise SettingsError naming a wrong one."""
    values = settings_under_prefix(config.registry.settings or {})
    values["labels"] = {name: _dotted(config, each) for name, each in values["labels"].items()}
    if "metrics_auth" in values:
        values["metrics_auth"] = _dotted(config, values["metrics_auth"])
    try:
        return AdapterSettings.from_mapping(values)
    except SettingsError as error:
        raise SettingsError(PREFIX + str(error)) from None


def settings_under_prefix(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings without their prefix, with all `labels.<name>` in one mapping."""
    values: dict[str, Any] = {}
    labels: dict[str, Any] = {}
    for key, value in settings.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if name.startswith("labels."):
            labels[name.removeprefix("labels.")] = value
        elif name == "labels":
            labels.update(value)
        else:
            values[name] = value
    return {**values, "labels": labels}


def _dotted(config: Configurator, value: Any) -> Any:
    try:
        return config.maybe_dotted(value)
    except (ImportError, ValueError) as error:
        raise SettingsError(f"{PREFIX}*: {value!r} cannot be imported: {error}.") from error


def warn_if_dropped(event: ApplicationCreated) -> None:
    """Warn where a `pyramid.tweens` setting leaves our tween out: nothing else would tell."""
    explicit = [name for name, _ in event.app.registry.getUtility(ITweens).explicit]
    if explicit and TWEEN not in explicit:
        logger.warning(
            "pyramid.tweens does not name %s: requests have no endpoints and no exceptions "
            "in the metrics, and without a worker of ours there are none at all. "
            "Put it first in pyramid.tweens.",
            TWEEN,
        )
