"""Reloads, signals, and the many ways to run a gunicorn: counts go on, and nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support import http
from tests.support.exits import wait_exits
from tests.support.gunicorn import WORKER, Gunicorn, running_gunicorn
from tests.support.ports import free_port
from tests.support.processes import PROC, children, is_alive, mapped_files
from tests.support.samples import Samples
from tests.support.versions import every_gunicorn, installed_version, oldest_and_newest
from tests.support.waiting import wait_until

REQUESTS = "gunicorn_requests_total"
THREADS = "gunicorn_prometheus_exporter.PrometheusThreadWorker"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def ask(server: Gunicorn, count: int) -> None:
    """Send so many requests, all answered 200."""
    for _ in range(count):
        assert server.get().status == 200


def reload(server: Gunicorn, config: str, workers: int = 2) -> None:
    """Give the server another configuration, and wait until all workers follow it."""
    before = server.worker_pids()
    server.write_config(config)
    server.signal(signal.SIGHUP)
    server.wait_workers(workers, but=before)


def refuses(address: tuple[str, int]) -> bool:
    """Return whether nobody listens at `address`."""
    try:
        socket.create_connection(address, 5).close()
    except ConnectionRefusedError:
        return True
    return False


def open_files(pid: int) -> set[str]:
    """Return what the descriptors of `pid` stand for, and the files that it has mapped."""
    found = {str(path) for path in mapped_files(pid)}
    for link in (PROC / str(pid) / "fd").iterdir():
        try:
            found.add(os.readlink(link))
        except FileNotFoundError:
            continue
    return found


@oldest_and_newest
def test_a_reload_follows_the_configuration(gunicorn_version: str | None) -> None:
    """The metrics port moves, by the file itself or by raw_env; nobody keeps the old one open."""
    with running_gunicorn(gunicorn_version=gunicorn_version) as server:
        ask(server, 5)
        first = server.metrics_address

        port = free_port()
        reload(server, f"import os\nos.environ['PROMETHEUS_METRICS_PORT'] = '{port}'")
        server.wait_for(lambda: server.metrics_address == ("127.0.0.1", port))
        ask(server, 5)
        server.wait_sum(REQUESTS, 10)
        assert refuses(first)

        port = free_port()
        config = f"worker_class = {THREADS!r}\nraw_env = ['PROMETHEUS_METRICS_PORT={port}']"
        reload(server, config)
        server.wait_for(lambda: server.metrics_address == ("127.0.0.1", port))
        ask(server, 5)
        metrics = server.wait_sum(REQUESTS, 15)
        assert metrics.sum("gunicorn_info") == 1
        assert metrics.sum("gunicorn_info", worker_class=THREADS) == 1
        assert metrics.value("gunicorn_master_reloads_total") == 2
        wait_exits(server, {("hup", "graceful"): 4})
        assert len(server.exporter_pids()) == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PROMETHEUS_METRICS_PORT", "many"),
        ("REDIS_ENABLED", "true"),
        ("PROMETHEUS_MULTIPROC_DIR", "/tmp"),
    ],
)
def test_a_reload_with_settings_that_cannot_be_followed_changes_nothing(
    variable: str, value: str
) -> None:
    with running_gunicorn() as server:
        ask(server, 3)
        address, folders = server.metrics_address, server.storage_folders()
        reload(server, f"import os\nos.environ[{variable!r}] = {value!r}")
        ask(server, 3)

        server.wait_sum(REQUESTS, 6)
        assert server.metrics_address == address
        assert server.storage_folders() == folders
        complaints = [line for line in server.log_text().splitlines() if variable in line]
        assert len(complaints) == 1
        assert "The former metrics settings stay in force" in complaints[0]


@every_gunicorn
def test_exact_counts_across_every_signal(gunicorn_version: str | None) -> None:
    """One request after each, and one in the air while the workers are replaced."""
    with running_gunicorn(gunicorn_version=gunicorn_version) as server:
        ask(server, 1)
        for number, (name, count) in enumerate(
            {"TTIN": 3, "TTOU": 2, "HUP": 2, "USR1": 2, "WINCH": 2}.items(), start=2
        ):
            before = server.worker_pids()
            server.signal(getattr(signal, f"SIG{name}"))
            server.wait_workers(count, but=before if name == "HUP" else ())
            ask(server, 1)
            server.wait_sum(REQUESTS, number)


@every_gunicorn
@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_nothing_is_left(name: str, gunicorn_version: str | None) -> None:
    if gunicorn_version not in ("22.0.0", None) and name != "TERM":
        pytest.skip("they differ in 24 and since only")
    with running_gunicorn(workers=1, gunicorn_version=gunicorn_version) as server:
        ask(server, 1)
        folders = server.storage_folders()
        assert folders

        assert server.stop(getattr(signal, f"SIG{name}")) == 0
        assert not any(folder.exists() for folder in folders)
        assert "Traceback" not in server.log_text()


@oldest_and_newest
def test_forked_processes_hold_nothing_of_the_masters(
    gunicorn_version: str | None, tmp_path: Path
) -> None:
    """Neither locks nor the metrics port: workers, those of another class, and what they start."""
    code = tmp_path / "starting.py"
    code.write_text(
        "import os, subprocess\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/fork':\n"
        "        pid = os.fork()\n"
        "        if not pid:\n"
        "            import time; time.sleep(60); os._exit(0)\n"
        "    else:\n"
        "        pid = subprocess.Popen(['sleep', '60'], close_fds=False).pid\n"
        "    start_response('200 OK', [('Content-Length', str(len(str(pid))))])\n"
        "    return [str(pid).encode()]\n"
    )
    with running_gunicorn(str(code), workers=1, gunicorn_version=gunicorn_version) as server:
        [folder] = server.storage_folders()
        [port] = sockets(server.exporter_pids()[0]) & sockets(server.master_pid)
        [worker] = server.worker_pids()
        started, forked = (int(server.get(path).text) for path in ("/start", "/fork"))
        masters = {f"{folder}/run.lock", f"{folder}/slot-m0.lock", port}
        assert masters <= open_files(server.master_pid)
        assert f"{folder}/slot-0.lock" in open_files(worker)

        assert not masters & open_files(worker)
        assert not any(str(folder) in name for name in open_files(started))
        workers = {*masters, f"{folder}/slot-0.lock"}
        server.wait_for(lambda: not workers & open_files(forked), 5, "the forked process to let go")

        server.write_config("worker_class = 'sync'")
        server.signal(signal.SIGHUP)
        server.wait_workers(1, but=[worker])
        assert not masters & open_files(server.worker_pids()[0])
        for pid in (started, forked):
            os.kill(pid, signal.SIGKILL)


def sockets(pid: int) -> set[str]:
    """Return the sockets that `pid` has open."""
    return {name for name in open_files(pid) if name.startswith("socket:")}


def test_several_addresses_and_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with running_gunicorn(config=f"bind = ['127.0.0.1:0', 'unix:{path}']") as server:
        for address in server.addresses:
            assert http.request(address, "/hello").status == 200

        server.wait_sum(REQUESTS, 2)
        assert server.stop() == 0
    assert not Path(path).exists()


@oldest_and_newest
def test_a_port_that_is_shared_by_the_workers(gunicorn_version: str | None) -> None:
    """With reuse_port, where newer gunicorns have no listener in the master at all."""
    port = free_port()
    config = f"bind = '127.0.0.1:{port}'\nreuse_port = True"
    with running_gunicorn(config=config, wait=False, gunicorn_version=gunicorn_version) as server:
        wait_serving(server)
        for count in (5, 10):
            for _ in range(5):
                assert http.request(("127.0.0.1", port), "/hello").status == 200
            server.wait_sum(REQUESTS, count)
            reload(server, config)


def wait_serving(server: Gunicorn) -> None:
    """Wait until the metrics say that two workers run, whatever the log says."""
    server.wait_log("Prometheus metrics on")
    server.wait_sum("gunicorn_worker_state", 2, state="running")


ACTIVATED = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
os.dup2(listener.fileno(), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
from gunicorn.app.wsgiapp import run
run(prog="gunicorn")
"""


