"""The reader: what it finds in arenas that grow, move, vanish or were never any."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_prometheus_exporter.exporter.exposition import Exposition
from gunicorn_prometheus_exporter.storage.arena import Arena
from gunicorn_prometheus_exporter.storage.blocks import Block
from gunicorn_prometheus_exporter.storage.contract import ARCHIVE, ArenaName, Volume
from gunicorn_prometheus_exporter.storage.files import FileVolume
from gunicorn_prometheus_exporter.storage.layout import encode_key
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.reader import Reader
from gunicorn_prometheus_exporter.storage.slots import claim
from tests.core.stock import write_file

COUNTERS = ArenaName("counter", "0")


@pytest.fixture(params=["files", "memory"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Volume]:
    """A volume of each sort, whose slot 0 is owned by this process."""
    memory = MemoryVolume.create() if request.param == "memory" else None
    volume: Volume = memory or FileVolume(str(tmp_path))
    slot = claim(volume, "worker")
    yield volume
    slot.release()
    if memory:
        os.close(memory.fd)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with one good counter, of one series, in `counter_0.db`."""
    write_file(tmp_path / "counter_0.db", [("good", "good_total", {}, 1.0, 0.0)])
    return tmp_path


def add(arena: Arena, name: str, value: float) -> None:
    """Add a series to `arena`."""
    arena.append([encode_key(name, f"{name}_total", {}, "Help.")], [(value, 0.0)])


def contents(blocks: list[Block]) -> dict[tuple[str, str, str], float]:
    """Return every value, by kind, owner and name of its sample."""
    return {
        (block.kind, block.owner, series.sample): value
        for block in blocks
        for series, value in zip(block.layout.series, block.values, strict=True)
    }


class TestArenas:
    def test_series_and_values_that_come_later_are_seen(self, volume: Volume) -> None:
        arena, reader = Arena(volume, COUNTERS), Reader(volume)
        seen = []
        for number in range(3):
            add(arena, f"c{number}", number)
            seen.append(contents(reader.read()))
        place = arena.find(encode_key("c1", "c1_total", {}, "Help."))
        assert place is not None
        doubles, index = place
        doubles[index] = 17.0

        assert [len(found) for found in seen] == [1, 2, 3]
        assert contents(reader.read())["counter", "0", "c1_total"] == 17.0
        arena.close()

    def test_a_layout_stays_the_same_object_until_the_arena_grows(self, volume: Volume) -> None:
        arena, reader = Arena(volume, COUNTERS), Reader(volume)
        add(arena, "a", 1.0)
        first, second = (reader.read()[0].layout for _ in range(2))
        add(arena, "b", 1.0)
        third = reader.read()[0].layout

        assert first is second
        assert third is not second
        assert third.series[0] is first.series[0]
        arena.close()

    @pytest.mark.parametrize("others", [(), ("x", "y")])
    def test_an_arena_made_anew_in_the_same_place_is_read_anew(
        self, volume: Volume, others: tuple[str, ...]
    ) -> None:
        """Even if it has as many bytes as the one before, or more."""
        reader = Reader(volume)
        for names in (("a", "b"), ("b", "a", *others)):
            arena = Arena(volume, COUNTERS)
            for number, name in enumerate(names):
                add(arena, name, number)
            found = contents(reader.read())
            arena.close()
            volume.delete_arena(COUNTERS)

            assert found == {("counter", "0", f"{n}_total"): i for i, n in enumerate(names)}
        assert reader.read() == []

    def test_an_arena_without_series_is_not_an_error(self, volume: Volume) -> None:
        os.close(volume.create_arena(COUNTERS, 4096).fd)
        reader = Reader(volume)

        assert contents(reader.read()) == {}
        assert reader.skipped == 0

    def test_timestamps_are_read_of_most_recent_gauges_alone(self, tmp_path: Path) -> None:
        for mode in ("mostrecent", "sum"):
            cells = [("g", "g", {"n": str(n)}, n * 2.0, n * 3.0) for n in range(3)]
            write_file(tmp_path / f"gauge_{mode}_0.db", cells)
        recent, summed = Reader(FileVolume(str(tmp_path))).read()

        assert (list(recent.values), list(recent.timestamps)) == ([0, 2, 4], [0, 3, 6])
        assert (list(summed.values), list(summed.timestamps)) == ([0, 2, 4], [])

    def test_a_read_leaves_no_file_open(self, folder: Path) -> None:
        (folder / "counter_1.db").write_bytes(b"garbage!" * 9)
        reader = Reader(FileVolume(str(folder)))
        before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
        for _ in range(3):
            reader.read()

        assert len(os.listdir("/proc/self/fd") if before else []) == len(before)

    def test_reading_while_a_writer_adds_series_sees_only_whole_ones(self, volume: Volume) -> None:
        arena, reader = Arena(volume, COUNTERS), Reader(volume)
        writer = threading.Thread(
            target=lambda: [add(arena, f"c{n}", n + 1.0) for n in range(3000)]
        )
        writer.start()
        counts = []
        while writer.is_alive():
            values = contents(reader.read())
            counts.append(len(values))
            assert list(values.values()) == [n + 1.0 for n in range(len(values))]
            assert reader.skipped == 0
        writer.join()

        assert counts == sorted(counts)
        assert len(contents(reader.read())) == 3000
        arena.close()


