"""How a gunicorn process comes to be observed, from `worker_class` alone.

gunicorn imports the worker class and calls its `setup()` before it loads the application: then the
value class for the application's metrics is installed. Just before the first fork `check_config()`
chains the `when_ready` hook, which hands over the running arbiter; where our class arrives later,
with a reload, the `pre_fork` hook does. Nothing is patched, and the user's own hooks are called.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from gunicorn_prometheus_exporter import values
from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.instruments import Instruments
from gunicorn_prometheus_exporter.limits import SeriesLimit
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.store import process_store

_instruments: Instruments | None = None


def process_instruments() -> Instruments:
    """Return what the metrics of this process are written with, following it through forks."""
    global _instruments
    if _instruments is None:
        # A wrong setting stops the start later on, when there is a log to say so.
        maximum = lenient_settings().max_series
        _instruments = Instruments(process_store(), SeriesLimit(maximum))
    return _instruments


def lenient_settings() -> Settings:
    """Return the settings of the environment, or the defaults where they cannot be used."""
    try:
        return Settings.from_environ(os.environ)
    except SettingsError:
        return Settings()


def install() -> None:
    """Let the metrics that the application makes from now on be shared between processes."""
    values.install(process_instruments())


def chain(cfg: Any, name: str, function: Callable[..., None], *, last: bool = False) -> None:
    """Have the server hook `name` of `cfg` call `function` beside what it calls now, once.

    last: after the user's own hook, not before it.
    """
    user = getattr(cfg, name)
    if getattr(user, "chained", None) is function:
        return

    @functools.wraps(user)  # gunicorn checks the number of arguments of what it is given
    def hook(*args: Any) -> None:  # gunicorn does not look at what a hook returns
        for one in (user, function) if last else (function, user):
            one(*args)

    hook.chained = function  # type: ignore[attr-defined]
    cfg.set(name, hook)
