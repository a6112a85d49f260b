"""A volume that is a directory: one file per slot header and per arena."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from gunicorn_prometheus_exporter.storage.contract import GAUGE_MODES, ArenaName, Region
from gunicorn_prometheus_exporter.storage.header import PAGE
from gunicorn_prometheus_exporter.storage.layout import encode_head
from gunicorn_prometheus_exporter.storage.space import reserve

MAX_ARENA = 1 << 30
"""Bytes of the largest arena; int32 offsets end at twice that."""

_MODE = 0o644
_ARENA_FILE = re.compile(
    rf"(counter|histogram|summary|gauge_(?:{'|'.join(GAUGE_MODES)}))_([^/]+)\.db\Z"
)
_SLOT_FILE = re.compile(r"slot-([mc]?\d+)\.lock\Z")  # not the lock of the archive


@functools.lru_cache(maxsize=4096)  # a directory is listed at every scrape
def _naturally(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


class FileVolume:
    """The slots and arenas in the directory `path`.

    What this process creates there belongs to `owner`, a pair of user id and group id, if given.
    """

    def __init__(self, path: str, owner: tuple[int, int] | None = None) -> None:
        """Use the directory `path`, which exists."""
        self.path = path
        self.owner = owner

    def open_header(self, slot: str, *, create: bool) -> Region:
        """Return the header page of `slot`; read-only where this process may not write."""
        path = os.path.join(self.path, f"slot-{slot}.lock")
        if not create:
            return Region(self._open_existing(path), 0, PAGE)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            self._give(fd)
            reserve(fd, 0, PAGE)
        except BaseException:
            os.close(fd)
            raise
        return Region(fd, 0, PAGE)

    def open_arena(self, name: ArenaName) -> Region:
        """Return the arena `name`; raises FileNotFoundError if there is none."""
        return Region(self._open_existing(self._arena_path(name)), 0, MAX_ARENA)

    def create_arena(self, name: ArenaName, size: int) -> Region:
        """Return a new arena in place of any old one; it appears under its name when complete."""
        fd, path = tempfile.mkstemp(prefix=".new-", dir=self.path)
        try:
            os.fchmod(fd, _MODE)
            self._give(fd)
            reserve(fd, 0, size)
            os.pwrite(fd, encode_head(int.from_bytes(os.urandom(3), sys.byteorder)), 0)
            os.rename(path, self._arena_path(name))
        except BaseException:
            os.close(fd)
            os.unlink(path)
            raise
        return Region(fd, 0, MAX_ARENA)

    def slots(self) -> Iterator[str]:
        """Yield the name of each slot that was ever claimed."""
        yield from self._matching(_SLOT_FILE)

    def arenas(self) -> Iterator[ArenaName]:
        """Yield the name of each arena, foreign ones included, in a stable order."""
        for file in self._files():
            if match := _ARENA_FILE.match(file):
                yield ArenaName(match[1], match[2])

    def delete_arena(self, name: ArenaName) -> None:
        """Remove an arena; nothing happens if there is none."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._arena_path(name))

    def _arena_path(self, name: ArenaName) -> str:
        return os.path.join(self.path, f"{name.kind}_{name.owner}.db")

    def _files(self) -> list[str]:
        return sorted(os.listdir(self.path), key=_naturally)

    def _matching(self, pattern: re.Pattern[str]) -> Iterator[str]:
        for file in self._files():
            if match := pattern.match(file):
                yield match[1]

    @staticmethod
    def _open_existing(path: str) -> int:
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _give(self, fd: int) -> None:
        if self.owner is not None and os.geteuid() == 0:
            os.fchown(fd, *self.owner)
