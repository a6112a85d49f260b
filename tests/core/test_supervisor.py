"""What keeps the exporter process going from inside the gunicorn master."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.exporter.supervisor import ExporterSupervisor
from tests.support import http
from tests.support.certificates import Certificates, tls_get
from tests.support.clients import connected
from tests.support.supervision import (
    RecordingLog,
    exporting,
    get,
    local_settings,
    scrape,
    supervising,
    tick_until,
    tick_until_serving,
    write_counter,
)
from tests.support.waiting import wait_until


def port_of(supervisor: ExporterSupervisor) -> int:
    assert supervisor.port is not None
    return supervisor.port


def kill(supervisor: ExporterSupervisor) -> int:
    """Kill the exporter process, wait until it can be reaped, and return its id."""
    pid = supervisor.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
    return pid


def is_refused(port: int) -> bool:
    try:
        with connected(("127.0.0.1", port)):
            return False
    except ConnectionRefusedError:
        return True


def test_the_log_says_where_the_metrics_are(tmp_path: Path) -> None:
    with supervising(tmp_path) as (supervisor, log):
        assert supervisor.port is None
        supervisor.bind()
        port = supervisor.port

    assert port
    assert log.infos == [f"Prometheus metrics on http://127.0.0.1:{port}/metrics"]


def test_ipv6_addresses_stand_in_brackets(tmp_path: Path) -> None:
    with supervising(tmp_path, bind_address="::1") as (supervisor, log):
        supervisor.bind()
        if supervisor.port is None:
            pytest.skip(f"no IPv6 here: {log.errors}")

    assert log.infos[0].startswith("Prometheus metrics on http://[::1]:")


def test_a_hostname_is_resolved(tmp_path: Path) -> None:
    with supervising(tmp_path, bind_address="localhost") as (supervisor, log):
        supervisor.bind()

    assert log.infos[0].startswith("Prometheus metrics on http://localhost:")


def test_scrapes_that_come_before_the_process_wait_for_it(tmp_path: Path) -> None:
    with supervising(tmp_path) as (supervisor, _), ThreadPoolExecutor(1) as pool:
        supervisor.bind()
        answer = pool.submit(get, supervisor, "/metrics")
        supervisor.tick()

        assert answer.result(20).status == 200


def test_a_taken_port_is_reported_once_and_taken_over_when_it_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with supervising(tmp_path, metrics_port=port) as (supervisor, log):
            supervisor.bind()
            started = time.monotonic()
            tick_until(supervisor, lambda: time.monotonic() > started + 1.5, "a second try")
            assert supervisor.port is None
            assert supervisor.pid is None
            errors = list(log.errors)
            other.close()
            tick_until_serving(supervisor)

            assert get(supervisor, "/metrics").status == 200

    assert errors == log.errors
    assert len(errors) == 1
    assert f"127.0.0.1 port {port} (Address already in use)" in errors[0]
    assert "PROMETHEUS_METRICS_PORT" in errors[0]
    assert log.infos == [f"Prometheus metrics on http://127.0.0.1:{port}/metrics"]


def test_an_address_that_is_not_ours_is_reported(tmp_path: Path) -> None:
    """192.0.2.0/24 is for documentation (RFC 5737)."""
    with supervising(tmp_path, bind_address="192.0.2.1") as (supervisor, log):
        supervisor.bind()
        supervisor.tick()

    assert len(log.errors) == 1
    assert "cannot listen on 192.0.2.1 port 0" in log.errors[0]


def test_two_applications_never_share_a_port(tmp_path: Path) -> None:
    with exporting(tmp_path) as first, ExitStack() as stack:
        second, log = stack.enter_context(supervising(tmp_path, metrics_port=port_of(first)))
        second.bind()

        assert second.port is None
        assert len(log.errors) == 1


def test_a_dead_process_is_started_again_at_once(tmp_path: Path) -> None:
    write_counter(tmp_path, "kept_total", 4.0)
    with supervising(tmp_path) as (supervisor, log):
        supervisor.bind()
        first = tick_until_serving(supervisor)
        scrape(supervisor)
        kill(supervisor)
        supervisor.tick()

        assert supervisor.pid not in (None, first)
        assert scrape(supervisor).value("kept_total") == 4.0

    assert log.warnings == [
        "The Prometheus metrics process ended unexpectedly; it is started again now"
    ]


def test_a_process_that_keeps_dying_is_started_more_and_more_slowly(tmp_path: Path) -> None:
    with supervising(tmp_path) as (supervisor, log):
        supervisor.bind()
        for _ in range(3):
            dead = tick_until_serving(supervisor)
            kill(supervisor)
            supervisor.tick()
        assert supervisor.pid is None
        tick_until_serving(supervisor, other_than=dead)

    assert [warning.rpartition("again ")[2] for warning in log.warnings] == [
        "now",
        "in 1 s",
        "in 2 s",
    ]


def test_no_scrape_fails_while_the_process_is_killed_again_and_again(tmp_path: Path) -> None:
    """A connection that the dead process had not accepted waits in the backlog."""
    write_counter(tmp_path, "kept_total", 4.0)
    done = threading.Event()

    with supervising(tmp_path) as (supervisor, _), ThreadPoolExecutor(1) as pool:
        supervisor.bind()

        def scrape_between_kills() -> list[float]:
            values = []
            while not done.is_set():
                values.append(scrape(supervisor).value("kept_total"))
                idle.set()
                killed.wait(10)
            return values

        idle, killed = threading.Event(), threading.Event()
        scrapes = pool.submit(scrape_between_kills)
        dead = 0
        for _ in range(3):
            dead = tick_until_serving(supervisor, other_than=dead)
            assert idle.wait(20)
            kill(supervisor)
            idle.clear()
            killed.set()
            killed.clear()
        done.set()
        killed.set()
        tick_until_serving(supervisor, other_than=dead)

        values = scrapes.result(20)
    assert len(values) >= 3
    assert set(values) == {4.0}


def test_a_process_that_cannot_be_started_is_reported_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with supervising(tmp_path) as (supervisor, log):
        supervisor.bind()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/nonexistent/python")
            supervisor.tick()
        assert "/nonexistent/python" in log.warnings[0]
        assert supervisor.pid is None

        tick_until_serving(supervisor)

        assert get(supervisor, "/metrics").status == 200


def test_a_process_that_gunicorn_reaped_is_replaced_all_the_same(tmp_path: Path) -> None:
    """gunicorn waits for any child, whoever started it."""
    with exporting(tmp_path) as supervisor:
        pid = kill(supervisor)
        assert os.waitpid(-1, 0)[0] == pid
        supervisor.reap()

        assert tick_until_serving(supervisor, other_than=pid) != pid


def test_reaping_leaves_no_zombie_and_disturbs_nobody(tmp_path: Path) -> None:
    with exporting(tmp_path) as supervisor, subprocess.Popen(["true"]) as other:
        supervisor.reap()
        assert supervisor.pid is not None
        pid = kill(supervisor)
        supervisor.reap()

        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        assert other.wait(10) == 0


def test_stopping_leaves_nothing_behind(tmp_path: Path) -> None:
    descriptors = set(os.listdir("/proc/self/fd"))
    with exporting(tmp_path) as supervisor:
        pid, port = supervisor.pid, port_of(supervisor)
    supervisor.tick()
    supervisor.bind()

    assert pid is not None
    assert not os.path.exists(f"/proc/{pid}")
    assert is_refused(port)
    assert supervisor.port is None
    assert set(os.listdir("/proc/self/fd")) == descriptors


def test_stopping_kills_a_process_that_hangs(tmp_path: Path) -> None:
    with exporting(tmp_path) as supervisor:
        pid = supervisor.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        supervisor.stop()

    assert time.monotonic() - started < 4
    assert not os.path.exists(f"/proc/{pid}")


def test_another_port_is_moved_to(tmp_path: Path) -> None:
    with exporting(tmp_path) as supervisor:
        before, pid = port_of(supervisor), supervisor.pid
        with socket.create_server(("127.0.0.1", 0)) as free:
            after = free.getsockname()[1]
        supervisor.reconfigure(local_settings(metrics_port=after))
        tick_until(supervisor, lambda: is_refused(before), "the old port to be closed")

        assert supervisor.port == after
        tick_until_serving(supervisor, other_than=pid)
        assert get(supervisor, "/metrics").status == 200


def test_other_settings_reach_a_new_process_on_the_same_port(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_counter(other, "elsewhere_total", 2.0)
    with supervising(tmp_path) as (supervisor, log):
        supervisor.bind()
        pid, port = tick_until_serving(supervisor), supervisor.port
        get(supervisor, "/metrics")
        supervisor.reconfigure(local_settings(max_series=7), {"directory": str(other)})
        tick_until_serving(supervisor, other_than=pid)

        assert supervisor.port == port
        assert scrape(supervisor).value("elsewhere_total") == 2.0

    assert log.warnings == []


def test_the_same_settings_disturb_nothing(tmp_path: Path) -> None:
    with exporting(tmp_path) as supervisor:
        before = supervisor.pid, supervisor.port
        supervisor.reconfigure(local_settings(), {"directory": str(tmp_path)})
        supervisor.reconfigure(local_settings())
        supervisor.tick()

        assert (supervisor.pid, supervisor.port) == before
        assert get(supervisor, "/metrics").status == 200


def is_idle(supervisor: ExporterSupervisor) -> bool:
    supervisor.tick(serving=False)
    return supervisor.pid is None


def test_while_another_master_serves_only_the_socket_is_kept(tmp_path: Path) -> None:
    with exporting(tmp_path) as supervisor:
        port = supervisor.port
        wait_until(lambda: is_idle(supervisor), 5)
        supervisor.tick(serving=False)

        assert supervisor.pid is None
        assert supervisor.port == port
        tick_until_serving(supervisor)
        assert get(supervisor, "/metrics").status == 200


def test_a_process_that_does_not_leave_is_killed_without_waiting(tmp_path: Path) -> None:
    with exporting(tmp_path) as supervisor:
        pid = supervisor.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        longest = 0.0

        def is_gone() -> bool:
            nonlocal longest
            started = time.monotonic()
            gone = is_idle(supervisor)
            longest = max(longest, time.monotonic() - started)
            return gone

        wait_until(is_gone, 5, "the process to be killed")
        assert longest < 0.5


def test_the_socket_is_handed_to_the_next_master(tmp_path: Path) -> None:
    with exporting(tmp_path) as old:
        fd = old.prepare_handover()
        assert fd is not None
        assert os.get_inheritable(fd)
        with supervising(tmp_path, metrics_port=port_of(old)) as (new, log):
            new.adopt_listener(os.dup(fd))
            old.cancel_handover()

            assert not os.get_inheritable(fd)
            assert new.port == old.port
            assert log.errors == []
            new.tick(serving=False)
            assert new.pid is None
            assert get(new, "/metrics").status == 200

            old.stop()
            new.tick()
            assert get(new, "/metrics").status == 200


def test_there_is_nothing_to_hand_over_without_a_port(tmp_path: Path) -> None:
    with supervising(tmp_path) as (supervisor, _):
        assert supervisor.prepare_handover() is None
        supervisor.cancel_handover()


@pytest.mark.parametrize("changes", [{"metrics_port": 1}, {"bind_address": "127.0.0.2"}])
def test_an_inherited_socket_that_listens_elsewhere_is_closed(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        port = inherited.getsockname()[1]
        fd = os.dup(inherited.fileno())
    # Port 1 stands for a port that is not the inherited one; root may even bind it.
    with supervising(tmp_path, **changes) as (supervisor, _):
        supervisor.adopt_listener(fd)

        assert supervisor.port != port
        assert is_refused(port)


def test_a_descriptor_that_is_no_listening_socket_does_no_harm(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    unbound = socket.socket().detach()
    for fd in (read_end, unbound, 10_000):
        with supervising(tmp_path) as (supervisor, _):
            supervisor.adopt_listener(fd)

            assert supervisor.port
    os.close(write_end)


def test_a_forked_child_lets_go_without_harm(tmp_path: Path) -> None:
    with exporting(tmp_path) as supervisor:
        pid, port = supervisor.pid, port_of(supervisor)
        assert pid is not None
        try:
            supervisor.close_in_child()
            supervisor.tick()
            supervisor.stop()

            assert supervisor.pid is None
            assert supervisor.port is None
            assert http.request(("127.0.0.1", port), "/metrics").status == 200
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate authority, a server and a client, made by the openssl command."""
    return Certificates.create(tmp_path_factory.mktemp("certificates"))


