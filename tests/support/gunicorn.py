"""A real gunicorn in a process of its own, to be asked, signalled and stopped.

    with running_gunicorn("tests.support.apps:app", workers=2) as server:
        server.get("/hello")
        assert server.metrics().sum("gunicorn_requests_total") == 1

It listens on ports that the kernel picks and learns them from the log. Leaving the block stops it
and asserts that no process and no automatic metrics directory is left behind.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import http, versions
from tests.support.http import Response
from tests.support.processes import (
    catches,
    children,
    live_processes,
    mapped_files,
    process,
)
from tests.support.samples import Samples
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
WORKER = "gunicorn_prometheus_exporter.PrometheusWorker"

# What the `gunicorn` command itself does. `python -m gunicorn` will not do: after USR2 it would
# run gunicorn/__main__.py as a script, and gunicorn/http would hide the standard library's http.
_LAUNCHER = "from gunicorn.app.wsgiapp import run\nrun(prog='gunicorn')\n"

_LISTENING = re.compile(r"Listening at: (\S+?),? .*\((\d+)\)$", re.MULTILINE)
_HTTP_BIND = re.compile(r"https?://(\S+):(\d+)$")
_METRICS = re.compile(r"Prometheus metrics on https?://(\S+):(\d+)/metrics")
_BOOTING = re.compile(r"Booting worker with pid: (\d+)")

# What a server must not inherit; other tests of this process set Django's variable.
_OURS = re.compile(
    r"(PROMETHEUS|GUNICORN|REDIS|DJANGO)_|XDG_RUNTIME_DIR$|PYTHONPATH$", re.IGNORECASE
)


class Gunicorn:
    """One gunicorn, started in a session of its own."""

    def __init__(
        self,
        app: str | None = "tests.support.apps:app",
        *,
        worker_class: str | None = WORKER,
        workers: int | None = 2,
        config: str = "",
        config_file: str | Path | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str | None] | None = None,
        python: str = sys.executable,
        gunicorn_version: str | None = None,
        cwd: str | Path | None = None,
        preload: bool = False,
        bind: str = "127.0.0.1:0",
        script: str | Path | None = None,
        wait: bool = True,
        expect_metrics: bool = True,
    ) -> None:
        """Prepare a server; nothing runs before `start()`.

        app: `module:callable`, or the path of a file that holds `app`; None to leave it out.
        config: Python text, put after our own settings in the configuration file.
        config_file: a configuration to use instead; then only `args` and `bind` are added.
        env: variables to add; None as a value removes one.
        script: a Python program to run instead of the gunicorn command.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="gpe-"))
        self.config_path = self.folder / "gunicorn.conf.py"
        self.log_path = self.folder / "log"
        self.cwd = Path(cwd) if cwd else ROOT
        self._wait, self._expect_metrics = wait, expect_metrics
        self._preset = _preset(worker_class, workers, preload, bind)
        self.write_config(config)
        self.env = self._environment(env or {}, gunicorn_version)
        self.command = self._command(app, config_file, args, python, script, bind)
        self.process: subprocess.Popen[bytes] | None = None
        self.end_was_seen = False
        self._storage: set[Path] = set()
        self._workers = workers or 1

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> Gunicorn:
        """Start the server and, unless told otherwise, wait until it serves."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if self._wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Wait until the application listens, its workers have started and metrics are served."""
        self.wait_for(lambda: _LISTENING.search(self.log_text()), timeout, "gunicorn to listen")
        self.wait_for(lambda: len(self.booted_pids()) >= self._workers, timeout, "workers")
        if self._expect_metrics:
            self.wait_for(lambda: _METRICS.search(self.log_text()), timeout, "the metrics port")
            self.wait_for(lambda: self.scrape().status == 200, timeout, "the metrics endpoint")

    def stop(self, sig: int = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Send `sig`, wait for the end, assert that nothing is left; return the exit status."""
        self._note_storage()
        if self._process.poll() is None:
            self._process.send_signal(sig)
        code = self.wait_end(timeout)
        self.assert_nothing_left()
        return code

    def wait_end(self, timeout: float = 30.0) -> int:
        """Wait until the first master has ended and return its exit status."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"gunicorn did not end within {timeout:g} s") from None
        self.end_was_seen = True
        return code

    def assert_nothing_left(self, timeout: float = 10.0) -> None:
        """Assert that no process of the session lives and no automatic directory stands."""
        wait_until(lambda: not self.session(), timeout, "every process of the server to end")
        left = [path for path in self._storage if path.exists()]
        assert not left, f"left behind: {left}"

    def destroy(self) -> None:
        """Kill whatever is left and remove the files; needs no particular state."""
        for one in self.session():
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        # A slow answer to SIGKILL must not leave a directory behind for the next test.
        wait_until(lambda: not self.session(), 10, "killed processes to go")
        for path in self._storage:
            shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def session(self) -> list[int]:
        """Return the pids of all live processes of the server's session."""
        if self.process is None:
            return []
        return [one.pid for one in live_processes() if one.session == self.process.pid]

    # -- asking ----------------------------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int] | str:
        """Where the application listens: host and port, or the path of a unix socket."""
        return self.addresses[0]

    @property
    def addresses(self) -> list[tuple[str, int] | str]:
        """Every place where the newest master listens."""
        last = self.log_text().rpartition("Listening at: ")[2].splitlines()[0]
        return [_address(bind) for bind in last.rpartition(" (")[0].split(",")]

    @property
    def port(self) -> int:
        """The application's TCP port."""
        address = self.address
        assert not isinstance(address, str)
        return address[1]

    @property
    def metrics_address(self) -> tuple[str, int]:
        """Where metrics are served, by the newest line of the log that says so."""
        host, port = _METRICS.findall(self.log_text())[-1]
        return host, int(port)

    def get(self, path: str = "/hello", **request: Any) -> Response:
        """Send one request to the application on a fresh connection; see `http.request`."""
        return http.request(self.address, path, **request)

    def scrape(self, path: str = "/metrics", **request: Any) -> Response:
        """Send one request to the metrics endpoint."""
        return http.request(self.metrics_address, path, **request)

    def metrics(self, path: str = "/metrics") -> Samples:
        """Return a scrape in the text format, parsed."""
        response = self.scrape(path)
        assert response.status == 200, response
        return Samples(response.text)

    def wait_sum(self, name: str, expected: float, timeout: float = 20.0, **labels: str) -> Samples:
        """Return the first scrape where the samples called `name` with `labels` sum to `expected`.

        A request is recorded after its last byte was sent, so a client may be faster.
        """
        latest: list[Samples] = []

        def reached() -> bool:
            latest[:] = [self.metrics()]
            return latest[0].sum(name, **labels) == expected

        try:
            self.wait_for(reached, timeout)
        except AssertionError as error:
            found = latest[0].sum(name, **labels) if latest else None
            raise AssertionError(f"{name}{labels or ''} is {found}, not {expected}") from error
        return latest[0]

    def wait_for(
        self, condition: Callable[[], Any], timeout: float = 20.0, message: str = ""
    ) -> Any:
        """Return the first true value of `condition`; fail at once where the server has ended."""

        def checked() -> Any:
            value = condition()
            if not value and self._process.poll() is not None:
                raise AssertionError(f"gunicorn ended with {self._process.returncode}")
            return value

        return wait_until(checked, timeout, message)

    def wait_log(self, pattern: str, timeout: float = 20.0, *, count: int = 1) -> None:
        """Wait until the log has `count` matches of the regular expression `pattern`."""
        self.wait_for(
            lambda: len(re.findall(pattern, self.log_text())) >= count, timeout, repr(pattern)
        )

    def log_text(self) -> str:
        """Return everything the server has written so far."""
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    # -- processes -------------------------------------------------------------------------------

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "start() was not called"
        return self.process

    @property
    def master_pid(self) -> int:
        """The process id of the master that was started first."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status of the first master; None while it runs."""
        return self._process.poll()

    def signal(self, sig: int, pid: int | None = None) -> None:
        """Send `sig` to the master, or to `pid`."""
        os.kill(pid or self.master_pid, sig)

    def worker_pids(self, master: int | None = None) -> list[int]:
        """Return the pids of the live workers of `master`, oldest first."""
        booted = map(int, _BOOTING.findall(self.log_text()))
        found = [one for one in map(process, dict.fromkeys(booted)) if one is not None]
        parent = master or self.master_pid
        return [one.pid for one in found if one.alive and one.parent == parent]

    def booted_pids(self) -> list[int]:
        """Return the pids of the live workers that handle signals by themselves.

        Until then a new worker has the master's handlers, which lose what it is sent: a SIGTERM
        in that moment means waiting for gunicorn's graceful_timeout, on every version. A master
        catches SIGHUP, a worker does not.
        """
        return [pid for pid in self.worker_pids() if not catches(pid, signal.SIGHUP)]

    def exporter_pids(self, master: int | None = None) -> list[int]:
        """Return the pids of the live exporter processes of `master`: one, when all is well."""
        found = children(master or self.master_pid)
        title = "metrics exporter"
        return [one.pid for one in found if any(title in word for word in one.command[-1:])]

    def wait_workers(self, count: int, timeout: float = 20.0, *, but: Sequence[int] = ()) -> None:
        """Wait until exactly `count` workers live and have booted, none of them among `but`."""
        self.wait_for(
            lambda: (
                len(pids := self.booted_pids()) == len(self.worker_pids()) == count
                and not set(pids) & set(but)
            ),
            timeout,
            f"{count} workers other than {list(but)}",
        )

    def storage_folders(self) -> set[Path]:
        """Return the directories of the metrics files that live processes have mapped."""
        files = {path for pid in self.session() for path in mapped_files(pid)}
        return {path.parent for path in files if path.suffix == ".db" or "slot-" in path.name}

    def _note_storage(self) -> None:
        """Remember the automatic directory, which must be gone at the end."""
        if not self.env.get("PROMETHEUS_MULTIPROC_DIR"):
            self._storage |= self.storage_folders()

    # -- preparation -----------------------------------------------------------------------------

    def write_config(self, config: str) -> None:
        """Write the configuration file: our settings, then `config`; a HUP reads it again."""
        self.config_path.write_text(f"{self._preset}\n{config}\n")

    def _command(
        self,
        app: str | None,
        config_file: str | Path | None,
        args: Sequence[str],
        python: str,
        script: str | Path | None,
        bind: str,
    ) -> list[str]:
        launcher = self.folder / "gunicorn"
        launcher.write_text(_LAUNCHER)
        command = [python, str(script or launcher)]
        if script is not None:
            return [*command, *args]
        command += ["-c", str(config_file or self.config_path)]
        if config_file is not None:
            command += ["--bind", bind]
        if app is not None and app.endswith(".py"):
            command += ["--chdir", str(Path(app).resolve().parent)]
            app = f"{Path(app).stem}:app"
        return [*command, *args, *([app] if app else [])]

    def _environment(
        self, extra: Mapping[str, str | None], gunicorn_version: str | None
    ) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
        path = [str(ROOT)]
        if gunicorn_version is not None:
            path.insert(0, str(versions.folder(gunicorn_version)))
        env |= {
            "PROMETHEUS_METRICS_PORT": "0",
            "PROMETHEUS_BIND_ADDRESS": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # Where gunicorn >= 25.1 puts its control socket: one for each server.
            "XDG_RUNTIME_DIR": str(self.folder),
        }
        for name, value in extra.items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value
        return env


@contextlib.contextmanager
def running_gunicorn(
    app: str | None = "tests.support.apps:app", **options: Any
) -> Iterator[Gunicorn]:
    """Run a server for the length of the block; see `Gunicorn` for the options.

    Where the test has not seen its end, by `stop()` or `wait_end()`, it is stopped by SIGTERM; it
    must still be alive then, end with status 0 and leave nothing. The log is printed where
    anything failed.
    """
    versions.skip_without_asgi_worker(_worker_of(**options), options.get("gunicorn_version"))
    server = Gunicorn(app, **options)
    try:
        server.start()
        yield server
        if not server.end_was_seen:
            code = server.stop()
            assert code == 0, f"gunicorn ended with {code}"
    except BaseException:
        print(f"\n--- {' '.join(server.command)}\n{server.log_text()[-20000:]}\n---")
        raise
    finally:
        server._note_storage()
        server.destroy()


def _worker_of(
    worker_class: str | None = WORKER,
    args: Sequence[str] = (),
    config_file: str | Path | None = None,
    **options: Any,
) -> str:
    """Return the worker class that is meant, or a configuration that names it."""
    configured = worker_class or "" if config_file is None else Path(config_file).read_text()
    return args[args.index("-k") + 1] if "-k" in args else configured


def _preset(worker_class: str | None, workers: int | None, preload: bool, bind: str) -> str:
    lines = [f"bind = {bind!r}", "graceful_timeout = 10"]
    if worker_class is not None:
        lines.append(f"worker_class = {worker_class!r}")
    if workers is not None:
        lines.append(f"workers = {workers}")
    if preload:
        lines.append("preload_app = True")
    return "\n".join(lines)


def _address(bind: str) -> tuple[str, int] | str:
    match = _HTTP_BIND.match(bind)
    if match is None:
        return bind.partition(":")[2]
    return match[1].strip("[]"), int(match[2])
