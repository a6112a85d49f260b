"""Certificates for tests of TLS, made on the spot by the `openssl` command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.clients import connected, read_all


def _openssl(*arguments: object) -> None:
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificates:
    """An authority, and a server called localhost and a client that it vouches for."""

    directory: Path

    @classmethod
    def create(cls, directory: Path) -> Certificates:
        """Make them all in `directory`; skips the test where there is no openssl."""
        if shutil.which("openssl") is None:
            pytest.skip("the openssl command is not installed")
        made = cls(directory)
        ca_key = directory / "ca.key"
        _openssl(
            "req", "-x509", *_NEW_KEY, "-days", 2, "-subj", "/CN=Test authority",
            "-keyout", ca_key, "-out", made.ca_cert,
        )  # fmt: skip
        made._issue("server", ca_key)
        made._issue("client", ca_key)
        return made

    def _issue(self, name: str, ca_key: Path) -> None:
        request = self.directory / f"{name}.csr"
        names = self.directory / "names.cnf"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _openssl(
            "req", *_NEW_KEY, "-subj", f"/CN={name}",
            "-keyout", self.directory / f"{name}.key", "-out", request,
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-days", 2, "-in", request, "-CA", self.ca_cert, "-CAkey", ca_key,
            "-CAcreateserial", "-extfile", names, "-out", self.directory / f"{name}.pem",
        )  # fmt: skip

    @property
    def ca_cert(self) -> Path:
        """The authority's certificate."""
        return self.directory / "ca.pem"

    @property
    def server_cert(self) -> Path:
        """The server's certificate."""
        return self.directory / "server.pem"

    @property
    def server_key(self) -> Path:
        """The server's key, which is not encrypted."""
        return self.directory / "server.key"

    def encrypt_key(self, password: str) -> Path:
        """Return a copy of the server's key that only `password` opens."""
        encrypted = self.directory / "server-encrypted.key"
        _openssl(
            "pkey", "-in", self.server_key, "-aes256", "-passout", f"pass:{password}",
            "-out", encrypted,
        )  # fmt: skip
        return encrypted

    def client_context(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        """Return what a client needs that trusts the authority, and has a certificate or none."""
        context = ssl.create_default_context(cafile=str(self.ca_cert))
        if with_certificate:
            directory = self.directory
            context.load_cert_chain(directory / "client.pem", directory / "client.key")
        return context


def tls_get(address: tuple[str, int], context: ssl.SSLContext, path: str = "/metrics") -> bytes:
    """Return everything the server called localhost at `address` answers to one request."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connected(address) as plain, ExitStack() as stack:
        client = stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
        client.sendall(request.encode())
        return read_all(client)