class TestLiveness:
    def test_a_slot_is_live_while_its_owner_holds_its_lock(self, tmp_path: Path) -> None:
        volume = FileVolume(str(tmp_path))
        slots = [claim(volume, role) for role in ("worker", "master", "child")]
        for owner in ("0", "m0", "c0", "m7"):
            write_file(tmp_path / f"counter_{owner}.db", [("c", "c_total", {}, 1.0, 0.0)])
        reader = Reader(volume)
        held = {block.owner: block.live for block in reader.read()}
        for slot in slots:
            slot.release()
        free = {block.owner: block.live for block in reader.read()}

        assert held == {"0": True, "m0": True, "c0": True, "m7": False}
        assert not any(free.values())

    def test_a_foreign_owner_is_live_while_a_process_has_that_id(self, tmp_path: Path) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        owners = (str(os.getpid()), "1", str(gone.pid), "0", "9" * 30, "host-7", ARCHIVE)
        for owner in owners:
            write_file(tmp_path / f"counter_{owner}.db", [("c", "c_total", {}, 1.0, 0.0)])
        live = {block.owner for block in Reader(FileVolume(str(tmp_path))).read() if block.live}

        assert live == {str(os.getpid()), "1"}


class TestBadFiles:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x10",
            struct.pack("ii", 4096, 0),
            struct.pack("ii", -8, 0),
            struct.pack("ii", 12, 0) + bytes(64),
            struct.pack("iii", 64, 0, -1) + bytes(52),
            struct.pack("iii", 64, 0, 4) + b"[1]" + bytes(49),
            struct.pack("iii", 64, 0, 2**31 - 1) + bytes(52),
            struct.pack("iii", 40, 0, 12) + b'[1, 2, {}, 3]' + bytes(16),
            struct.pack("iii", 8 + 4 + 100_004 + 16, 0, 100_000) + b"[" * 100_000 + bytes(20),
            b"PK\x03\x04 something else entirely",
        ],
    )  # fmt: skip
    def test_a_file_that_is_no_arena_is_skipped_and_counted(
        self, folder: Path, data: bytes
    ) -> None:
        (folder / "counter_1.db").write_bytes(data)
        reader = Reader(FileVolume(str(folder)))

        assert contents(reader.read()) == {("counter", "0", "good_total"): 1.0}
        assert (reader.skipped, reader.errors) == (1, 1)

    def test_files_come_back_when_they_are_good_again(self, folder: Path) -> None:
        """And what is skipped is of the last read; errors are of all."""
        path = folder / "counter_0.db"
        good = path.read_bytes()
        reader = Reader(FileVolume(str(folder)))
        reader.read()
        counts = []
        for data in (good[:20], good, b"", good):
            path.write_bytes(data)
            found = contents(reader.read())
            counts.append((len(found), reader.skipped, reader.errors))

        assert counts == [(0, 1, 1), (1, 0, 1), (0, 1, 2), (1, 0, 2)]

    def test_what_cannot_be_opened_is_skipped(self, folder: Path) -> None:
        (folder / "counter_1.db").mkdir()
        (folder / "counter_2.db").symlink_to("nowhere")
        reader = Reader(FileVolume(str(folder)))

        assert len(contents(reader.read())) == 1
        assert reader.skipped == 2

    def test_a_directory_that_is_gone_is_empty(self, folder: Path) -> None:
        reader = Reader(FileVolume(str(folder)))
        reader.read()
        shutil.rmtree(folder)

        assert reader.read() == []
        assert reader.skipped == 1

    @given(st.binary(max_size=300), st.booleans())
    def test_random_bytes_never_raise(
        self, tmp_path_factory: pytest.TempPathFactory, data: bytes, headed: bool
    ) -> None:
        """With a plausible head or without."""
        folder = tmp_path_factory.mktemp("random")
        head = struct.pack("ii", 8 + len(data) // 8 * 8, 0) if headed else b""
        (folder / "histogram_1.db").write_bytes(head + data)
        write_file(folder / "counter_0.db", [("good", "good_total", {}, 1.0, 0.0)])

        assert_good_is_rendered(folder)

    @given(
        st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=12),
        st.integers(0, 700) | st.none(),
    )
    def test_damaged_files_never_raise(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        flips: list[tuple[int, int]],
        length: int | None,
    ) -> None:
        folder = tmp_path_factory.mktemp("damaged")
        for kind in ("histogram", "gauge_mostrecent", "gauge_all", "counter"):
            path = folder / f"{kind}_1.db"
            bounds = ("0.1", "1.0", "+Inf")
            write_file(path, [("h", "h_bucket", {"a": "b", "le": le}, 1.0, 2.0) for le in bounds])
            data = bytearray(path.read_bytes()[:400])
            for place, value in flips:
                data[place % len(data)] = value
            path.write_bytes(data[:length])
        write_file(folder / "counter_0.db", [("good", "good_total", {}, 1.0, 0.0)])

        assert_good_is_rendered(folder)


def assert_good_is_rendered(folder: Path) -> None:
    """Assert that both formats can be rendered twice, with the one good sample in them."""
    reader, exposition = Reader(FileVolume(str(folder))), Exposition()
    for openmetrics in (False, True) * 2:
        blocks = reader.read()
        text = exposition.render(blocks, openmetrics=openmetrics, names=frozenset())
        assert b"\ngood_total 1.0\n" in text
