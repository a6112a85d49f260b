"""The exporter's HTTP server, over real sockets, with clients that behave and others."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.exporter.connection import Patience
from gunicorn_prometheus_exporter.exporter.endpoint import Request, Response, plain
from gunicorn_prometheus_exporter.exporter.listener import listen
from gunicorn_prometheus_exporter.exporter.server import Server
from gunicorn_prometheus_exporter.exporter.tls import server_context
from gunicorn_prometheus_exporter.settings import Settings
from tests.support import http
from tests.support.certificates import Certificates, tls_get
from tests.support.clients import connected, keep_alive, read_all, reset, send_raw, send_slowly
from tests.support.waiting import wait_until

Address = tuple[str, int]

GET = b"GET /hello HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


def echo(request: Request) -> Response:
    """Answer with the request; `/big` with 8 MiB."""
    if request.path == "/big":
        return plain(200, "x" * (8 << 20))
    return plain(200, repr(tuple(request)))


@contextmanager
def serving(
    respond: Callable[[Request], Response] = echo,
    *,
    patience: Patience | None = None,
    max_connections: int = 256,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Address]:
    """Yield the address of a server that runs in a thread, and stop it in the end."""
    with listen("127.0.0.1", 0) as listener:
        server = Server(
            listener, respond, patience=patience, max_connections=max_connections, tls=tls
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.stop()
            thread.join(10)
            assert not thread.is_alive()


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def test_the_answer_reaches_the_client() -> None:
    with serving() as address:
        response = http.request(address, "/a?b=c", headers={"Accept": "text/plain"})

    assert response.status == 200
    assert response.text == "('GET', '/a', 'b=c', 'text/plain', 'identity')\n"
    assert response.headers["connection"] == "close"
    assert response.headers["date"].endswith(" GMT")


def test_a_connection_serves_one_request_after_the_other() -> None:
    with serving() as address:
        assert keep_alive(address, ["/a", "/b", "/c"]) == [200, 200, 200]


def test_requests_that_come_at_once_are_answered_in_turn() -> None:
    with serving() as address:
        first = b"GET /first HTTP/1.1\r\nHost: t\r\n\r\n"
        answer = send_raw(address, b"\r\n" + first + GET)

    assert answer.index(b"/first") < answer.index(b"/hello")
    assert answer.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    ("request_line", "path"),
    [(b"GET http://there:9/whole?q HTTP/1.1", "/whole"), (b"GET http://there HTTP/1.1", "/")],
)
def test_a_whole_url_is_understood_as_proxies_send_it(request_line: bytes, path: str) -> None:
    with serving() as address:
        answer = send_raw(address, request_line + b"\r\nHost: t\r\n\r\n")

    assert repr(path).encode() in answer


def test_old_clients_are_served_and_their_connection_closed() -> None:
    """`printf 'GET / HTTP/1.0\\n\\n' | nc` is enough for a scrape by hand."""
    with serving() as address:
        answer = send_raw(address, b"GET /old HTTP/1.0\n\n")

    assert status(answer) == 200
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"NOT A REQUEST AT ALL\r\n\r\n", 400),
        (b"GET /hello\r\n\r\n", 400),
        (b"GET  /hello HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: t\r\nno colon\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: t\r\n folded\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: t\r\nBad Name: x\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: t\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"G" * 40_000, 431),
    ],
)
def test_malformed_requests_are_refused(data: bytes, expected: int) -> None:
    with serving() as address:
        answer = send_raw(address, data)

        assert status(answer) == expected
        assert b"Connection: close" in answer
        assert status(send_raw(address, GET)) == 200


@pytest.mark.parametrize(
    "header", [b"Content-Length: 100000", b"Transfer-Encoding: chunked", b"Content-Length: many"]
)
def test_what_follows_a_request_with_a_body_is_not_taken_for_a_request(header: bytes) -> None:
    with serving() as address:
        answer = send_raw(address, b"POST / HTTP/1.1\r\nHost: t\r\n" + header + b"\r\n\r\n" + GET)

    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answer


def test_the_answer_survives_what_the_client_still_sends() -> None:
    """Closing with unread bytes would reset the connection, and the answer with it."""
    with serving() as address, connected(address) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999\r\n\r\n")
        client.sendall(b"x" * 300_000)

        assert status(read_all(client)) == 200


def test_a_big_answer_arrives_whole() -> None:
    with serving() as address:
        assert len(http.request(address, "/big").body) == (8 << 20) + 1


def test_a_slow_reader_keeps_nobody_waiting() -> None:
    with serving() as address, ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(connected(address))
            client.sendall(b"GET /big HTTP/1.1\r\nHost: t\r\n\r\n")
            client.recv(1)

        assert http.request(address, "/quick", timeout=5).status == 200


def test_silent_and_dripping_clients_keep_nobody_waiting() -> None:
    with serving() as address, ExitStack() as stack:
        for number in range(100):
            client = stack.enter_context(connected(address))
            client.sendall(b"GET /never HTTP/1.1\r\nX: "[: number % 20])

        started = time.monotonic()
        assert http.request(address, "/quick", timeout=5).status == 200
        assert time.monotonic() - started < 1


def test_a_client_that_drips_is_dropped_in_the_end() -> None:
    """Each byte comes in time; the whole does not."""
    with serving(patience=Patience(head=0.3)) as address, connected(address) as client:
        started = time.monotonic()
        assert _drip_until_closed(client)

        assert 0.25 < time.monotonic() - started < 5


def _drip_until_closed(client: socket.socket) -> bool:
    client.settimeout(0.02)

    def is_closed() -> bool:
        try:
            client.sendall(b"x")
            return client.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    return wait_until(is_closed, message="the server to drop a client that drips")


def test_a_slow_but_finite_request_is_served() -> None:
    with serving() as address:
        assert status(send_slowly(address, "/hello", pause=0.002)) == 200


def test_a_client_that_waits_between_requests_is_dropped_in_the_end() -> None:
    with serving(patience=Patience(idle=0.2)) as address, connected(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")

        assert status(read_all(client)) == 200


def test_a_client_that_does_not_read_is_dropped_in_the_end() -> None:
    patience = Patience(send=0.3)
    with serving(patience=patience) as address, connected(address) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /big HTTP/1.1\r\nHost: t\r\n\r\n")
        wait_until(lambda: _is_reset(client), message="the server to give the client up")


def _is_reset(client: socket.socket) -> bool:
    try:
        client.send(b"x")
    except OSError:
        return True
    return False


def test_the_longest_silent_client_makes_room_for_a_new_one() -> None:
    with serving(max_connections=3) as address, ExitStack() as stack:
        silent = [stack.enter_context(connected(address)) for _ in range(3)]
        wait_until(lambda: http.request(address, "/").status == 200)

        assert silent[0].recv(1) == b""


def test_a_hundred_scrapes_at_once_all_succeed() -> None:
    with serving() as address, ThreadPoolExecutor(100) as pool:
        answers = pool.map(lambda n: http.request(address, f"/{n}"), range(100))

        assert [f"'/{n}'" in answer.text for n, answer in enumerate(answers)] == [True] * 100


def test_clients_that_go_away_leave_nothing_open() -> None:
    with serving() as address:
        assert http.request(address, "/").status == 200
        before = len(os.listdir("/proc/self/fd"))
        for data in (b"", b"GET", GET, b"GET /big HTTP/1.1\r\nHost: t\r\n\r\n"):
            with connected(address) as client:
                client.sendall(data)
            with connected(address) as client:
                client.sendall(data)
                reset(client)

        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        assert http.request(address, "/").status == 200


def test_two_servers_may_accept_on_one_socket() -> None:
    """Both wake up for each connection; the slower one must not mind that it is gone."""
    with listen("127.0.0.1", 0) as listener:
        servers = [Server(listener, echo) for _ in range(2)]
        threads = [threading.Thread(target=server.run) for server in servers]
        for thread in threads:
            thread.start()

        answers = [http.request(listener.getsockname(), "/") for _ in range(100)]
        alive = [thread.is_alive() for thread in threads]
        for server in servers:
            server.stop()
        for thread in threads:
            thread.join(10)

    assert {answer.status for answer in answers} == {200}
    assert alive == [True, True]


def test_stopping_lets_answers_under_way_arrive() -> None:
    release, asked = threading.Event(), threading.Event()

    def hold(request: Request) -> Response:
        asked.set()
        assert release.wait(10)
        return plain(200, "held")

    with listen("127.0.0.1", 0) as listener, connected(listener.getsockname()) as client:
        server = Server(listener, hold)
        thread = threading.Thread(target=server.run)
        thread.start()
        client.sendall(GET)
        assert asked.wait(10)

        server.stop()
        release.set()

        assert read_all(client).endswith(b"held\n")
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate authority, a server and a client, made by the openssl command."""
    return Certificates.create(tmp_path_factory.mktemp("certificates"))


