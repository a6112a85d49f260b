"""What every worker class does alike, run by each of them on a real gunicorn with real sockets.

A test module makes it its own with a subclass of `WSGIWorkerConformance` or `ASGIWorkerConformance`
(named `Test...`) that names the worker class. Clients count what they send and get; each test
compares that with what the metrics endpoint shows.

Both applications, `tests.support.apps` and `tests.support.asgi_apps`, have the same routes.
"""

from __future__ import annotations

import http.client
import selectors
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from tests.support import clients
from tests.support import http as plain_http
from tests.support.counting import (
    DURATION,
    ERRORS,
    EXCEPTIONS,
    FAILED,
    IN_PROGRESS,
    REQUEST_BYTES,
    REQUESTS,
    RESPONSE_BYTES,
    WORKER_REQUESTS,
    counted,
    fallen,
    wait_running,
)
from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.http import Response
from tests.support.load import Load
from tests.support.samples import Samples
from tests.support.versions import version_id

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
JUNK_METHODS = ("BREW", "PROPFIND", "MKCOL")
CLIENT_GONE = "499"
KILLS = 2


def on_gunicorns(*versions: str | None) -> pytest.MarkDecorator:
    """Run a whole class on each release of gunicorn; None is the installed one."""
    return pytest.mark.parametrize("gunicorn_version", versions, ids=version_id, scope="class")


