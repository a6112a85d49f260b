"""What every storage keeps its word about, whatever it keeps samples in.

A subclass supplies `volume()`; every test then runs with real processes, forked and killed.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
from abc import abstractmethod

from gunicorn_prometheus_exporter.exporter.source import MetricsSource
from gunicorn_prometheus_exporter.storage.contract import ARCHIVE, ArenaName, Volume
from gunicorn_prometheus_exporter.storage.header import Field, Header, State
from gunicorn_prometheus_exporter.storage.layout import encode_key
from gunicorn_prometheus_exporter.storage.slots import claim, is_held
from gunicorn_prometheus_exporter.storage.store import Cell, Store
from tests.support.forks import Forked, forked, rest
from tests.support.samples import Samples

MAX_SERIES = 10_000


def key(name: str, **labels: str) -> bytes:
    """Return the key of the sample `name`, which is its own family."""
    return encode_key(name.removesuffix("_total"), name, labels, "A metric of a test.")


def attached(volume: Volume, role: str = "worker") -> Store:
    """Return a store with a slot of its own."""
    store = Store()
    store.attach(volume, role, MAX_SERIES)
    return store


def counter(store: Store, name: str = "hits_total", **labels: str) -> Cell:
    """Return the cell of a counter."""
    return store.cell("counter", key(name, **labels))


def scrape(volume: Volume) -> Samples:
    """Return what an exporter shows of `volume`."""
    source = MetricsSource(volume, sample_workers=False)
    return Samples(source.render(openmetrics=False, names=frozenset()).decode())


class StorageConformance:
    """The suite."""

    @abstractmethod
    def volume(self) -> Volume:
        """Return a new, empty volume."""

    # Slots

    def test_each_process_takes_the_lowest_free_slot(self) -> None:
        volume = self.volume()

        def hold(say) -> None:
            slot = claim(volume, "worker")
            say(slot.name.encode())
            rest()

        children = [Forked(hold) for _ in range(3)]
        names = [child.wait_for_word().decode() for child in children]
        children[names.index("1")].kill()
        with forked(hold):
            held = [name for name in ("0", "1", "2", "3") if is_held(volume, name)]
        for name, child in zip(names, children, strict=True):
            if name != "1":
                child.kill()

        assert sorted(names) == ["0", "1", "2"]
        assert held == ["0", "1", "2"]
        assert not any(is_held(volume, name) for name in names)

    def test_roles_have_slots_of_their_own(self) -> None:
        volume = self.volume()

        names = [claim(volume, role).name for role in ("worker", "worker", "master", "child")]

        assert names == ["0", "1", "m0", "c0"]
        assert set(volume.slots()) == set(names)

    def test_the_header_tells_who_owns_the_slot(self) -> None:
        volume = self.volume()
        slot = claim(volume, "worker")

        slot.enter(State.RUNNING, 1234.5)

        region = volume.open_header("0", create=False)
        header = Header(region)
        assert header[Field.PID] == os.getpid()
        assert header[Field.CLAIMS] == 1
        assert State(int(header[Field.STATE])) is State.RUNNING
        assert header[Field.STATE_SINCE] == 1234.5
        header.close()
        os.close(region.fd)

    def test_a_forked_child_does_not_keep_its_parents_slot_alive(self) -> None:
        volume = self.volume()

        def parent(say) -> None:
            store = attached(volume)
            os.register_at_fork(after_in_child=store.after_fork)
            grandchild = Forked(lambda say: (say(b"."), rest()))
            grandchild.wait_for_word()
            say(str(grandchild.pid).encode())
            rest()

        child = Forked(parent)
        grandchild = int(child.wait_for_word())
        child.kill()
        held = is_held(volume, "0")
        os.kill(grandchild, signal.SIGKILL)

        assert not held

    # Cells

    def test_values_are_seen_by_another_process_at_once(self) -> None:
        volume = self.volume()

        def write(say) -> None:
            cell = counter(attached(volume), path="/")
            cell.add(2.5)
            cell.add(1.0)
            say(b".")
            rest()

        with forked(write):
            assert scrape(volume).value("hits_total", path="/") == 3.5

    def test_what_was_counted_before_there_was_a_slot_moves_into_it(self) -> None:
        volume, store = self.volume(), Store()
        cell = counter(store)
        cell.add(3)

        store.attach(volume, "worker", MAX_SERIES)
        cell.add(1)

        assert scrape(volume).value("hits_total") == 4

    def test_the_same_key_is_the_same_cell(self) -> None:
        store = attached(self.volume())

        assert counter(store, a="1") is counter(store, a="1")
        assert counter(store, a="1") is not counter(store, a="2")

    def test_a_handle_stays_valid_while_its_arena_grows(self) -> None:
        volume = self.volume()
        store = attached(volume)
        first = counter(store, path="first")

        cells = [counter(store, path=f"{n}" * 20) for n in range(3000)]
        first.add(1)
        for cell in cells:
            cell.add(1)

        samples = scrape(volume)
        assert samples.value("hits_total", path="first") == 1
        assert samples.sum("hits_total") == 3001

    def test_a_reader_sees_all_samples_of_a_histogram_or_none(self) -> None:
        volume = self.volume()
        keys = 16

        def write(say) -> None:
            store = attached(volume)
            say(b".")
            for n in range(2000):
                store.cells("counter", [key("hits_total", n=f"{n}", k=f"{k}") for k in range(keys)])
            say(b".")
            rest()

        with forked(write) as child:
            sizes = []
            while not sizes or len(sizes) < 5 or sizes[-1] < 2000 * keys:
                sizes.append(len(scrape(volume).series("hits_total")))
            child.wait_for_word()

        assert all(size % keys == 0 for size in sizes)

    def test_threads_lose_no_update_and_no_new_series(self) -> None:
        volume = self.volume()
        store = attached(volume)
        shared, rounds, threads = counter(store, who="all"), 20_000, 4

        def work(me: int) -> None:
            for n in range(rounds):
                shared.add(1)
                if n % 100 == 0:
                    counter(store, who=f"{me}", n=f"{n}").add(1)
                    counter(store, who="any", n=f"{n}").add(1)

        workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

        samples = scrape(volume)
        assert samples.value("hits_total", who="all") == threads * rounds
        assert samples.sum("hits_total", who="any") == threads * rounds / 100
        assert samples.sum("hits_total", who="3") == rounds / 100

    # Lives and deaths

    def test_a_successor_goes_on_where_the_killed_one_stopped(self) -> None:
        volume = self.volume()

        def count_three(say) -> None:
            cell = counter(attached(volume))
            for _ in range(3):
                cell.add(1)
            say(b".")
            rest()

        seen = []
        for _ in range(4):
            with forked(count_three):
                seen.append(scrape(volume).value("hits_total"))

        assert seen == [3, 6, 9, 12]
        assert scrape(volume).value("hits_total") == 12

    def test_many_kills_leave_few_arenas_and_lose_at_most_the_update_in_hand(self) -> None:
        volume = self.volume()
        told = 0

        def count(say) -> None:
            store = attached(volume)
            cell = counter(store)
            say(b".")
            while True:
                cell.add(1)
                say(b".")

        previous, randomly = 0.0, random.Random(7)
        for _ in range(100):
            child = Forked(count)
            told += len(child.wait_for_word()) - 1
            for _ in range(randomly.randrange(20)):
                told += len(child.wait_for_word())
            os.kill(child.pid, signal.SIGKILL)
            while more := child.wait_for_word():
                told += len(more)
            child.join()
            value = scrape(volume).value("hits_total")
            assert value >= previous
            previous = value

        assert told <= previous <= told + 100
        assert len(list(volume.arenas())) == 1

    def test_a_childs_counts_are_its_own_and_not_its_parents_again(self) -> None:
        volume = self.volume()
        store = attached(volume)
        store.follow_forks(volume, MAX_SERIES)
        cell = counter(store)
        cell.add(5)

        def child(say) -> None:
            store.after_fork()
            cell.add(2)
            say(b".")
            rest()

        with forked(child):
            cell.add(1)
            arenas = set(volume.arenas())
            total = scrape(volume).value("hits_total")

        assert total == 8
        assert ArenaName("counter", "c0") in arenas
        assert scrape(volume).value("hits_total") == 8

    def test_gauges_of_the_dead_end_or_are_folded_by_their_mode(self) -> None:
        volume = self.volume()

        def run(value: float, time: float):
            def set_gauges(say) -> None:
                store = attached(volume)
                for mode in ("livesum", "liveall", "sum", "min", "max", "all"):
                    store.cell(f"gauge_{mode}", key(f"g_{mode}")).set(value)
                store.cell("gauge_mostrecent", key("g_mostrecent")).set(value, time)
                say(b".")
                rest()

            return set_gauges

        for value, time in ((5.0, 10.0), (2.0, 30.0), (3.0, 20.0)):
            with forked(run(value, time)):
                alive = scrape(volume)
        dead = scrape(volume)
        with forked(lambda say: (attached(volume), say(b"."), rest())):
            succeeded = scrape(volume)

        assert alive.value("g_livesum") == 3
        assert alive.value("g_liveall", pid="0") == 3
        for samples in (alive, dead, succeeded):
            assert samples.value("g_sum") == 10
            assert samples.value("g_min") == 2
            assert samples.value("g_max") == 5
            assert samples.value("g_mostrecent") == 2
        assert alive.value("g_all", pid="0") == 3
        assert dead.series("g_livesum") == []
        assert dead.series("g_liveall") == []
        assert succeeded.series("g_all") == []
        assert {name.owner for name in volume.arenas()} <= {"0", ARCHIVE}

    # Space

    def test_without_space_new_series_are_dropped_and_old_ones_go_on(self) -> None:
        volume = self.volume()

        def fill(say) -> None:
            store = attached(volume)
            old = counter(store, path="old")
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
            for n in range(2000):
                counter(store, path=f"{n}".zfill(20_000)).add(1)
            old.add(7)
            say(f"{store.dropped}".encode())
            rest()

        child = Forked(fill)
        dropped = int(child.wait_for_word())
        samples = scrape(volume)
        child.kill()

        assert samples.value("hits_total", path="old") == 7
        assert 0 < dropped < 2000
        assert len(samples.series("hits_total")) == 2001 - dropped

    def test_an_arena_with_garbage_is_begun_anew(self) -> None:
        volume = self.volume()
        with forked(lambda say: (counter(attached(volume)).add(1), say(b"."), rest())):
            pass
        region = volume.open_arena(ArenaName("counter", "0"))
        os.pwrite(region.fd, b"\x10\x27\x00\x00garbage!" * 3, region.offset)
        os.close(region.fd)

        counter(attached(volume)).add(2)

        assert scrape(volume).value("hits_total") == 2