@oldest_and_newest
def test_a_socket_that_systemd_holds(gunicorn_version: str | None, tmp_path: Path) -> None:
    """Through a reload too."""
    launcher = tmp_path / "activated"
    launcher.write_text(ACTIVATED)
    arguments = ["-k", WORKER, "-w", "2", "tests.support.apps:app"]
    with running_gunicorn(
        None, script=launcher, args=arguments, gunicorn_version=gunicorn_version
    ) as server:
        ask(server, 5)
        reloaded = server.worker_pids()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, but=reloaded)
        ask(server, 5)
        server.wait_sum(REQUESTS, 10)


@oldest_and_newest
def test_a_daemon(gunicorn_version: str | None, tmp_path: Path) -> None:
    """It takes its workers away on WINCH, and has them again on HUP."""
    pidfile, log = tmp_path / "pid", tmp_path / "log"
    config = f"pidfile = {str(pidfile)!r}\nerrorlog = {str(log)!r}\ndaemon = True"
    server = Gunicorn(config=config, wait=False, gunicorn_version=gunicorn_version)
    server.log_path = log
    try:
        subprocess.run(server.command, env=server.env, cwd=server.cwd, check=True, timeout=30)
        pid = int(wait_until(lambda: pidfile.exists() and pidfile.read_text()))
        drive_daemon(server, pid)
        assert not pidfile.exists()
    finally:
        for one in (pid, *(child.pid for child in children(pid))):
            if is_alive(one):
                os.kill(one, signal.SIGKILL)
        server.destroy()