class WorkerConformance:
    """The suite. Subclasses say what they run; `concurrent` is the requests one worker handles."""

    worker_class: ClassVar[str]
    application: ClassVar[str]
    config: ClassVar[str] = ""
    concurrent: ClassVar[int] = 8
    keeps_alive: ClassVar[bool] = True

    @classmethod
    def run(cls, gunicorn_version: str | None, **options: Any) -> Any:
        """Run a gunicorn with two workers of this class."""
        given = {"worker_class": cls.worker_class, "config": cls.config, **options}
        return running_gunicorn(cls.application, gunicorn_version=gunicorn_version, **given)

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, gunicorn_version: str | None) -> Iterator[Gunicorn]:
        """One server for the whole class, which counts nothing beyond what the tests expect."""
        with cls.run(gunicorn_version) as server:
            wait_running(server)
            yield server
            metrics = server.metrics()
            assert metrics.sum(REQUESTS) == metrics.sum(WORKER_REQUESTS)
            assert metrics.sum(IN_PROGRESS) == 0
            assert metrics.sum("gunicorn_exporter_recorder_errors_total") == 0

    # -- what is counted -------------------------------------------------------------------------

    def test_counts_every_method_and_status_as_the_client_got_them(self, server: Gunicorn) -> None:
        answers: Counter[tuple[str, ...]] = Counter()

        with counted(server, 2 * len(METHODS)) as change:
            for method in METHODS:
                for path in ("/hello", "/status/503"):
                    answers[method, str(status_of(server, method, path))] += 1

        assert change.by(REQUESTS, "method", "status") == answers

    def test_counts_methods_that_are_not_standard_as_one(self, server: Gunicorn) -> None:
        with counted(server, len(JUNK_METHODS)) as change:
            statuses = [status_of(server, method, "/hello") for method in JUNK_METHODS]

        assert statuses == [200] * len(JUNK_METHODS)
        assert change.by(REQUESTS, "method", "endpoint") == {("OTHER", "/hello"): 3}

    def test_unmatched_is_every_path_that_the_application_does_not_know(
        self, server: Gunicorn
    ) -> None:
        with counted(server, 4) as change:
            for path in ("/nowhere", "/no/where/1", "/status/404", "/status/405"):
                server.get(path)

        assert change.by(REQUESTS, "endpoint", "status") == {
            ("<unmatched>", "404"): 3,
            ("<unmatched>", "405"): 1,
        }

    def test_a_named_route_is_the_endpoint_and_an_excluded_one_nothing(
        self, server: Gunicorn
    ) -> None:
        """The seam: what an adapter says of a request is what is recorded."""
        with counted(server, 2) as change:
            server.get("/routed/1")
            server.get("/routed/excluded")
            server.get("/routed/2?swallow=1")

        assert change.by(REQUESTS, "endpoint", "status") == {
            ("/routed/<name>", "200"): 1,
            ("/routed/<name>", "500"): 1,
        }
        assert change.by(EXCEPTIONS, "endpoint", "error_type") == {
            ("/routed/<name>", "LookupError"): 1
        }
        assert change.sum(ERRORS) == 0

    def test_keepalive_connections_count_each_request(self, server: Gunicorn) -> None:
        if not self.keeps_alive:
            pytest.skip("this worker closes after each answer")
        with counted(server, 25) as change:
            statuses = clients.keep_alive(server.address, ["/hello", "/status/418"] * 12 + ["/pid"])

        assert Counter(map(str, statuses)) == {
            status: count for (status,), count in change.by(REQUESTS, "status").items()
        }

    def test_connections_without_a_request_count_nothing(self, server: Gunicorn) -> None:
        with counted(server, 1):
            for _ in range(5):
                clients.connect_and_close(server.address)
                clients.send_half_a_request(server.address)
            server.get()

    def test_a_request_that_arrives_byte_by_byte_counts_once(self, server: Gunicorn) -> None:
        with counted(server, 1):
            answer = clients.send_slowly(server.address, pause=0.002)

        assert b" 200 " in answer.splitlines()[0]

    # -- what goes wrong -------------------------------------------------------------------------

    def test_an_exception_before_the_first_byte_is_a_500_and_an_error(
        self, server: Gunicorn
    ) -> None:
        with counted(server, 2) as change:
            answers = [server.get("/raise/before").status for _ in range(2)]

        labels = {"method": "GET", "endpoint": "/raise/before", "error_type": "ValueError"}
        assert answers == [500, 500]
        assert change.sum(REQUESTS, status="500") == 2
        assert [change.sum(name, **labels) for name in (EXCEPTIONS, FAILED, ERRORS)] == [2, 2, 2]

    def test_an_exception_in_the_middle_of_the_body_keeps_the_status_that_was_sent(
        self, server: Gunicorn
    ) -> None:
        with counted(server, 1) as change, pytest.raises(http.client.IncompleteRead) as broken:
            server.get("/raise/after")

        labels = {"endpoint": "/raise/after", "error_type": "ValueError"}
        assert change.by(REQUESTS, "endpoint", "status") == {("/raise/after", "200"): 1}
        assert [change.sum(name, **labels) for name in (EXCEPTIONS, FAILED, ERRORS)] == [1, 1, 0]
        assert change.sum(RESPONSE_BYTES) >= len(broken.value.partial)

    def test_a_client_that_resets_in_the_response_counts_once_as_499(
        self, server: Gunicorn
    ) -> None:
        with counted(server, 4) as change:
            for _ in range(3):
                clients.reset_in_response(server.address, "/stream?n=400&delay=0.001")
            server.get()

        assert change.by(REQUESTS, "status") == {(CLIENT_GONE,): 3, ("200",): 1}
        assert change.sum(EXCEPTIONS) == change.sum(ERRORS) == 0

    # -- sizes -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [0, 10, 300_000])
    def test_request_bodies_are_measured(self, server: Gunicorn, size: int) -> None:
        body = b"b" * size

        with counted(server, 3) as change:
            echoed = server.get("/echo", method="POST", body=body)
            server.get("/unread", method="PUT", body=body)
            chunks = send_chunked(server, "/echo", [body[:7], body[7:]] if size else [])

        assert echoed.body == chunks.body == body
        assert change.sum(REQUEST_BYTES) == 3 * size
        assert change.sum(RESPONSE_BYTES) == 2 * size + len("unread")

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/big?size=3000000"),
            ("GET", "/status/204"),
            ("GET", "/status/304"),
        ],
    )
    def test_response_bodies_are_measured(self, server: Gunicorn, method: str, path: str) -> None:
        with counted(server, 1) as change:
            answer = server.get(path, method=method)

        assert change.sum(RESPONSE_BYTES) == len(answer.body)

    def test_streamed_bodies_are_measured_without_their_framing(self, server: Gunicorn) -> None:
        with counted(server, 1) as change:
            answer = server.get("/stream?n=50")

        assert change.sum(RESPONSE_BYTES) == len(answer.body) == 50 * 1024

    # -- time ------------------------------------------------------------------------------------

    def test_the_duration_runs_to_the_last_byte(self, server: Gunicorn) -> None:
        with counted(server, 1) as change:
            server.get("/stream?n=5&delay=0.06")

        assert 0.3 <= change.sum(DURATION, endpoint="/stream") < 3

    def test_the_duration_includes_the_time_that_a_slow_client_reads(
        self, server: Gunicorn
    ) -> None:
        """16 MB are far beyond what sockets buffer."""
        with counted(server, 1) as change:
            received = read_late(server, "/stream?n=16000", 0.4)

        assert received > 16_000 * 1024
        assert change.sum(RESPONSE_BYTES) == 16_000 * 1024
        assert change.sum(DURATION, endpoint="/stream") > 0.4

    def test_requests_in_progress_are_seen_until_they_end(self, server: Gunicorn) -> None:
        count = 2 if self.concurrent > 1 else 1
        with ThreadPoolExecutor(count) as pool, counted(server, count):
            asked = [pool.submit(server.get, "/slow?seconds=0.5") for _ in range(count)]
            server.wait_for(lambda: server.metrics().sum(IN_PROGRESS) == count)
            assert [answer.result().status for answer in asked] == [200] * count

    # -- many ------------------------------------------------------------------------------------

    def test_two_hundred_connections_at_once_count_two_hundred(self, server: Gunicorn) -> None:
        request = b"GET /hello HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"

        with counted(server, 200) as change, ExitStack() as stack:
            connect = partial(clients.connected, server.address)
            connections = [stack.enter_context(connect()) for _ in range(200)]
            for connection in connections:
                connection.sendall(request)
            answers = read_each(connections)

        assert [answer.split(b" ", 2)[1] for answer in answers] == [b"200"] * 200
        assert change.by(REQUESTS, "status") == {("200",): 200}
        assert len(change.by(WORKER_REQUESTS, "worker_id")) == 2

    # -- ends ------------------------------------------------------------------------------------

    def test_nothing_is_lost_when_workers_are_killed_and_gunicorn_stops(
        self, gunicorn_version: str | None, tmp_path: Path
    ) -> None:
        """A SIGKILL costs at most what its worker had in hand; a SIGTERM costs nothing."""
        env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        with self.run(gunicorn_version, env=env) as server:
            wait_running(server)
            load = self.kill_workers_under_load(server)
            metrics = server.metrics()
            count = metrics.sum(REQUESTS)
            for name in (REQUESTS, WORKER_REQUESTS, "gunicorn_request_duration_seconds_count"):
                lost = load.answered - metrics.sum(name)
                assert -load.broken <= lost <= KILLS * self.concurrent, name

            in_flight = 2 * min(self.concurrent, 2)
            with ThreadPoolExecutor(in_flight) as pool:
                asked = [pool.submit(server.get, "/slow?seconds=1") for _ in range(in_flight)]
                server.wait_for(lambda: server.metrics().sum(IN_PROGRESS) == in_flight)
                assert server.stop() == 0
                assert [answer.result().status for answer in asked] == [200] * in_flight

        assert left_in(tmp_path).sum(REQUESTS) == count + in_flight

    def kill_workers_under_load(self, server: Gunicorn) -> Load:
        """Kill one worker after the other while clients ask; no counter may ever fall."""
        seen = server.metrics()
        with Load(server.address) as load:
            for _ in range(KILLS):
                load.wait_answers(20)
                victim = server.worker_pids()[0]
                server.signal(signal.SIGKILL, victim)
                server.wait_workers(2, but=[victim])
                before, seen = seen, server.metrics()
                assert fallen(before, seen) == []
            load.wait_answers(20)
        wait_running(server)
        server.wait_for(lambda: server.metrics().sum(IN_PROGRESS) == 0)
        return load


