"""Model metrics: how many objects are inserted, updated and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from gunicorn_prometheus_django.instruments import model_metrics
from gunicorn_prometheus_exporter.errors import SettingsError

_listening: list[type[Model] | None] = []


def enable(models: bool | Sequence[str]) -> None:
    """Count the objects of these models, given by label (`shop.Order`), or of all for True.

    A model that is counted loses Django's fast path for bulk deletes: its rows are fetched first.
    What sends no signals is not counted: bulk_create, and update() on a query set.
    """
    model_metrics()
    disable()
    _listening.extend([None] if isinstance(models, bool) else [_model(each) for each in models])
    for model in _listening:
        post_save.connect(_on_save, sender=model, dispatch_uid=__name__)
        post_delete.connect(_on_delete, sender=model, dispatch_uid=__name__)


def disable() -> None:
    """Count no longer."""
    while _listening:
        model = _listening.pop()
        post_save.disconnect(sender=model, dispatch_uid=__name__)
        post_delete.disconnect(sender=model, dispatch_uid=__name__)


def _model(label: str) -> type[Model]:
    try:
        return apps.get_model(label)  # type: ignore[no-any-return]
    except (LookupError, ValueError, ImproperlyConfigured) as error:
        raise SettingsError(f"GUNICORN_PROMETHEUS: MODELS: {label!r}: {error}") from None


def _on_save(sender: type[Model], created: bool, **signal: Any) -> None:
    metrics = model_metrics()
    (metrics.inserts if created else metrics.updates).labels(sender._meta.label).inc()


def _on_delete(sender: type[Model], **signal: Any) -> None:
    model_metrics().deletes.labels(sender._meta.label).inc()