def drive_daemon(server: Gunicorn, pid: int) -> None:
    """Send requests and signals to the daemon `pid`, until its end."""

    def wait(name: str, value: float) -> Samples:
        def reached() -> Samples | None:
            metrics = server.metrics()
            return metrics if metrics.sum(name) == value else None

        return wait_until(reached, message=f"{name} to be {value}") or server.metrics()

    wait_until(lambda: "Prometheus metrics on" in server.log_text())
    wait("gunicorn_workers", 2)
    ask(server, 3)
    wait(REQUESTS, 3)
    os.kill(pid, signal.SIGWINCH)
    wait("gunicorn_workers", 0)
    assert wait("gunicorn_workers_target", 0).sum(REQUESTS) == 3
    wait("gunicorn_master_worker_restart_count_total", 2)
    assert server.metrics().label_values(
        "gunicorn_master_worker_restart_count_total", "reason"
    ) == {"winch"}
    os.kill(pid, signal.SIGHUP)
    wait("gunicorn_workers", 2)
    ask(server, 3)
    wait(REQUESTS, 6)

    exporters, folders = server.exporter_pids(pid), folders_of(pid)
    assert len(exporters) == len(folders) == 1
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: not is_alive(exporters[0]))
    assert not any(folder.exists() for folder in folders)


def folders_of(pid: int) -> set[Path]:
    """Return where the master `pid` keeps its metrics."""
    return {path.parent for path in mapped_files(pid) if path.name == "slot-m0.lock"}


