"""`worker_class` is all it takes, wherever it is set; and what cannot work stops the start."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gunicorn_prometheus_exporter.storage.contract import Region
from gunicorn_prometheus_exporter.storage.locks import try_lock
from gunicorn_prometheus_exporter.storage.place import AUTO_PREFIX
from tests.support.exits import wait_exits
from tests.support.gunicorn import WORKER, Gunicorn, running_gunicorn
from tests.support.versions import every_gunicorn, oldest_and_newest

THREADS = "gunicorn_prometheus_exporter.PrometheusThreadWorker"

PROGRAM = f"""
import sys
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from tests.support.apps import app

class OwnArbiter(Arbiter):
    killed = 0

    def kill_worker(self, pid, sig):
        self.log.info("own kill_worker")
        super().kill_worker(pid, sig)

class Program(BaseApplication):
    def load_config(self):
        self.cfg.set("worker_class", {WORKER!r})
        self.cfg.set("workers", 2)
        self.cfg.set("bind", "127.0.0.1:0")

    def load(self):
        return app

    def run(self):
        if "--own-arbiter" in sys.argv:
            OwnArbiter(self).run()
        else:
            super().run()

Program().run()
"""

WAYS: dict[str, dict[str, Any]] = {
    "configuration": {},
    "option": {"worker_class": None, "args": ["-k", WORKER]},
    "GUNICORN_CMD_ARGS": {"worker_class": None, "env": {"GUNICORN_CMD_ARGS": f"-k {WORKER}"}},
    "preload": {"preload": True},
}


def ask(server: Gunicorn, count: int) -> None:
    """Send so many requests, all answered 200."""
    for _ in range(count):
        assert server.get().status == 200


def stale_directories() -> set[Path]:
    """Return the automatic directories that no gunicorn holds any more."""
    return {path for path in Path("/dev/shm").glob(f"{AUTO_PREFIX}*") if _is_stale(path)}


def _is_stale(path: Path) -> bool:
    try:
        fd = os.open(path / "run.lock", os.O_RDWR)
    except OSError:
        return path.exists()
    try:
        return try_lock(Region(fd, 0, 1)) and path.exists()
    finally:
        os.close(fd)


@pytest.mark.parametrize("way", WAYS)
def test_the_worker_class_alone_is_enough(way: str) -> None:
    with running_gunicorn(**WAYS[way]) as server:
        ask(server, 5)

        metrics = server.wait_sum("gunicorn_requests_total", 5)
        assert metrics.sum("gunicorn_worker_requests_total") == 5
        assert metrics.value("gunicorn_workers") == 2
        assert len(server.exporter_pids()) == 1


@every_gunicorn
def test_an_option_of_the_command_line_is_enough_on_every_gunicorn(
    gunicorn_version: str | None,
) -> None:
    """Through a reload too, and with the application loaded before the fork."""
    way = WAYS["option"]
    with running_gunicorn(**way, preload=True, gunicorn_version=gunicorn_version) as server:
        ask(server, 3)
        before = server.worker_pids()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, but=before)
        ask(server, 4)

        server.wait_sum("gunicorn_requests_total", 7)


@pytest.mark.parametrize("arguments", [[], ["--own-arbiter"]], ids=["plain", "own arbiter"])
def test_a_program_that_runs_gunicorn_is_observed(arguments: list[str], tmp_path: Path) -> None:
    """With an arbiter class of its own too, whose methods stay in force."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with running_gunicorn(None, script=program, args=arguments) as server:
        ask(server, 3)
        before = server.worker_pids()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, but=before)
        ask(server, 3)

        server.wait_sum("gunicorn_requests_total", 6)
        wait_exits(server, {("hup", "graceful"): 2})
        assert ("own kill_worker" in server.log_text()) == bool(arguments)


@oldest_and_newest
def test_a_reload_brings_our_worker_class_in_and_takes_it_out_again(
    gunicorn_version: str | None,
) -> None:
    """Nothing asks for `when_ready` then. What was counted stays exposed."""
    with running_gunicorn(
        worker_class=None, expect_metrics=False, gunicorn_version=gunicorn_version
    ) as server:
        ask(server, 2)
        reload(server, f"worker_class = {WORKER!r}")
        server.wait_log("Prometheus metrics on")
        ask(server, 5)
        server.wait_sum("gunicorn_requests_total", 5)

        reload(server, "worker_class = 'sync'")
        ask(server, 3)
        assert server.wait_sum("gunicorn_workers", 0).sum("gunicorn_requests_total") == 5

        reload(server, f"worker_class = {THREADS!r}")
        ask(server, 4)
        metrics = server.wait_sum("gunicorn_requests_total", 9)
        assert metrics.value("gunicorn_workers") == 2
        assert metrics.value("gunicorn_master_reloads_total") == 2
        assert len(server.exporter_pids()) == 1


def reload(server: Gunicorn, config: str) -> None:
    """Give the server another configuration, and wait until all workers follow it."""
    before = server.worker_pids()
    server.write_config(config)
    server.signal(signal.SIGHUP)
    server.wait_workers(2, but=before)


@oldest_and_newest
def test_the_number_of_workers_may_come_from_the_environment(gunicorn_version: str | None) -> None:
    """A reload replaces all of them, and a configuration that says a number has the last word."""
    env = {"GUNICORN_WORKERS": "3"}
    with running_gunicorn(workers=None, env=env, gunicorn_version=gunicorn_version) as server:
        server.wait_workers(3)
        assert server.metrics().value("gunicorn_workers_target") == 3
        before = server.worker_pids()

        server.signal(signal.SIGHUP)
        server.wait_workers(3, but=before)
        server.wait_sum("gunicorn_workers", 3)

        server.write_config("workers = 2")
        before = server.worker_pids()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, but=before)
        server.wait_sum("gunicorn_workers_target", 2)


