"""The directory in which a gunicorn keeps its metrics while it runs."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from gunicorn_prometheus_exporter.errors import StorageError
from gunicorn_prometheus_exporter.storage import place
from gunicorn_prometheus_exporter.storage.place import DirectoryPlace
from gunicorn_prometheus_exporter.storage.slots import claim
from tests.conformance.storage import attached, counter, scrape
from tests.support.forks import Forked, forked, rest

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY = 65534


def test_an_automatic_directory_is_private_and_goes_away() -> None:
    directory = DirectoryPlace.temporary()
    path = Path(directory.path)

    assert path.name.startswith(place.AUTO_PREFIX)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700

    directory.close()

    assert not path.exists()


def test_an_automatic_directory_stays_while_another_gunicorn_uses_it() -> None:
    first = DirectoryPlace.temporary()
    second = DirectoryPlace(first.path, is_auto=True)

    first.close()
    assert Path(first.path).exists()

    second.close()
    assert not Path(first.path).exists()


def test_the_automatic_directory_of_a_killed_gunicorn_is_removed_by_the_next() -> None:
    def run(say) -> None:
        say(DirectoryPlace.temporary().path.encode())
        rest()

    child = Forked(run)
    stale = Path(child.wait_for_word().decode())
    alive = DirectoryPlace.temporary()
    assert stale.exists()

    child.kill()
    successor = DirectoryPlace.temporary()

    assert not stale.exists()
    assert Path(alive.path).exists()
    alive.close()
    successor.close()


def test_a_dead_runs_metrics_are_removed_and_other_files_are_not(tmp_path: Path) -> None:
    def run(say) -> None:
        directory = DirectoryPlace.configured(str(tmp_path))
        counter(attached(directory.volume)).add(1)
        say(b".")
        rest()

    with forked(run):
        second = DirectoryPlace.configured(str(tmp_path))
        assert scrape(second.volume).value("hits_total") == 1
        second.close()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / f"counter_{os.getpid()}.db").write_bytes(bytes(1024))
    (tmp_path / "counter_4194399.db").write_bytes(bytes(1024))

    directory = DirectoryPlace.configured(str(tmp_path))

    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"run.lock", "notes.txt", f"counter_{os.getpid()}.db"}
    directory.close()


def test_workers_that_outlive_their_master_keep_what_they_count(tmp_path: Path) -> None:
    def orphan(say) -> None:
        counter(attached(DirectoryPlace.configured(str(tmp_path)).volume)).add(1)
        say(b".")
        rest()

    with forked(orphan):
        (tmp_path / "run.lock").unlink()  # as if the master that held it were gone
        directory = DirectoryPlace.configured(str(tmp_path))
        shown = scrape(directory.volume)
        directory.close()

    assert shown.value("hits_total") == 1


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="PROMETHEUS_MULTIPROC_DIR") as caught:
        DirectoryPlace.configured(str(tmp_path / "file" / "below"))

    assert str(tmp_path / "file" / "below") in str(caught.value)


@AS_ROOT
def test_a_directory_of_root_is_closed_to_workers_of_another_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    directory = DirectoryPlace.configured(str(tmp_path))

    with pytest.raises(StorageError, match="may not write there"):
        directory.give_to(NOBODY, NOBODY)
    directory.close()


@AS_ROOT
def test_workers_of_another_user_write_to_an_automatic_directory() -> None:
    directory = DirectoryPlace.temporary()
    master = attached(directory.volume, "master")
    counter(master).add(1)
    directory.give_to(NOBODY, NOBODY)
    counter(master, late="yes").add(1)

    def worker(say) -> None:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        counter(attached(directory.volume)).add(2)
        say(str(scrape(directory.volume).sum("hits_total")).encode())
        rest()

    child = Forked(worker)
    seen = child.wait_for_word()
    child.kill()
    directory.close()

    assert seen == b"4.0"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/shm elsewhere")
def test_an_automatic_directory_is_on_tmpfs_where_there_is_one() -> None:
    directory = DirectoryPlace.temporary()

    parent = os.path.dirname(directory.path)
    directory.close()

    writable = os.access("/dev/shm", os.W_OK)
    assert parent == ("/dev/shm" if writable else tempfile.gettempdir())


def test_a_slot_is_free_again_when_its_directory_is_opened_later(tmp_path: Path) -> None:
    volume = DirectoryPlace.configured(str(tmp_path)).volume

    with forked(lambda say: (claim(volume, "worker"), say(b"."), rest())):
        assert claim(volume, "worker").name == "1"
    assert claim(volume, "worker").name == "0"