def can_unshare() -> bool:
    """Return whether this user may make process id namespaces."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return bool(shutil.which("unshare")) and subprocess.run(command).returncode == 0


def test_gunicorn_as_the_first_process_of_a_container(tmp_path: Path) -> None:
    if not can_unshare():
        pytest.skip("no process id namespaces for this user")
    launcher = tmp_path / "contained"
    inner = tmp_path / "inner"
    inner.write_text("from gunicorn.app.wsgiapp import run\nrun(prog='gunicorn')\n")
    launcher.write_text(
        "import os, sys\n"
        "unshare = ['unshare', '--pid', '--fork', '--mount-proc', sys.executable]\n"
        f"os.execvp('unshare', [*unshare, {str(inner)!r}, *sys.argv[1:]])\n"
    )
    arguments = ["-k", WORKER, "-w", "2", "-b", "127.0.0.1:0", "tests.support.apps:app"]
    with running_gunicorn(None, script=launcher, args=arguments, wait=False) as server:
        wait_serving(server)
        assert "(1)" in server.log_text()
        [first] = children(server.master_pid)
        ask(server, 5)
        server.wait_sum(REQUESTS, 5)
        os.kill(first.pid, signal.SIGHUP)
        wait_exits(server, {("hup", "graceful"): 2})
        ask(server, 5)
        server.wait_sum(REQUESTS, 10)
        folders = server.storage_folders()

        os.kill(first.pid, signal.SIGTERM)
        assert server.wait_end() == 0
        server.assert_nothing_left()
        assert folders
        assert not any(folder.exists() for folder in folders)


@AS_ROOT
@oldest_and_newest
def test_workers_of_another_user(gunicorn_version: str | None) -> None:
    """The directory is theirs, the exporter runs as they do, and a reload changes nothing in it."""
    arguments = ["--user", "nobody", "--group", "nogroup"]
    with running_gunicorn(args=arguments, gunicorn_version=gunicorn_version) as server:
        ask(server, 5)
        [folder] = server.storage_folders()
        [exporter] = server.exporter_pids()
        before = server.worker_pids()
        nobody = (PROC / str(exporter)).stat().st_uid
        assert nobody != 0
        assert {(PROC / str(pid)).stat().st_uid for pid in before} == {nobody}
        assert {path.stat().st_uid for path in (folder, *folder.iterdir())} == {nobody}

        reload(server, "")
        ask(server, 5)
        server.wait_sum(REQUESTS, 10)
        wait_exits(server, {("hup", "graceful"): 2})
        assert {path.stat().st_uid for path in (folder, *folder.iterdir())} == {nobody}


@pytest.mark.parametrize("gunicorn_version", ["25.3.0", None], ids=["25.3.0", "installed"])
def test_dirty_arbiters_and_the_control_socket_do_not_meet_us(
    gunicorn_version: str | None, tmp_path: Path
) -> None:
    """A dirty arbiter that ended is forked again from the master, and holds nothing of it."""
    if gunicorn_version is None and installed_version() < (25,):
        pytest.skip("gunicorn has dirty arbiters from 25 on")
    (tmp_path / "dirty_code.py").write_text(
        "from gunicorn.dirty.app import DirtyApp\nclass Application(DirtyApp):\n"
        "    def __call__(self, action, *args, **kwargs): return action\n"
        "    def close(self): pass\n"
    )
    config = (
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "dirty_apps = ['dirty_code:Application']\ndirty_workers = 1\n"
    )
    with running_gunicorn(config=config, gunicorn_version=gunicorn_version) as server:
        ask(server, 3)
        workers = set(server.worker_pids()) | set(server.exporter_pids())
        [dirty] = others(server.master_pid, workers)
        os.kill(dirty, signal.SIGTERM)
        again = server.wait_for(lambda: others(server.master_pid, workers) - {dirty})

        [folder] = server.storage_folders()
        [port] = sockets(server.exporter_pids()[0]) & sockets(server.master_pid)
        masters = {f"{folder}/run.lock", f"{folder}/slot-m0.lock", port}
        assert not masters & open_files(again.pop())
        reload(server, config)
        ask(server, 3)
        server.wait_sum(REQUESTS, 6)
        wait_exits(server, {("hup", "graceful"): 2})
        # A dirty arbiter that is told to end while it reloads leaves a worker behind.
        server.wait_log(r"Dirty worker \d+ listening", count=3)
        server.wait_log(r"Dirty worker exited", count=2)


def others(master: int, known: set[int]) -> set[int]:
    """Return the children of `master` that are not `known`."""
    return {one.pid for one in children(master)} - known