def tls_settings(certificates: Certificates) -> Settings:
    return Settings(
        ssl_certfile=str(certificates.server_cert), ssl_keyfile=str(certificates.server_key)
    )


def mutual_tls_settings(certificates: Certificates) -> Settings:
    ca = str(certificates.ca_cert)
    return replace(tls_settings(certificates), ssl_client_cafile=ca, ssl_client_auth_required=True)


def test_tls_serves_who_trusts_the_certificate(certificates: Certificates) -> None:
    with serving(tls=server_context(tls_settings(certificates))) as address:
        answer = tls_get(address, certificates.client_context())

    assert status(answer) == 200


def test_tls_carries_a_big_answer(certificates: Certificates) -> None:
    with serving(tls=server_context(tls_settings(certificates))) as address:
        answer = tls_get(address, certificates.client_context(), "/big")

    assert len(answer) > 8 << 20


def test_client_certificates_are_demanded_where_required(certificates: Certificates) -> None:
    with serving(tls=server_context(mutual_tls_settings(certificates))) as address:
        with pytest.raises(ssl.SSLError):
            tls_get(address, certificates.client_context())

        assert status(tls_get(address, certificates.client_context(with_certificate=True))) == 200


def test_clients_stuck_in_a_handshake_keep_nobody_waiting(certificates: Certificates) -> None:
    with serving(tls=server_context(tls_settings(certificates))) as address, ExitStack() as stack:
        for number in range(50):
            client = stack.enter_context(connected(address))
            client.sendall(b"\x16\x03\x01\x02\x00"[: number % 6])

        assert status(tls_get(address, certificates.client_context())) == 200


def test_plain_http_on_a_tls_port_harms_nobody(certificates: Certificates) -> None:
    with serving(tls=server_context(tls_settings(certificates))) as address:
        assert not send_raw(address, GET).startswith(b"HTTP")
        assert status(tls_get(address, certificates.client_context())) == 200


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")

    with pytest.raises(SettingsError, match=r"PROMETHEUS_SSL_CERTFILE='.*wrong\.pem'"):
        server_context(Settings(ssl_certfile=str(wrong), ssl_keyfile=str(wrong)))


def test_an_encrypted_key_is_an_error_and_no_prompt(certificates: Certificates) -> None:
    encrypted = certificates.encrypt_key("secret")
    settings = replace(tls_settings(certificates), ssl_keyfile=str(encrypted))

    with pytest.raises(SettingsError, match="no usable certificate and key"):
        server_context(settings)