def exchange(server: Gunicorn, method: str, path: str) -> bytes:
    """Send one bare request and return every byte of the answer."""
    line = f"{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    with clients.connected(server.address) as client:
        client.sendall(line.encode())
        return clients.read_all(client)


def status_of(server: Gunicorn, method: str, path: str) -> int:
    """Send one bare request and return the status of the answer."""
    return int(exchange(server, method, path).split(b" ", 2)[1])


def read_each(connections: list[socket.socket]) -> list[bytes]:
    """Read all connections to their end, whichever is ready, and close each at its end.

    A server may wait for a client to close before it goes on to the next one.
    """
    answers = dict.fromkeys(connections, b"")
    with selectors.DefaultSelector() as selector:
        for one in connections:
            selector.register(one, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(30)
            assert ready, "no answer for 30 s"
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                connection = key.fileobj
                data = connection.recv(65536)
                answers[connection] += data
                if not data:
                    selector.unregister(connection)
                    connection.close()
    return list(answers.values())


def read_late(server: Gunicorn, path: str, pause: float) -> int:
    """Ask for `path`, wait before reading the answer; return how many bytes came."""
    received = 0
    with clients.connected(server.address) as client:
        client.sendall(b"GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n" % path.encode())
        time.sleep(pause)  # the slowness is what this client is for
        while data := client.recv(1 << 20):
            received += len(data)
    return received


def send_chunked(server: Gunicorn, path: str, chunks: list[bytes]) -> Response:
    """POST `chunks` with a chunked transfer coding."""
    client = plain_http.connection(server.address)
    try:
        client.request(
            "POST", path, body=iter(chunks), headers={"Connection": "close"}, encode_chunked=True
        )
        answer = client.getresponse()
        return Response(answer.status, {}, answer.read())
    finally:
        client.close()


def left_in(folder: Path) -> Samples:
    """Return what a stopped gunicorn has left in `folder`, as prometheus_client itself reads it."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return Samples(generate_latest(registry).decode())
