"""The command `gunicorn-prometheus-exporter`, run as its users run it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import http
from tests.support.certificates import Certificates, tls_get
from tests.support.samples import Samples
from tests.support.supervision import write_counter

COMMAND = [sys.executable, "-m", "gunicorn_prometheus_exporter.exporter.cli"]


def run(
    *arguments: object, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def serving(
    arguments: Sequence[object], **environ: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield the running command and the address that it announces."""
    command = [*COMMAND, "serve", *map(str, arguments)]
    env = {**os.environ, "PROMETHEUS_BIND_ADDRESS": "127.0.0.1", **environ}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stderr is not None
            yield process, process.stderr.readline()
        finally:
            process.kill()


def address_in(line: str) -> tuple[str, int]:
    """Return host and port of a line like `Prometheus metrics on http://127.0.0.1:9091/metrics`."""
    host, _, port = line.split("//")[1].partition("/")[0].rpartition(":")
    return host, int(port)


def test_it_serves_a_directory_that_is_written_elsewhere(tmp_path: Path) -> None:
    write_counter(tmp_path, "orders_total", 7.0)

    with serving(["--multiproc-dir", tmp_path, "--port", 0]) as (_, line):
        response = http.request(address_in(line), "/metrics")

    assert line.startswith("Prometheus metrics on http://127.0.0.1:")
    assert line.endswith("/metrics\n")
    assert Samples(response.text).value("orders_total") == 7.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_silence_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    with serving(["--multiproc-dir", tmp_path, "--port", 0]) as (process, _):
        process.send_signal(number)

        assert process.communicate(timeout=10)[1] == ""
        assert process.returncode == 0


def test_the_environment_is_honoured(tmp_path: Path) -> None:
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PROMETHEUS_METRICS_PORT": "0"}

    with serving([], **environ) as (_, line):
        assert http.request(address_in(line), "/-/ready").status == 200


def test_options_override_the_environment(tmp_path: Path) -> None:
    write_counter(tmp_path, "orders_total", 7.0)
    environ = {"PROMETHEUS_MULTIPROC_DIR": "/nonexistent", "PROMETHEUS_METRICS_PORT": "1"}

    with serving(["--multiproc-dir", tmp_path, "--port", "0"], **environ) as (_, line):
        assert "orders_total 7.0" in http.request(address_in(line), "/metrics").text


def test_it_serves_tls(tmp_path: Path) -> None:
    certificates = Certificates.create(tmp_path)
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    tls = ["--ssl-certfile", certificates.server_cert, "--ssl-keyfile", certificates.server_key]

    with serving(["--multiproc-dir", metrics, "--port", 0, *tls]) as (_, line):
        answer = tls_get(address_in(line), certificates.client_context())

    assert line.startswith("Prometheus metrics on https://127.0.0.1:")
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "say where the metrics are: --multiproc-dir DIR, or PROMETHEUS_MULTIPROC_DIR."),
        (["--multiproc-dir", "/nonexistent"], "'/nonexistent' is not a directory."),
        (["--multiproc-dir", "/dev/null"], "'/dev/null' is not a directory."),
        (["--multiproc-dir", "/", "--port", "http"], "PROMETHEUS_METRICS_PORT='http' cannot be"),
        (["--multiproc-dir", "/", "--port", "65536"], "a whole number from 0 to 65535"),
        (["--multiproc-dir", "/", "--bind", "192.0.2.1"], "cannot listen on 192.0.2.1 port 9091"),
        (["--multiproc-dir", "/", "--ssl-certfile", "/x"], "set PROMETHEUS_SSL_KEYFILE too"),
    ],
)
def test_what_cannot_work_is_one_line_and_status_2(arguments: list[str], complaint: str) -> None:
    result = run("serve", *arguments)

    assert result.returncode == 2
    assert result.stdout == ""
    assert complaint in result.stderr
    assert result.stderr.startswith("gunicorn-prometheus-exporter: ")
    assert result.stderr.count("\n") == 1


def test_a_taken_port_is_one_line_and_status_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run("serve", "--multiproc-dir", tmp_path, "--bind", "127.0.0.1", "--port", port)

    assert result.returncode == 2
    assert result.stderr == (
        "gunicorn-prometheus-exporter: "
        f"cannot listen on 127.0.0.1 port {port}: Address already in use.\n"
    )


def test_a_certificate_that_is_none_is_one_line_and_status_2(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")

    result = run(
        "serve", "--multiproc-dir", tmp_path, "--bind", "127.0.0.1", "--port", 0,
        "--ssl-certfile", wrong, "--ssl-keyfile", wrong,
    )  # fmt: skip

    assert result.returncode == 2
    assert "PROMETHEUS_SSL_CERTFILE" in result.stderr
    assert result.stderr.count("\n") == 1


def test_help_names_every_variable_that_an_option_stands_for() -> None:
    text = " ".join(run("serve", "--help").stdout.split())

    for option, variable in {
        "--port": "PROMETHEUS_METRICS_PORT",
        "--bind": "PROMETHEUS_BIND_ADDRESS",
        "--multiproc-dir": "PROMETHEUS_MULTIPROC_DIR",
        "--ssl-certfile": "PROMETHEUS_SSL_CERTFILE",
        "--ssl-client-auth-required": "PROMETHEUS_SSL_CLIENT_AUTH_REQUIRED",
    }.items():
        assert option in text
        assert f"({variable})" in text


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    expected = f"gunicorn-prometheus-exporter {version('gunicorn-prometheus-exporter')}\n"

    assert run("--version").stdout == expected


def test_no_command_is_an_error_that_shows_the_usage() -> None:
    result = run()

    assert result.returncode == 2
    assert "usage: gunicorn-prometheus-exporter" in result.stderr


def test_the_command_is_installed_under_its_name() -> None:
    script = Path(sys.executable).with_name("gunicorn-prometheus-exporter")
    if not script.exists():
        pytest.skip("the package is not installed beside this interpreter")

    assert subprocess.run([script, "--version"], timeout=60).returncode == 0
