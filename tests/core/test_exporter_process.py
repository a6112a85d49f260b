"""The exporter process itself: how it starts, whom it obeys, when it leaves, what it holds."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import gunicorn_prometheus_exporter
from gunicorn_prometheus_exporter.exporter.child import ExporterChild, spawn
from gunicorn_prometheus_exporter.exporter.listener import listen
from gunicorn_prometheus_exporter.exporter.order import LOADER, Order, encode
from gunicorn_prometheus_exporter.exporter.supervisor import ExporterSupervisor
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.slots import claim
from tests.support import http
from tests.support.processes import is_alive
from tests.support.supervision import exporting, get, scrape, write_counter
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
CORE = Path(gunicorn_prometheus_exporter.__file__).parents[1]


def pid_of(supervisor: ExporterSupervisor) -> int:
    assert supervisor.pid is not None
    return supervisor.pid


def exit_status(pid: int) -> tuple[int, int]:
    """Wait for the end of `pid` without reaping it; return how it ended, and with what."""

    def ended() -> object:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    result = wait_until(ended, 5, "the process to end")
    assert isinstance(result, os.waitid_result)
    return result.si_code, result.si_status


def test_it_serves_what_stands_in_the_directory(tmp_path: Path) -> None:
    write_counter(tmp_path, "orders_total", 7.0, owner="0")
    write_counter(tmp_path, "orders_total", 5.0, owner="1")

    with exporting(tmp_path) as supervisor:
        samples = scrape(supervisor)

    assert samples.value("orders_total") == 12.0
    assert samples.types["orders"] == "counter"


def test_it_sees_what_is_written_while_it_runs(tmp_path: Path) -> None:
    with exporting(tmp_path) as supervisor:
        assert "late_total" not in scrape(supervisor)

        write_counter(tmp_path, "late_total", 3.0)

        assert scrape(supervisor).value("late_total") == 3.0


def test_it_serves_what_stands_in_inherited_memory() -> None:
    volume = MemoryVolume.create()
    slot = claim(volume, "worker")

    with exporting({"memory_fd": volume.fd}) as supervisor:
        workers = scrape(supervisor).label_values("gunicorn_worker_uptime_seconds", "worker_id")

    slot.release()
    os.close(volume.fd)
    assert workers == {"0"}


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_signals_that_are_meant_for_gunicorn_leave_it_alone(tmp_path: Path, name: str) -> None:
    """Ctrl-C and a hangup of the terminal reach the whole process group."""
    with exporting(tmp_path) as supervisor:
        os.kill(pid_of(supervisor), getattr(signal, name))

        assert get(supervisor, "/-/healthy").status == 200
        assert is_alive(pid_of(supervisor))


def test_sigterm_ends_it_with_status_0(tmp_path: Path) -> None:
    with exporting(tmp_path) as supervisor:
        pid = pid_of(supervisor)
        os.kill(pid, signal.SIGTERM)

        assert exit_status(pid) == (os.CLD_EXITED, 0)


def test_sigterm_in_the_middle_of_its_start_ends_it_with_status_0() -> None:
    """It has not read its order yet, so it is between two lines of its program."""
    read_end, write_end = os.pipe()
    command = [sys.executable, "-I", "-S", "-c", LOADER]
    with subprocess.Popen(command, stdin=read_end) as process:
        program, _, _ = encode(an_order()).partition(b"\0")
        os.write(write_end, program.replace(b"import json", b"signal.pause()") + b"\0")
        os.close(write_end)
        os.close(read_end)
        wait_until(lambda: handles(process.pid, signal.SIGTERM))
        process.terminate()

        assert process.wait(10) == 0


def handles(pid: int, number: signal.Signals) -> bool:
    """Return whether `pid` has a handler of its own for the signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def an_order(**changes: object) -> Order:
    order: Order = {
        "sys_path": [str(CORE)],
        "listener_fd": -1,
        "fds": [],
        "parent": os.getpid(),
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "settings": {},
        "volume": {"directory": "/"},
        "title": "test",
    }
    return {**order, **changes}  # type: ignore[typeddict-item]


