"""Looks at what passes between gunicorn and a client, without keeping it."""

from __future__ import annotations

from typing import Any


class AnswerTap:
    """A client's socket that remembers the status of the answer that is sent through it.

    Which one gunicorn gives to a malformed request differs from release to release.
    """

    def __init__(self, client: Any) -> None:
        """Send to `client`."""
        self._client = client
        self.status: int | None = None
        """What was sent, if anything was."""

    def sendall(self, data: bytes) -> None:
        """Send `data`, which begins with `HTTP/1.1 400 `."""
        self._client.sendall(data)
        self.status = self.status or int(data[9:12])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class ChunkCounter:
    """Counts the bytes of a request body whose length nobody announced."""

    def __init__(self, reader: Any) -> None:
        """Read through `reader`."""
        self._reader = reader
        self.count = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes of the body."""
        data: bytes = self._reader.read(size)
        self.count += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def count_chunks(req: Any) -> ChunkCounter | None:
    """Have the bytes of the body of `req` counted as they are read, if it is chunked."""
    try:
        reader = req.body.reader
    except AttributeError:  # over HTTP/2
        return None
    if type(reader).__name__ != "ChunkedReader":
        return None
    req.body.reader = counter = ChunkCounter(reader)
    return counter
