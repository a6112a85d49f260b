"""Where a gunicorn keeps its storage while it runs: opened, shared, handed over, removed."""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from gunicorn_prometheus_exporter.errors import StorageError
from gunicorn_prometheus_exporter.storage.contract import Region, Volume
from gunicorn_prometheus_exporter.storage.files import FileVolume
from gunicorn_prometheus_exporter.storage.locks import try_lock
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.slots import is_held

AUTO_PREFIX = "gunicorn-prometheus-"
"""What the names of the directories start with that we make and remove ourselves."""

_TMPFS = "/dev/shm"
_RUN_LOCK = "run.lock"
_PATIENCE = 2.0
_OURS = re.compile(
    r"slot-.*\.lock|run\.lock|\.new-.*|(counter|histogram|summary|gauge_[a-z]+)_.*\.db"
)


class Place(Protocol):
    """A volume and the things that gunicorn's master does with it."""

    @property
    def volume(self) -> Volume:
        """The volume."""

    def spec(self) -> Mapping[str, object]:
        """Return what another process needs to open the volume, as plain JSON values."""

    def inheritable_fds(self) -> tuple[int, ...]:
        """Return the descriptors that another process needs to open the volume."""

    def give_to(self, uid: int, gid: int) -> None:
        """Let the user and group that workers run as read and write everything."""

    def close(self, *, handed_over: bool = False) -> None:
        """Leave, and remove what nobody else uses any more.

        handed_over: another gunicorn will use it, although it may not have come so far yet.
        """

    def close_in_child(self) -> None:
        """Let go of what only the master holds, in a forked worker."""