@contextmanager
def started(order: Order) -> Iterator[ExporterChild]:
    """Yield a process that carries out `order` on a socket of its own."""
    with listen("127.0.0.1", 0) as listener:
        fd = listener.fileno()
        child = spawn({**order, "listener_fd": fd, "fds": [fd]})
        try:
            yield child
        finally:
            child.send(signal.SIGKILL)
            wait_until(child.is_gone)
            child.forget()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"settings": {"ssl_certfile": "/missing", "ssl_keyfile": "/missing"}},
            "SettingsError: PROMETHEUS_SSL_CERTFILE='/missing': this file cannot be read.",
        ),
        ({"sys_path": []}, "No module named 'gunicorn_prometheus_exporter'"),
        ({"settings": {"unheard_of": 1}}, "unexpected keyword argument 'unheard_of'"),
    ],
)
def test_a_start_that_fails_is_one_line_and_status_0(
    changes: dict[str, object], line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Status 3 or 4 would shut gunicorn < 26.1 down, others are errors in its log."""
    with started(an_order(**changes)) as child:
        assert exit_status(child.pid) == (os.CLD_EXITED, 0)

    output = capfd.readouterr()
    assert output.out == ""
    assert line in output.err
    assert output.err.startswith("The Prometheus metrics process ended: ")
    assert output.err.count("\n") == 1


def test_it_writes_nothing_while_all_is_well(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with exporting(tmp_path) as supervisor:
        scrape(supervisor)
        assert get(supervisor, "/missing").status == 404

    assert capfd.readouterr() == ("", "")


@contextmanager
def a_master(directory: Path, *options: str) -> Iterator[tuple[int, int, int]]:
    """Yield the ids of a master and its exporter, and the port; kill the master in the end."""
    report = directory / "report"
    command = [sys.executable, "-m", "tests.support.exporter_master", str(directory), str(report)]
    with subprocess.Popen([*command, *options], cwd=ROOT) as master:
        try:
            wait_until(report.exists, message="the exporter to answer")
            port, exporter = map(int, report.read_text().split())
            yield master.pid, exporter, port
        finally:
            master.kill()


def test_it_leaves_when_its_master_is_killed(tmp_path: Path) -> None:
    with a_master(tmp_path) as (master, exporter, port):
        os.kill(master, signal.SIGKILL)

        wait_until(lambda: not is_alive(exporter), 3, "the exporter to leave")
        with pytest.raises(ConnectionRefusedError):
            http.request(("127.0.0.1", port), "/metrics")


def test_it_leaves_even_if_the_kernel_does_not_tell_it(tmp_path: Path) -> None:
    """Other systems than Linux have no signal for it; the parent's id changes everywhere."""
    program = (
        "import os, sys\n"
        f"sys.path.append({str(CORE)!r})\n"
        "from gunicorn_prometheus_exporter.exporter import process\n"
        "process._watch_parent(os.getppid() + 1)\n"
    )

    assert subprocess.run([sys.executable, "-c", program], timeout=10).returncode == 0


def test_it_serves_a_master_without_standard_streams(tmp_path: Path) -> None:
    with a_master(tmp_path, "--without-streams") as (_, _, port):
        assert http.request(("127.0.0.1", port), "/metrics").status == 200


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_it_serves_a_master_that_an_application_has_patched(tmp_path: Path, library: str) -> None:
    """With preload_app the application's monkey_patch() reaches the master too."""
    with a_master(tmp_path, f"--patched-by-{library}") as (_, exporter, port):
        os.kill(exporter, signal.SIGKILL)

        assert http.request(("127.0.0.1", port), "/metrics").status == 200


def test_it_keeps_none_of_the_masters_sockets(tmp_path: Path) -> None:
    """gunicorn's own listeners are inheritable; a copy would keep the application's port busy."""
    with socket.create_server(("127.0.0.1", 0)) as application:
        application.set_inheritable(True)
        inode = os.readlink(f"/proc/self/fd/{application.fileno()}")

        with exporting(tmp_path) as supervisor:
            held = links(pid_of(supervisor))

    assert inode not in held
    assert len([link for link in held if link.startswith("socket:")]) <= 4


def links(pid: int) -> set[str]:
    """Return what the descriptors of a process refer to, but for those just closed."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def test_secrets_stand_neither_in_its_arguments_nor_in_its_environment(tmp_path: Path) -> None:
    with exporting(tmp_path, redis_password="pAssw0rd", title="shop") as supervisor:
        where = Path(f"/proc/{supervisor.pid}")
        arguments = (where / "cmdline").read_bytes()
        environment = (where / "environ").read_bytes()

    assert b"pAssw0rd" not in arguments
    assert b"pAssw0rd" not in environment
    assert arguments.endswith(b"\0gunicorn: metrics exporter [shop]\0")


def test_it_runs_as_the_workers_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    nobody = pwd.getpwnam("nobody")
    volume = MemoryVolume.create()
    slot = claim(volume, "worker")
    spec = {"memory_fd": volume.fd}

    with exporting(spec, uid=nobody.pw_uid, gid=nobody.pw_gid) as supervisor:
        samples = scrape(supervisor)
        status = Path(f"/proc/{supervisor.pid}/status").read_text()

    slot.release()
    os.close(volume.fd)
    ids = {line.split(":")[0]: set(line.split()[1:]) for line in status.splitlines()}
    assert ids["Uid"] == {str(nobody.pw_uid)}
    assert ids["Gid"] == ids["Groups"] == {str(nobody.pw_gid)}
    assert samples.label_values("gunicorn_worker_uptime_seconds", "worker_id") == {"0"}


def test_it_imports_neither_gunicorn_nor_prometheus_client() -> None:
    """They would cost three times the memory of all the rest."""
    program = (
        "import sys\n"
        f"sys.path.append({str(CORE)!r})\n"
        "import gunicorn_prometheus_exporter.exporter.process\n"
        "print(*sys.modules)\n"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert "gunicorn_prometheus_exporter.exporter.server" in modules
    assert not {"gunicorn", "prometheus_client", "ssl", "http.server", "asyncio"} & {*modules}
