"""Kernel locks that tell whether a process lives: dropped by the kernel on any kind of death.

Open file description locks on Linux, `flock` elsewhere. POSIX record locks are of no use here: a
process loses them when it closes any descriptor of the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys

from gunicorn_prometheus_exporter.storage.contract import Region

OFD = sys.platform == "linux"
# <bits/fcntl-linux.h>; the names are in the fcntl module only from Python 3.9 on some builds.
_F_OFD_GETLK, _F_OFD_SETLK, _F_OFD_SETLKW = 36, 37, 38
_FLOCK = "hhqqi4x"
_BUSY = (errno.EACCES, errno.EAGAIN)


def _flock(kind: int, region: Region) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, region.offset, 1, 0)


def try_lock(region: Region, *, shared: bool = False) -> bool:
    """Take the lock of `region` without waiting; return whether it is now ours."""
    try:
        if OFD:
            kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
            fcntl.fcntl(region.fd, _F_OFD_SETLK, _flock(kind, region))
        else:
            fcntl.flock(region.fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


def is_locked(region: Region) -> bool:
    """Return whether another open file description holds the lock of `region` exclusively."""
    if OFD:
        # Asking as a reader works on descriptors opened for reading only.
        answer = fcntl.fcntl(region.fd, _F_OFD_GETLK, _flock(fcntl.F_RDLCK, region))
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
    if try_lock(region, shared=True):
        fcntl.flock(region.fd, fcntl.LOCK_UN)
        return False
    return True
