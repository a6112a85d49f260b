"""What including the package does: settings, tween, view marker, metrics view."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pyramid.config import Configurator
from pyramid.interfaces import ITweens
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.tweens import EXCVIEW, INGRESS
from pyramid.viewderivers import INGRESS as FIRST_DERIVER

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
        tell_excluded, name="gunicorn_prometheus", under=FIRST_DERIVER, over="secured_view"
    )
    config.action(("gunicorn_prometheus", "tween"), add_tween, args=(config,), order=_LAST)
    if settings.metrics_path:
        config.add_route(METRICS_ROUTE, settings.metrics_path)
        config.add_view(metrics_view, route_name=METRICS_ROUTE, permission=NO_PERMISSION_REQUIRED)


def add_tween(config: Configurator) -> None:
    """Add our tween after all others: the last one is the outermost, and sees what those answer."""
    # Not by config.add_tween(): that is an action of its own, and it is too late for those.
    tweens = config.registry.getUtility(ITweens)
    tweens.add_implicit(TWEEN, config.maybe_dotted(TWEEN), under=INGRESS, over=EXCVIEW)
    warn_if_dropped([name for name, _ in tweens.explicit])


def warn_if_dropped(explicit: Sequence[str]) -> None:
    """Warn where a `pyramid.tweens` setting leaves our tween out: nothing else would tell."""
    if explicit and TWEEN not in explicit:
        logger.warning(
            "pyramid.tweens does not name %s: requests have no endpoints and no exceptions "
            "in the metrics, and without a worker of ours there are none at all. "
            "Put it first in pyramid.tweens.",
            TWEEN,
        )


def read_settings(config: Configurator) -> AdapterSettings:
    """Return what the settings under our prefix spell; raise SettingsError naming a wrong one."""
    values: dict[str, Any] = {}
    labels: dict[str, Any] = {}
    for key, value in settings_under_prefix(config.registry.settings or {}).items():
        kind, _, label = key.partition(".")
        if kind == "labels" and label:
            labels[label] = _dotted(config, key, value)
        else:
            values[key] = _dotted(config, key, value) if key == "metrics_auth" else value
    if labels:
        values["labels"] = {**values.get("labels", {}), **labels}
    try:
        return AdapterSettings.from_mapping(values)
    except SettingsError as error:
        raise SettingsError(PREFIX + str(error)) from None


def settings_under_prefix(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings without their prefix."""
    return {
        key.removeprefix(PREFIX): value for key, value in settings.items() if key.startswith(PREFIX)
    }


def _dotted(config: Configurator, name: str, value: Any) -> Any:
    try:
        return config.maybe_dotted(value)
    except (ImportError, ValueError) as error:
        raise SettingsError(f"{PREFIX}{name}={value!r} cannot be imported: {error}.") from error
