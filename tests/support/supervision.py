"""A supervisor of the exporter process, with the test in the role of the gunicorn master."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.mmap_dict import MmapedDict, mmap_key

from gunicorn_prometheus_exporter.exporter.supervisor import ExporterSupervisor
from gunicorn_prometheus_exporter.settings import Settings
from tests.support import http
from tests.support.samples import Samples
from tests.support.waiting import wait_until


class RecordingLog:
    """A logger that remembers its messages."""

    def __init__(self) -> None:
        """Begin with nothing logged."""
        self.infos: list[str] = []
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def info(self, msg: str, *args: object) -> None:
        """Remember what is going on."""
        self.infos.append(msg % args)

    def warning(self, msg: str, *args: object) -> None:
        """Remember what repairs itself."""
        self.warnings.append(msg % args)

    def error(self, msg: str, *args: object) -> None:
        """Remember what somebody has to see to."""
        self.errors.append(msg % args)


@contextmanager
def supervising(
    volume: Path | Mapping[str, object],
    *,
    uid: int | None = None,
    gid: int | None = None,
    title: str = "test",
    **settings: Any,
) -> Iterator[tuple[ExporterSupervisor, RecordingLog]]:
    """Yield a supervisor that has not bound yet, with its log; stop it in the end."""
    log = RecordingLog()
    supervisor = ExporterSupervisor(
        log,
        local_settings(**settings),
        {"directory": str(volume)} if isinstance(volume, Path) else volume,
        os.geteuid() if uid is None else uid,
        os.getegid() if gid is None else gid,
        title=title,
    )
    try:
        yield supervisor, log
    finally:
        supervisor.stop()


@contextmanager
def exporting(volume: Path | Mapping[str, object], **options: Any) -> Iterator[ExporterSupervisor]:
    """Yield a supervisor whose process answers, and stop it in the end."""
    with supervising(volume, **options) as (supervisor, _):
        supervisor.bind()
        supervisor.tick()
        assert get(supervisor, "/-/ready").status == 200
        yield supervisor


def local_settings(**settings: Any) -> Settings:
    """Return settings for any port of the loopback interface."""
    return Settings(**{"bind_address": "127.0.0.1", "metrics_port": 0, **settings})


def get(supervisor: ExporterSupervisor, path: str, timeout: float = 20.0) -> http.Response:
    """Send one request to the port of `supervisor`."""
    assert supervisor.port is not None
    return http.request(("127.0.0.1", supervisor.port), path, timeout=timeout)


def scrape(supervisor: ExporterSupervisor) -> Samples:
    """Return the metrics that the process of `supervisor` serves."""
    return Samples(get(supervisor, "/metrics").text)


def tick_until(supervisor: ExporterSupervisor, condition: Callable[[], bool], what: str) -> None:
    """Tick until `condition` is true."""

    def is_true() -> bool:
        supervisor.tick()
        return condition()

    wait_until(is_true, message=what)


def tick_until_serving(supervisor: ExporterSupervisor, other_than: int | None = None) -> int:
    """Tick until there is a process, which is not `other_than`; return its id."""

    def pid() -> int | None:
        supervisor.tick()
        return supervisor.pid if supervisor.pid != other_than else None

    return wait_until(pid, message="the exporter process to be started") or 0


def write_counter(directory: Path, name: str, value: float, owner: str = "0") -> None:
    """Write a file with one counter, by the means of prometheus_client itself."""
    family = name.removesuffix("_total")
    key = mmap_key(family, name, [], [], "Written by a test.")
    file: Any = MmapedDict(str(directory / f"counter_{owner}.db"))  # type: ignore[no-untyped-call]
    file.write_value(key, value, 0.0)
    file.close()
