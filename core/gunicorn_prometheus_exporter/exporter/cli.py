"""The command `gunicorn-prometheus-exporter`: the exporter on its own, as a sidecar for example."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from gunicorn_prometheus_exporter.errors import PrometheusExporterError
from gunicorn_prometheus_exporter.exporter.assembly import build_server, open_volume
from gunicorn_prometheus_exporter.exporter.listener import describe, listen, metrics_url
from gunicorn_prometheus_exporter.exporter.order import VolumeSpec
from gunicorn_prometheus_exporter.exporter.source import MetricsSource
from gunicorn_prometheus_exporter.settings import Settings

if TYPE_CHECKING:
    from gunicorn_prometheus_exporter.redis.shared import SharedMetrics

_DISTRIBUTION = "gunicorn-prometheus-exporter"
_VARIABLES = {field.name: field.metadata["variable"] for field in fields(Settings)}

_OPTIONS: Mapping[str, tuple[str, str, str]] = {
    "metrics_port": ("--port", "PORT", "serve on this port; 0 takes a free one"),
    "bind_address": ("--bind", "ADDRESS", "serve on this address"),
    "multiproc_dir": ("--multiproc-dir", "DIR", "read the metrics in this directory"),
    "redis_url": ("--redis", "URL", "serve the sum of all instances that publish to this Redis"),
    "redis_app": ("--app", "NAME", "the application in that Redis"),
    "redis_key_prefix": ("--prefix", "PREFIX", "what its keys start with"),
    "ssl_certfile": ("--ssl-certfile", "FILE", "serve TLS with this certificate"),
    "ssl_keyfile": ("--ssl-keyfile", "FILE", "the key of that certificate"),
    "ssl_client_cafile": (
        "--ssl-client-cafile",
        "FILE",
        "trust clients these authorities vouch for",
    ),
}
"""The options that spell a setting: name of the setting, option, value, help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, or 2 with one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        serve(Settings.from_environ(_environ(options)))
    except PrometheusExporterError as error:
        print(f"{_DISTRIBUTION}: {error}", file=sys.stderr)
        return 2
    return 0


def serve(settings: Settings) -> None:
    """Serve in the foreground until SIGTERM or SIGINT; raises PrometheusExporterError."""
    source, shared = _metrics(settings)
    host, port = settings.bind_address, settings.metrics_port
    try:
        listener = listen(host, port)
    except OSError as error:
        reason = describe(error)
        raise PrometheusExporterError(f"cannot listen on {host} port {port}: {reason}.") from None
    with listener:
        server = build_server(settings, source, listener, title=_title(settings), shared=shared)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        url = metrics_url(listener, host, tls=bool(settings.ssl_certfile))
        print(f"Prometheus metrics on {url}", file=sys.stderr, flush=True)
        if shared is not None:
            shared.start()
        server.run()


def _metrics(settings: Settings) -> tuple[MetricsSource, SharedMetrics | None]:
    """Return what is served: a directory, or what is shared through Redis."""
    if not settings.redis:
        return MetricsSource(open_volume(_volume_spec(settings))), None
    from gunicorn_prometheus_exporter.redis.client import require_redis
    from gunicorn_prometheus_exporter.redis.shared import central

    require_redis(settings)
    return central(settings)


def _volume_spec(settings: Settings) -> VolumeSpec:
    directory = settings.multiproc_dir
    if not directory:
        raise PrometheusExporterError(
            "say where the metrics are: --multiproc-dir DIR, or PROMETHEUS_MULTIPROC_DIR. "
            "In Redis: --redis URL, or REDIS_URL."
        )
    if not os.path.isdir(directory):
        raise PrometheusExporterError(f"{directory!r} is not a directory.")
    if not os.access(directory, os.R_OK | os.X_OK):
        raise PrometheusExporterError(f"the directory {directory!r} may not be read.")
    return {"directory": directory}


def _title(settings: Settings) -> str:
    return settings.redis_app if settings.redis else settings.multiproc_dir


def _environ(options: argparse.Namespace) -> dict[str, str]:
    """Return the environment with the options in place of what they override."""
    given = {_VARIABLES[name]: value for name, value in vars(options).items() if value is not None}
    return {**os.environ, **given}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_DISTRIBUTION, description="Prometheus metrics of gunicorn, served on their own."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(
        commands.add_parser(
            "serve",
            help="serve what a gunicorn elsewhere writes, for example as its sidecar",
            description="Serve the metrics that a gunicorn elsewhere writes, until SIGTERM or "
            "SIGINT. Every setting may also be given by the variable in parentheses.",
        )
    )
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    for name, (option, value, text) in _OPTIONS.items():
        help_text = f"{text} ({_VARIABLES[name]})"
        parser.add_argument(option, dest=name, metavar=value, help=help_text)
    parser.add_argument(
        "--ssl-client-auth-required",
        dest="ssl_client_auth_required",
        action="store_const",
        const="true",
        help=f"refuse clients without a certificate ({_VARIABLES['ssl_client_auth_required']})",
    )


def _version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
