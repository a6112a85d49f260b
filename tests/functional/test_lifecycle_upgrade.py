"""A binary upgrade (USR2): counters, directory and metrics port go over to the next master."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import http
from tests.support.exits import exits
from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.processes import is_alive
from tests.support.samples import Samples
from tests.support.versions import every_gunicorn, oldest_and_newest
from tests.support.waiting import wait_until

REQUESTS = "gunicorn_requests_total"
INTERVAL = 0.05


class Scraper(threading.Thread):
    """Scrapes 20 times a second, and remembers when each answer came and what it counted."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Prepare to scrape `address`."""
        super().__init__()
        self.address = address
        self.done = threading.Event()
        self.times: list[float] = []
        self.counts: list[float] = []
        self.failures: list[Exception] = []

    def run(self) -> None:
        """Scrape until done."""
        while not self.done.wait(INTERVAL):
            try:
                text = http.request(self.address, "/metrics").text
            except OSError as error:
                self.failures.append(error)
            else:
                self.times.append(time.monotonic())
                self.counts.append(Samples(text).sum(REQUESTS))

    @property
    def longest_gap(self) -> float:
        """The longest time without an answer, in seconds."""
        return max(b - a for a, b in zip(self.times, self.times[1:], strict=False))


@contextmanager
def scraping(server: Gunicorn) -> Iterator[Scraper]:
    """Scrape all the while; in the end no scrape may have failed, and no count have fallen."""
    scraper = Scraper(server.metrics_address)
    scraper.start()
    try:
        yield scraper
    finally:
        scraper.done.set()
        scraper.join()
    assert not scraper.failures
    assert scraper.counts == sorted(scraper.counts)


def upgrade(server: Gunicorn) -> int:
    """Start the next master, wait until its workers run, return its pid."""
    started = len(re.findall("Listening at", server.log_text()))
    server.signal(signal.SIGUSR2)
    server.wait_log("Listening at", count=started + 1)
    pid = newest_master(server)
    server.wait_for(lambda: len(server.worker_pids(pid)) == 2, message="the new workers")
    server.wait_sum("gunicorn_workers", 4)
    return pid


def newest_master(server: Gunicorn) -> int:
    """Return the pid of the master that was started last."""
    return int(re.findall(r"Listening at: .*\((\d+)\)$", server.log_text(), re.MULTILINE)[-1])


def ask(server: Gunicorn, count: int) -> None:
    """Send so many requests, all answered 200."""
    for _ in range(count):
        assert server.get().status == 200


@every_gunicorn
def test_counters_and_scrapes_go_on_through_an_upgrade(
    gunicorn_version: str | None, tmp_path: Path
) -> None:
    pidfile = tmp_path / "pid"
    config = f"pidfile = {str(pidfile)!r}"
    with (
        running_gunicorn(config=config, gunicorn_version=gunicorn_version) as server,
        scraping(server) as scraper,
    ):
        port, folders = server.metrics_address, server.storage_folders()
        ask(server, 10)
        new = upgrade(server)
        assert server.metrics_address == port
        ask(server, 10)
        server.wait_sum(REQUESTS, 20)

        server.signal(signal.SIGTERM)
        assert server.wait_end() == 0
        wait_until(lambda: server.exporter_pids(new), message="the new master's exporter")
        ask(server, 10)
        wait_for_requests(server, 30)
        metrics = server.metrics()
        assert metrics.value("gunicorn_workers") == 2
        assert exits(metrics) == {("shutdown", "graceful"): 2}
        assert metrics.value("gunicorn_master_worker_restart_total", reason="usr2") == 1
        assert server.storage_folders() == folders
        assert pidfile.read_text().strip() == str(new)

        scraper.done.set()
        scraper.join()
        assert scraper.longest_gap < 1.0
        server.signal(signal.SIGTERM, new)
        server.assert_nothing_left()
        assert not any(folder.exists() for folder in folders)
        assert not pidfile.exists()