def test_tls_with_client_certificates_from_the_settings(
    tmp_path: Path, certificates: Certificates
) -> None:
    tls: dict[str, Any] = {
        "ssl_certfile": str(certificates.server_cert),
        "ssl_keyfile": str(certificates.server_key),
        "ssl_client_cafile": str(certificates.ca_cert),
        "ssl_client_auth_required": True,
    }
    with supervising(tmp_path, **tls) as (supervisor, log):
        supervisor.bind()
        supervisor.tick()
        answer = tls_get(
            ("127.0.0.1", port_of(supervisor)), certificates.client_context(with_certificate=True)
        )
        with pytest.raises(ssl.SSLError):
            tls_get(("127.0.0.1", port_of(supervisor)), certificates.client_context())

    assert log.infos == [f"Prometheus metrics on https://127.0.0.1:{tls_port(log.infos)}/metrics"]
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_reload_brings_new_certificates(tmp_path: Path, certificates: Certificates) -> None:
    tls: dict[str, Any] = {
        "ssl_certfile": str(certificates.server_cert),
        "ssl_keyfile": str(certificates.server_key),
    }
    with supervising(tmp_path, **tls) as (supervisor, _):
        supervisor.bind()
        pid = tick_until_serving(supervisor)
        supervisor.reconfigure(local_settings(**tls))

        assert tick_until_serving(supervisor, other_than=pid) != pid


