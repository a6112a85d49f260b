"""A program in the role of the gunicorn master: it keeps an exporter process until it is killed.

    python -m tests.support.exporter_master DIRECTORY REPORT [OPTION]

writes its port and the process id of the exporter to the file REPORT once that answers. Options:
--without-streams, --patched-by-gevent, --patched-by-eventlet.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path

from tests.support.supervision import exporting


def main(directory: str, report: str, *options: str) -> None:
    """Keep an exporter for `directory` going."""
    if "--without-streams" in options:
        for fd in (0, 1, 2):
            os.close(fd)
    if "--patched-by-gevent" in options:
        from gevent import monkey

        monkey.patch_all()
    if "--patched-by-eventlet" in options:
        warnings.simplefilter("ignore", DeprecationWarning)  # eventlet announces its own end
        import eventlet

        eventlet.monkey_patch()
    with exporting(Path(directory)) as supervisor:
        unfinished = Path(f"{report}.new")
        unfinished.write_text(f"{supervisor.port} {supervisor.pid}")
        unfinished.rename(report)
        while True:
            supervisor.tick()
            time.sleep(0.05)  # between two turns, as gunicorn's main loop does


if __name__ == "__main__":
    main(*sys.argv[1:])
