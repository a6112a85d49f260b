"""The setting `GUNICORN_PROMETHEUS`: one dictionary, read when it is needed.

| key            | default | meaning                                                              |
|----------------|---------|----------------------------------------------------------------------|
| EXCLUDE        | []      | paths or URL templates to leave out, `*` matches anything            |
| LABELS         | {}      | extra labels: from name to a callable on the request, or its path    |
| BUCKETS        | None    | bounds of the request durations in seconds                           |
| GROUP_STATUS   | False   | label statuses as `2xx` instead of `200`                             |
| INCLUDE_PREFIX | False   | put SCRIPT_NAME before each endpoint                                 |
| METRICS_PATH   | ""      | serve the metrics inside the project at this path                    |
| METRICS_AUTH   | None    | a callable on the request, or its path; a false answer is a 403      |
| DATABASE       | False   | count queries, their errors and durations, and connections           |
| CACHE          | False   | count gets, hits and misses                                          |
| MODELS         | False   | count inserts, updates, deletes: True, or a list of models           |
| MIGRATIONS     | False   | show how many migrations are applied and unapplied                   |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from gunicorn_prometheus_exporter.adapter import AdapterSettings, Labeller
from gunicorn_prometheus_exporter.errors import SettingsError

SETTING = "GUNICORN_PROMETHEUS"

_NOTHING_SET: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Configuration:
    """What a project set: the settings of every adapter, and those that only Django has.

    models: the models to count by their labels, or True for all of them.
    """

    adapter: AdapterSettings
    labeller: Labeller
    database: bool = False
    cache: bool = False
    models: bool | tuple[str, ...] = False
    migrations: bool = False


def current() -> Configuration:
    """Return the configuration as the settings are now; raise SettingsError naming a wrong one."""
    return _reader.current()


def read() -> Configuration:
    """Return the configuration, read afresh; raise SettingsError naming a wrong value."""
    return _reader.read()


class _Reader:
    """Builds the configuration again only where the dictionary is another one than before."""

    def __init__(self) -> None:
        self._known: tuple[object, Configuration] | None = None

    def current(self) -> Configuration:
        # Once asked for, a setting stands in the lazy object's own dictionary until it changes.
        # One that is not set never does, and asking for it costs more than all else we do.
        values = vars(django_settings).get(SETTING, _NOTHING_SET)
        known = self._known
        return known[1] if known is not None and known[0] is values else self.read()

    def read(self) -> Configuration:
        setting_changed.connect(self._forget, dispatch_uid=__name__)
        values = getattr(django_settings, SETTING, _NOTHING_SET)
        self._known = (values, configuration_of(values))
        return self._known[1]

    def _forget(self, setting: str, **signal: Any) -> None:
        if setting == SETTING:
            self._known = None


_reader = _Reader()


def configuration_of(values: Any) -> Configuration:
    """Return the configuration that the dictionary `values` spells; raise SettingsError."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{SETTING}={values!r} cannot be used: it must be a dictionary.")
    known = {name.upper() for name in AdapterSettings.names()} | set(_OWN)
    for key in values:
        if key not in known:
            allowed = ", ".join(sorted(known))
            raise SettingsError(f"{SETTING}: unknown key {key!r}; known are: {allowed}.")
    own = {key.lower(): _own(key, values[key]) for key in _OWN if key in values}
    shared = {key.lower(): _shared(key, values[key]) for key in values if key not in _OWN}
    adapter = AdapterSettings.from_mapping(shared)
    return Configuration(adapter, Labeller(adapter), **own)


def _shared(key: str, value: Any) -> Any:
    """Return the value of a key that every adapter has, in the form the core takes, checked."""
    value, name = _imported(key, value), key.lower()
    try:
        AdapterSettings.from_mapping({name: value})
    except SettingsError as error:
        raise SettingsError(f"{SETTING}: {key}{str(error).removeprefix(name)}") from None
    return value


def _imported(key: str, value: Any) -> Any:
    """Return `value` with dotted paths replaced by the callables they lead to."""
    if key == "METRICS_AUTH":
        return _callable(key, value)
    if key == "LABELS" and isinstance(value, Mapping):
        return {name: _callable(key, source) for name, source in value.items()}
    return value


def _callable(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return import_string(value)
    except ImportError as error:
        raise SettingsError(f"{SETTING}: {key}: {value!r} cannot be imported: {error}.") from error


def _own(key: str, value: Any) -> Any:
    try:
        return _OWN[key](value)
    except ValueError as error:
        raise SettingsError(
            f"{SETTING}: {key}={value!r} cannot be used: it must be {error}."
        ) from None


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _model_labels(value: Any) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError('True, False or a list such as ["shop.Order"]')
    return tuple(value)


_OWN: Mapping[str, Callable[[Any], Any]] = {
    "DATABASE": _switch,
    "CACHE": _switch,
    "MODELS": _model_labels,
    "MIGRATIONS": _switch,
}
"""The keys that only Django has, each with what parses it."""