@oldest_and_newest
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_an_upgrade_may_be_rolled_back(sig: int, gunicorn_version: str | None) -> None:
    """The next master goes, gently or not; the old one goes on, and may try again."""
    config = "timeout = 2"  # idle sync workers look for their master at every half of it
    with (
        running_gunicorn(config=config, gunicorn_version=gunicorn_version) as server,
        scraping(server) as scraper,
    ):
        ask(server, 5)
        new = upgrade(server)
        ask(server, 5)
        server.signal(sig, new)
        wait_until(lambda: not is_alive(new), message="the next master to end")
        server.wait_sum("gunicorn_workers", 2)
        ask(server, 5)
        server.wait_sum(REQUESTS, 15)
        assert len(server.exporter_pids()) == 1

        newest = upgrade(server)
        ask(server, 5)
        server.signal(signal.SIGKILL)  # the first one: the newest is promoted
        server.wait_end()
        wait_until(lambda: server.exporter_pids(newest), message="the newest master's exporter")
        wait_until(lambda: server.metrics().value("gunicorn_workers") == 2)
        ask(server, 5)
        wait_for_requests(server, 25)

        scraper.done.set()
        scraper.join()
        assert scraper.longest_gap < 1.0
        server.signal(signal.SIGTERM, newest)
        wait_until(lambda: not is_alive(newest), message="the newest master to end")
        server.assert_nothing_left()


def test_an_upgrade_follows_an_upgrade() -> None:
    """What the next master inherited it hands over in its turn."""
    with running_gunicorn() as server:
        port, folders = server.metrics_address, server.storage_folders()
        master = server.master_pid
        for count in (1, 2, 3):
            ask(server, 5)
            master = replace(server, master)
            wait_for_requests(server, 5 * count)
            assert server.metrics_address == port
            assert server.storage_folders() == folders

        server.wait_end()
        server.signal(signal.SIGTERM, master)
        server.assert_nothing_left()
        assert not any(folder.exists() for folder in folders)


def replace(server: Gunicorn, master: int) -> int:
    """Have another master take over from `master`; return its pid."""
    started = server.log_text().count("Listening at")
    server.signal(signal.SIGUSR2, master)
    wait_until(lambda: server.log_text().count("Listening at") > started)
    new = newest_master(server)
    wait_until(lambda: len(server.worker_pids(new)) == 2, message="the new workers")
    server.signal(signal.SIGTERM, master)
    wait_until(lambda: not is_alive(master), message="the old master to end")
    return new


def wait_for_requests(server: Gunicorn, count: int) -> None:
    """Wait until so many requests are counted; the first master may have ended."""
    wait_until(lambda: server.metrics().sum(REQUESTS) == count, message=f"{count} requests")


@oldest_and_newest
def test_the_old_master_may_end_before_the_next_one_is_ready(
    gunicorn_version: str | None, tmp_path: Path
) -> None:
    """While that one loads its application; what was counted is there when it comes."""
    gate = tmp_path / "open"
    code = tmp_path / "loading.py"
    code.write_text(
        "import os, time\n"
        f"while 'GUNICORN_PID' in os.environ and not os.path.exists({str(gate)!r}):\n"
        "    time.sleep(0.02)\n"
        "from tests.support.apps import app\n"
    )
    with running_gunicorn(str(code), preload=True, gunicorn_version=gunicorn_version) as server:
        ask(server, 5)
        server.wait_sum(REQUESTS, 5)
        folders = server.storage_folders()
        server.signal(signal.SIGUSR2)
        server.wait_sum("gunicorn_master_worker_restart_total", 1, reason="usr2")
        server.signal(signal.SIGTERM)
        assert server.wait_end() == 0

        gate.touch()
        wait_until(lambda: server.log_text().count("Listening at") == 2)
        wait_until(lambda: len(server.worker_pids(newest_master(server))) == 2)
        ask(server, 5)
        wait_for_requests(server, 10)
        assert server.storage_folders() == folders

        server.signal(signal.SIGTERM, newest_master(server))
        server.assert_nothing_left()
        assert not any(folder.exists() for folder in folders)