BROKEN = {
    "port": ("PROMETHEUS_METRICS_PORT", "70000", "a whole number from 0 to 65535"),
    "word": ("REDIS_ENABLED", "perhaps", "a boolean"),
    "file": ("PROMETHEUS_MULTIPROC_DIR", "/etc/hostname/x", "Not a directory"),
    "certificate": ("PROMETHEUS_SSL_CERTFILE", "/nowhere", "PROMETHEUS_SSL_KEYFILE"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_used_stops_the_start(case: str, tmp_path: Path) -> None:
    stops_the_start(case, tmp_path, None)


@every_gunicorn
def test_what_cannot_be_used_stops_the_start_of_every_gunicorn(
    gunicorn_version: str | None, tmp_path: Path
) -> None:
    stops_the_start("file", tmp_path, gunicorn_version)


def stops_the_start(case: str, folder: Path, version: str | None) -> None:
    """Assert that gunicorn ends with one sentence about the setting, and leaves nothing."""
    name, value, allowed = BROKEN[case]
    pidfile = folder / "pid"
    with running_gunicorn(
        env={name: value}, config=f"pidfile = {str(pidfile)!r}", wait=False,
        gunicorn_version=version,
    ) as server:  # fmt: skip
        assert server.wait_end() != 0
        server.assert_nothing_left()
        reasons = [line for line in server.log_text().splitlines() if name in line]
        assert len(reasons) == 1
        assert allowed in server.log_text()
        assert "Traceback" not in server.log_text()
        assert "Booting worker" not in server.log_text()
    assert not pidfile.exists()


def test_a_certificate_that_is_none_leaves_no_directory_behind(tmp_path: Path) -> None:
    """It is found when the storage stands already."""
    for name in ("certificate", "key"):
        (tmp_path / name).write_text("nonsense")
    before = stale_directories()
    env = {
        "PROMETHEUS_SSL_CERTFILE": str(tmp_path / "certificate"),
        "PROMETHEUS_SSL_KEYFILE": str(tmp_path / "key"),
    }
    with running_gunicorn(env=env, wait=False) as server:
        assert server.wait_end() != 0

    assert stale_directories() <= before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_directory_that_is_closed_to_the_workers_stops_the_start(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRWXU)
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with running_gunicorn(env=env, args=["--user", "nobody"], wait=False) as server:
        assert server.wait_end() != 0
        assert "the workers run as user nobody" in server.log_text()


def test_threads_that_have_no_effect_are_said_to_have_none() -> None:
    with running_gunicorn(workers=1, config="threads = 4") as server:
        assert "threads = 4 has no effect with PrometheusWorker" in server.log_text()


def test_metrics_that_were_made_too_early_are_named() -> None:
    """They live in each worker alone, so they are not exposed."""
    config = "from prometheus_client import Counter\nearly = Counter('early_birds', 'Birds.')"
    with running_gunicorn(workers=1, config=config) as server:
        warning = "These metrics were made before the worker class was loaded"
        assert f"{warning} and are not shared between workers: early_birds." in server.log_text()


@pytest.mark.parametrize("preload", [True, False], ids=["preload", "each worker"])
def test_what_the_application_counts_while_it_is_loaded_is_in_the_sums(
    preload: bool, tmp_path: Path
) -> None:
    """In the master before the fork, once; or in each of the workers."""
    (tmp_path / "counting.py").write_text(
        "from prometheus_client import Counter\n"
        "from tests.support.apps import app\n"
        "Counter('loads', 'Loads.').inc()\n"
    )
    with running_gunicorn(str(tmp_path / "counting.py"), preload=preload) as server:
        server.wait_sum("loads_total", 1 if preload else 2)
        before = server.worker_pids()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, but=before)

        server.wait_sum("loads_total", 1 if preload else 4)


def test_a_preloaded_application_may_patch_the_master(tmp_path: Path) -> None:
    """gevent replaces the sockets and the fork that the master's side uses."""
    (tmp_path / "patching.py").write_text(
        "from gevent import monkey\nmonkey.patch_all()\nfrom tests.support.apps import app\n"
    )
    worker_class = "gunicorn_prometheus_exporter.PrometheusGeventWorker"
    with running_gunicorn(
        str(tmp_path / "patching.py"), preload=True, worker_class=worker_class
    ) as server:
        ask(server, 5)
        before = server.worker_pids()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, but=before)
        ask(server, 5)

        server.wait_sum("gunicorn_requests_total", 10)
        assert server.stop() == 0
        assert "Traceback" not in server.log_text()
        assert "Exception ignored" not in server.log_text()


@oldest_and_newest
@pytest.mark.parametrize("option", ["--check-config", "--print-config"])
def test_looking_at_the_configuration_starts_nothing(
    option: str, gunicorn_version: str | None
) -> None:
    server = Gunicorn(args=[option], gunicorn_version=gunicorn_version)
    try:
        run = subprocess.run(
            server.command,
            env=server.env,
            cwd=server.cwd,
            capture_output=True,
            text=True,
            timeout=30,
        )
    finally:
        server.destroy()

    assert run.returncode == 0, run.stderr
    assert "Prometheus metrics on" not in run.stdout + run.stderr
