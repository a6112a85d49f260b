"""What optional workers need, and what to say when it is absent."""

from __future__ import annotations

import importlib.util

import gunicorn

from gunicorn_prometheus_exporter.errors import MissingDependencyError


def require(worker: str, extra: str, *modules: str) -> None:
    """Raise MissingDependencyError, naming the extra to install, if a module is absent."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"{worker} needs {' and '.join(missing)}: "
            f'pip install "gunicorn-prometheus-exporter[{extra}]"'
        )


def require_gunicorn(worker: str, major: int) -> None:
    """Raise MissingDependencyError if gunicorn is older than `major`."""
    if gunicorn.version_info[0] < major:
        raise MissingDependencyError(
            f"{worker} needs gunicorn >= {major}, this is {gunicorn.__version__}: "
            f'pip install "gunicorn>={major}"'
        )