class DirectoryPlace:
    """A directory that every gunicorn using it holds a shared lock on."""

    def __init__(self, path: str, *, is_auto: bool, is_inherited: bool = False) -> None:
        """Use the directory `path`; raises StorageError, in one sentence, if it cannot be used.

        is_auto: it was made for this run, and goes away with the last gunicorn that uses it.
        is_inherited: another gunicorn handed it over, so that what is in it goes on.
        """
        self.path = path
        self.is_auto = is_auto
        self.volume: FileVolume = FileVolume(path)
        self._lock = self._enter()
        if not is_inherited and try_lock(self._lock):
            _remove_leftovers(self.volume)
        deadline = time.monotonic() + _PATIENCE
        while not try_lock(self._lock, shared=True):  # another gunicorn is just starting or leaving
            if time.monotonic() > deadline:
                raise StorageError(f"{path}: its {_RUN_LOCK} is held by another process.")
            time.sleep(0.01)

    @classmethod
    def configured(cls, path: str, former: object = None) -> DirectoryPlace:
        """Return the directory that the user named, made if it is absent.

        former: the one that another gunicorn handed over.
        """
        path = os.path.abspath(path)
        try:
            os.makedirs(path, mode=0o755, exist_ok=True)
        except OSError as error:
            raise _unusable(path, error) from error
        return cls(path, is_auto=False, is_inherited=path == former)

    @classmethod
    def temporary(cls) -> DirectoryPlace:
        """Return a new directory in shared memory, or where temporary files go."""
        usable = os.path.isdir(_TMPFS) and os.access(_TMPFS, os.W_OK | os.X_OK)
        parent = _TMPFS if usable else tempfile.gettempdir()
        _remove_stale_directories(parent)
        try:
            # Hidden until its lock is held, or the next gunicorn to start would take it for stale.
            hidden = tempfile.mkdtemp(prefix="." + AUTO_PREFIX, dir=parent)
            place = cls(hidden, is_auto=True)
            place._rename(os.path.join(parent, os.path.basename(hidden)[1:]))
        except OSError as error:
            raise _unusable(parent, error) from error
        return place

    def _rename(self, path: str) -> None:
        os.rename(self.path, path)
        self.path = self.volume.path = path

    def _enter(self) -> Region:
        try:
            lock = os.open(
                os.path.join(self.path, _RUN_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            raise _unusable(self.path, error) from error
        return Region(lock, 0, 1)

    def spec(self) -> Mapping[str, object]:
        """Return the path, and whether it goes away with the last gunicorn that uses it."""
        return {"directory": self.path, "is_auto": self.is_auto}

    def inheritable_fds(self) -> tuple[int, ...]:
        """Return none: the path is enough."""
        return ()

    def give_to(self, uid: int, gid: int) -> None:
        """Change the owner of an automatic directory, and of our files, if this process is root.

        Raises StorageError if the directory is closed to the workers.
        """
        if os.geteuid() != 0:
            return
        self.volume.owner = (uid, gid)
        try:
            if self.is_auto:
                os.chown(self.path, uid, gid)
            elif not _may_write(self.path, uid, gid):
                raise StorageError(
                    f"PROMETHEUS_MULTIPROC_DIR={self.path!r}: the workers run as user "
                    f"{_name(uid)}, who may not write there; change the owner of this directory."
                )
            self._give_files(uid, gid)
        except OSError as error:
            raise _unusable(self.path, error) from error

    def _give_files(self, uid: int, gid: int) -> None:
        for entry in os.scandir(self.path):
            if _OURS.fullmatch(entry.name):
                with suppress(FileNotFoundError):  # another gunicorn's, that has just gone
                    os.chown(entry.path, uid, gid, follow_symlinks=False)

    def close(self, *, handed_over: bool = False) -> None:
        """Remove an automatic directory if no other gunicorn uses it, or will."""
        if self.is_auto and not handed_over and self._is_last():
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock.fd)

    def _is_last(self) -> bool:
        """Return whether no other gunicorn uses the directory, nor will: its lock is ours then."""
        if try_lock(self._lock):
            return True
        # Another one may be leaving too, and find us here. Who asks last, having left, is alone.
        left = self._lock
        try:
            self._lock = self._enter()
        except StorageError:  # the other one was faster
            return False
        os.close(left.fd)
        return try_lock(self._lock)

    def close_in_child(self) -> None:
        """Let go of the lock in a forked process."""
        os.close(self._lock.fd)


class MemoryPlace:
    """Anonymous memory: there is nothing to clean up."""

    def __init__(self, volume: MemoryVolume | None = None) -> None:
        """Use the memory that another gunicorn handed over, or new one."""
        try:
            self.volume: MemoryVolume = volume or MemoryVolume.create()
        except OSError as error:
            raise StorageError(f"no shared memory for metrics: {error.strerror}.") from error

    def spec(self) -> Mapping[str, object]:
        """Return the descriptor under the key `memory_fd`."""
        return {"memory_fd": self.volume.fd}

    def inheritable_fds(self) -> tuple[int, ...]:
        """Return the descriptor of the memory."""
        return (self.volume.fd,)

    def give_to(self, uid: int, gid: int) -> None:
        """Do nothing: whoever inherits the descriptor may use the memory."""

    def close(self, *, handed_over: bool = False) -> None:
        """Close the descriptor; who inherited it has its own."""
        os.close(self.volume.fd)

    def close_in_child(self) -> None:
        """Keep the descriptor: the child writes to the same memory."""


def _unusable(path: str, error: OSError) -> StorageError:
    return StorageError(
        f"metrics cannot be kept in {path!r}: {os.strerror(error.errno or errno.EIO)}. "
        "Set PROMETHEUS_MULTIPROC_DIR to a directory that gunicorn may write to."
    )


def _may_write(path: str, uid: int, gid: int) -> bool:
    found = os.stat(path)
    if uid == 0:
        return True
    if found.st_uid == uid:
        return bool(found.st_mode & stat.S_IWUSR)
    if found.st_gid in _groups(uid, gid):
        return bool(found.st_mode & stat.S_IWGRP)
    return bool(found.st_mode & stat.S_IWOTH)


def _groups(uid: int, gid: int) -> list[int]:
    """Return the groups of a user whose own is `gid`: workers may get them, by `initgroups`."""
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _remove_leftovers(volume: FileVolume) -> None:
    """Delete what a dead run left in a directory that no gunicorn uses now.

    Files of living processes that write there by themselves, such as a plain prometheus_client in
    multiprocess mode, stay.
    """
    held = [slot for slot in volume.slots() if is_held(volume, slot)]
    if held:  # workers whose master was killed a moment ago
        return
    for name in list(volume.arenas()):
        is_foreign = name.owner.isdigit() and not _has_slot(volume, name.owner)
        if not (is_foreign and _is_alive(int(name.owner))):
            volume.delete_arena(name)
    for entry in os.scandir(volume.path):
        if re.fullmatch(r"slot-.*\.lock|\.new-.*", entry.name):
            os.unlink(entry.path)


def _has_slot(volume: FileVolume, owner: str) -> bool:
    return owner in volume.slots()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _remove_stale_directories(parent: str) -> None:
    """Delete our own users' automatic directories whose gunicorn was killed."""
    for entry in os.scandir(parent):
        is_automatic = entry.name.startswith(AUTO_PREFIX) and entry.is_dir(follow_symlinks=False)
        if is_automatic and os.geteuid() in (0, entry.stat(follow_symlinks=False).st_uid):
            _remove_if_stale(entry.path)


def _remove_if_stale(path: str) -> None:
    try:
        fd = os.open(os.path.join(path, _RUN_LOCK), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # just being made, or not ours
    try:
        volume = FileVolume(path)
        if try_lock(Region(fd, 0, 1)) and not any(is_held(volume, s) for s in volume.slots()):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)
