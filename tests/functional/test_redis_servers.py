"""Every kind of Redis and every way to get there: password, socket, TLS, Sentinel, cluster."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisClusterException, RedisError

from gunicorn_prometheus_exporter.errors import MissingDependencyError, SettingsError
from gunicorn_prometheus_exporter.redis.client import open_client, reason, require_redis
from gunicorn_prometheus_exporter.redis.shared import central
from gunicorn_prometheus_exporter.settings import Settings
from tests.support.certificates import Certificates
from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.ports import free_port
from tests.support.redis import RedisServer, newest_binary, running_redis
from tests.support.samples import Samples
from tests.support.waiting import wait_until

REQUESTS = "gunicorn_requests_total"
UP = "gunicorn_exporter_redis_up"
SECRET = "s3cr3t/of:ours"
QUOTED = "s3cr3t%2Fof%3Aours"
FAST = {"GUNICORN_PROMETHEUS_REDIS_INTERVAL": "0.1"}


def scrape_central(**settings: Any) -> Samples:
    """Return what a central exporter shows that has just been started with `settings`."""
    _, shared = central(Settings(redis_enabled=True, **settings))
    shared.start()
    text = shared.render(openmetrics=False, names=frozenset())
    shared.stop(5)
    return Samples(text.decode())


def wait_published(server: Gunicorn, count: int) -> None:
    """Send `count` requests and wait until they are shown with a Redis that is up."""
    for _ in range(count):
        server.get("/hello")

    def is_shown() -> bool:
        samples = server.metrics()
        return samples.sum(REQUESTS) == count and samples.value(UP) == 1

    wait_until(is_shown, message=f"{count} requests in Redis")


def test_the_password_works_and_is_seen_nowhere() -> None:
    """Neither in the log, nor in arguments, nor in an environment variable that we made."""
    with running_redis("--requirepass", SECRET) as redis:
        env = {**FAST, **redis.env, "REDIS_PASSWORD": SECRET}
        with running_gunicorn(env=env) as right:
            wait_published(right, 3)
            command = exporter_of(right, "cmdline")
            text = right.log_text()
        url = f"redis://:wrong-{QUOTED}@127.0.0.1:{redis.port}/0"
        with running_gunicorn(env={**FAST, "REDIS_URL": url}) as wrong:
            wrong.wait_log("it refuses the user name or password")
            assert wrong.metrics().value(UP) == 0
            assert exporter_of(wrong, "environ").count(QUOTED.encode()) == 1
            text += wrong.log_text()

        shown = scrape_central(redis_port=redis.port, redis_password=SECRET)

    assert shown.sum(REQUESTS) == 3
    for spelled in (SECRET, QUOTED):
        assert spelled.encode() not in command
        assert spelled not in text


@contextlib.contextmanager
def admin(server: RedisServer) -> Iterator[Any]:
    """Yield a client of `server`."""
    with contextlib.closing(server.client()) as client:
        yield client


def exporter_of(server: Gunicorn, what: str) -> bytes:
    """Return a file of /proc about the exporter process of `server`."""
    return Path(f"/proc/{server.exporter_pids()[0]}/{what}").read_bytes()


def test_a_unix_socket_and_a_database_number_serve_as_well() -> None:
    with running_redis(unix=True) as redis, running_gunicorn(env={**FAST, **redis.env}) as server:
        wait_published(server, 2)
        shown = scrape_central(redis_url=redis.url)
        elsewhere = scrape_central(redis_url=f"{redis.url}?db=3")

    assert shown.sum(REQUESTS) == 2
    assert elsewhere.sum(REQUESTS) == 0


def test_tls_is_used_and_its_certificate_is_checked(tmp_path: Path) -> None:
    certificates = Certificates.create(tmp_path)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-ca-cert-file", str(certificates.ca_cert)]
    options += ["--tls-cert-file", str(certificates.server_cert)]
    options += ["--tls-key-file", str(certificates.server_key)]
    if not speaks_tls():
        pytest.skip("this redis-server was built without TLS")
    url = f"rediss://localhost:{port}/0"
    with running_redis(*options) as redis:
        trusted = {"REDIS_URL": f"{url}?ssl_ca_certs={certificates.ca_cert}"}
        with running_gunicorn(env={**FAST, **trusted}) as server:
            wait_published(server, 2)
        unknown = scrape_central(redis_url=url)
        shown = scrape_central(redis_port=redis.port)

    assert shown.sum(REQUESTS) == 2
    assert unknown.value(UP) == 0


def speaks_tls() -> bool:
    """Return whether the redis-server that tests run knows the options of TLS."""
    command = [newest_binary(), "--port", "0", "--tls-replication", "what"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    return "argument must be" in result.stdout + result.stderr


def test_a_user_with_few_rights_is_enough() -> None:
    """These are the rights that the documentation lists."""
    rights = ["~gunicorn:*", "+@connection", "+eval", "+evalsha", "+time", "+pexpire"]
    rights += ["+hget", "+hset", "+hsetnx", "+hdel", "+hlen", "+hexists"]
    rights += ["+hgetall", "+hmget", "+hkeys", "+hvals"]
    with running_redis() as redis:
        with admin(redis) as client:
            client.execute_command("ACL", "SETUSER", "shop", "on", f">{SECRET}", *rights)
        user = {"REDIS_USERNAME": "shop", "REDIS_PASSWORD": SECRET}
        with running_gunicorn(env={**FAST, **redis.env, **user}) as server:
            wait_published(server, 2)
            errors = server.metrics().value("gunicorn_exporter_redis_errors_total")

    assert errors == 0


@pytest.fixture
def failing_over(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, int]]:
    """A master with a replica, and a Sentinel that promotes the replica after half a second."""
    with running_redis() as master:
        options = ("--replicaof", "127.0.0.1", str(master.port))
        with running_redis(*options) as replica:
            config = tmp_path / "sentinel.conf"
            config.write_text(
                f"sentinel monitor shop 127.0.0.1 {master.port} 1\n"
                "sentinel down-after-milliseconds shop 500\n"
                "sentinel failover-timeout shop 2000\n"
            )
            port = free_port()
            sentinel = RedisServer(
                str(config), "--port", str(port), "--bind", "127.0.0.1", port=port, sentinel=True
            )
            try:
                sentinel.start()
                with contextlib.closing(sentinel.client()) as client:
                    wait_until(
                        lambda: client.sentinel_slaves("shop"), message="the replica to be found"
                    )
                yield master, replica, port
            finally:
                sentinel.destroy()


def test_a_failover_by_sentinel_loses_nothing(
    failing_over: tuple[RedisServer, RedisServer, int],
) -> None:
    master, replica, port = failing_over
    env = {
        **FAST,
        "REDIS_ENABLED": "true",
        "GUNICORN_PROMETHEUS_REDIS_SENTINELS": f"127.0.0.1:{port}",
        "GUNICORN_PROMETHEUS_REDIS_SENTINEL_SERVICE": "shop",
    }
    with running_gunicorn(env=env) as server:
        wait_published(server, 5)
        master.stop(signal.SIGKILL)
        for _ in range(5):
            server.get("/hello")
        wait_until(
            lambda: (one := server.metrics()).value(UP) == 1 and one.sum(REQUESTS) == 10,
            timeout=40,
            message="the new master to be used",
        )
        shown = scrape_central(redis_port=replica.port)

    assert shown.sum(REQUESTS) == 10


def test_a_cluster_serves_as_well(tmp_path: Path) -> None:
    port = free_port()
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    with contextlib.ExitStack() as stack:
        try:
            redis = stack.enter_context(running_redis(*options, port=port))
        except AssertionError:  # Redis 6 adds 10000 to the port, and that may be too high
            pytest.skip("this Redis cannot choose the port of its cluster bus")
        with admin(redis) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: "state:ok" in str(client.execute_command("CLUSTER", "INFO")))
        env = {**FAST, **redis.env, "GUNICORN_PROMETHEUS_REDIS_CLUSTER": "true"}
        with running_gunicorn(env=env) as server:
            wait_published(server, 4)
            shown = scrape_central(redis_port=port, redis_cluster=True)

    assert shown.sum(REQUESTS) == 4


def test_a_redis_that_is_not_there_does_not_stop_gunicorn() -> None:
    """It is said once, and the metrics of this instance are served; later it is found."""
    port = free_port()
    env = {**FAST, "REDIS_ENABLED": "true", "REDIS_PORT": str(port)}
    with running_gunicorn(env=env) as server:
        server.get("/hello")
        server.wait_log(f"Redis at redis://127.0.0.1:{port}/0 cannot be used")
        samples = server.metrics()
        with running_redis(port=port):
            server.wait_log("can be used again")
            wait_until(lambda: server.metrics().value(UP) == 1)
        text = server.log_text()

    assert samples.value(UP) == 0
    assert samples.sum(REQUESTS) == 1
    assert text.count("cannot be used") == 1


@pytest.mark.parametrize(
    "url",
    ["http://redis:6379", "redis://:6379", "redis://host:port", "redis://host/db", "unix:?db=1"],
)
def test_a_wrong_url_stops_the_start_and_is_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match=r"REDIS_URL=\(hidden\) cannot be used") as caught:
        Settings.from_environ({"REDIS_URL": url})
    assert url not in str(caught.value)


def test_sentinels_that_cannot_be_read_stop_the_start() -> None:
    with pytest.raises(SettingsError, match="host:port,host:port"):
        require_redis(Settings(redis_enabled=True, redis_sentinels="one:1,two"))


def test_a_sidecar_without_redis_is_refused() -> None:
    with pytest.raises(SettingsError, match="SIDECAR"):
        Settings(sidecar=True)


def test_the_missing_package_is_named_with_its_extra() -> None:
    """Said by the master, which then does not start."""
    program = (
        "import sys\n"
        "sys.modules['redis'] = None\n"
        "from gunicorn_prometheus_exporter.errors import MissingDependencyError\n"
        "from gunicorn_prometheus_exporter.redis.client import require_redis\n"
        "from gunicorn_prometheus_exporter.settings import Settings\n"
        "try:\n"
        "    require_redis(Settings(redis_enabled=True))\n"
        "except MissingDependencyError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert "gunicorn-prometheus-exporter[redis]" in result.stdout
    assert issubclass(MissingDependencyError, Exception)


@pytest.mark.parametrize(
    "options",
    [
        {"redis_url": f"redis://user:{QUOTED}@127.0.0.1:1/0"},
        {"redis_url": f"rediss://user:{QUOTED}@127.0.0.1:1/0"},
        {"redis_url": f"unix://user:{QUOTED}@/nowhere.sock"},
        {"redis_password": SECRET, "redis_port": 1},
        {"redis_password": SECRET, "redis_sentinels": "127.0.0.1:1"},
        {"redis_password": SECRET, "redis_cluster": True, "redis_port": 1},
    ],
)
def test_no_reason_for_a_failure_shows_a_password(options: dict[str, Any]) -> None:
    settings = Settings(redis_enabled=True, redis_timeout=0.2, **options)
    with pytest.raises((RedisError, RedisClusterException, OSError)) as caught:
        open_client(settings).ping()

    for text in (reason(caught.value), settings.redis_display_url, repr(settings)):
        assert "s3cr3t" not in text