def test_certificates_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    settings = local_settings(ssl_certfile=str(wrong), ssl_keyfile=str(wrong))

    with pytest.raises(SettingsError, match="PROMETHEUS_SSL_CERTFILE"):
        ExporterSupervisor(RecordingLog(), settings, {"directory": str(tmp_path)}, 0, 0)


def test_a_reload_with_unusable_certificates_changes_nothing(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    with supervising(tmp_path) as (supervisor, log):
        supervisor.bind()
        before = tick_until_serving(supervisor), supervisor.port
        settings = local_settings(ssl_certfile=str(wrong), ssl_keyfile=str(wrong))
        supervisor.reconfigure(settings)
        supervisor.tick()

        assert (supervisor.pid, supervisor.port) == before
        assert get(supervisor, "/metrics").status == 200

    assert len(log.errors) == 1
    assert "PROMETHEUS_SSL_CERTFILE" in log.errors[0]


def test_another_user_after_a_reload_has_a_new_process(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    nobody = pwd.getpwnam("nobody")
    with exporting(tmp_path) as supervisor:
        pid = supervisor.pid
        supervisor.reconfigure(local_settings(), uid=nobody.pw_uid, gid=nobody.pw_gid)
        tick_until_serving(supervisor, other_than=pid)
        assert get(supervisor, "/-/healthy").status == 200

        status = Path(f"/proc/{supervisor.pid}/status").read_text()
    assert f"Uid:\t{nobody.pw_uid}\t{nobody.pw_uid}" in status


def tls_port(infos: list[str]) -> str:
    return infos[0].split(":")[2].partition("/")[0]
