"""What is sampled of the workers, with this process and children of its as workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gunicorn_prometheus_exporter.exporter import proc
from gunicorn_prometheus_exporter.exporter.exposition import Exposition
from gunicorn_prometheus_exporter.exporter.process_stats import WorkerSampler
from gunicorn_prometheus_exporter.storage.contract import Volume
from gunicorn_prometheus_exporter.storage.files import FileVolume
from gunicorn_prometheus_exporter.storage.header import Field, State
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.slots import Slot, claim
from tests.support.samples import Samples
from tests.support.waiting import wait_until

on_linux = pytest.mark.skipif(not proc.AVAILABLE, reason="needs /proc")


@pytest.fixture(params=["files", "memory"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Volume]:
    """An empty volume of each sort."""
    if request.param == "files":
        yield FileVolume(str(tmp_path))
        return
    memory = MemoryVolume.create()
    yield memory
    os.close(memory.fd)


@pytest.fixture
def slot(volume: Volume) -> Iterator[Slot]:
    """The slot of this process, which is running."""
    slot = claim(volume, "worker")
    slot.enter(State.RUNNING)
    yield slot
    slot.release()


def sample(sampler: WorkerSampler) -> Samples:
    text = Exposition().render(sampler.blocks(), openmetrics=False, names=frozenset())
    return Samples(text.decode())


def burn(seconds: float) -> None:
    """Use the CPU for so long."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class TestState:
    @pytest.mark.parametrize("state", list(State))
    def test_the_state_of_a_live_worker_is_what_its_header_says(
        self, volume: Volume, slot: Slot, state: State
    ) -> None:
        slot.enter(state, 1700000000.75)
        (series,) = sample(WorkerSampler(volume)).series("gunicorn_worker_state")

        labels = {"worker_id": "0", "state": state.name.lower(), "timestamp": "1700000000"}
        assert series.labels == labels
        assert series.value == (1.0 if state is State.RUNNING else 0.0)

    def test_a_slot_nobody_holds_is_stopped(self, volume: Volume) -> None:
        dead, alive = claim(volume, "worker"), claim(volume, "worker")
        for slot in (dead, alive):
            slot.enter(State.RUNNING, 5.0)
        dead.release()
        samples = sample(WorkerSampler(volume))
        alive.release()

        states = {one.labels["worker_id"]: one for one in samples.series("gunicorn_worker_state")}
        assert {key: one.labels["state"] for key, one in states.items()} == {
            "0": "stopped", "1": "running",
        }  # fmt: skip
        assert {key: one.value for key, one in states.items()} == {"0": 0.0, "1": 1.0}
        assert samples.value("gunicorn_workers") == 1.0
        assert samples.label_values("gunicorn_worker_uptime_seconds", "worker_id") == {"1"}

    def test_masters_and_children_are_no_workers(self, volume: Volume) -> None:
        slots = [claim(volume, role) for role in ("master", "child")]
        samples = sample(WorkerSampler(volume))
        for slot in slots:
            slot.release()

        assert samples.names() == {"gunicorn_workers"}
        assert samples.value("gunicorn_workers") == 0.0

    def test_a_header_that_makes_no_sense_is_left_out(self, volume: Volume, slot: Slot) -> None:
        for field in (Field.STARTED, Field.MAGIC):
            slot.header[field] = float("nan")
            assert sample(WorkerSampler(volume)).names() == {"gunicorn_workers"}

    def test_an_incomplete_header_is_left_out(self, tmp_path: Path) -> None:
        (tmp_path / "slot-0.lock").write_bytes(b"too short")

        assert sample(WorkerSampler(FileVolume(str(tmp_path)))).names() == {"gunicorn_workers"}

    def test_a_state_of_a_newer_version_is_booting(self, volume: Volume, slot: Slot) -> None:
        slot.header[Field.STATE] = 77

        (series,) = sample(WorkerSampler(volume)).series("gunicorn_worker_state")
        assert series.labels["state"] == "booting"


@on_linux
class TestResources:
    def test_this_process_is_seen_as_it_is(self, volume: Volume, slot: Slot) -> None:
        slot.header[Field.STARTED] = time.time() - 100
        samples = sample(WorkerSampler(volume))

        def value(name: str) -> float:
            return samples.value(f"gunicorn_worker_{name}", worker_id="0", default=-1.0)

        assert value("memory_bytes") == pytest.approx(resident_bytes(), rel=0.2)
        assert value("threads") == len(os.listdir("/proc/self/task"))
        assert value("open_fds") == pytest.approx(len(os.listdir("/proc/self/fd")), abs=2)
        assert 100 <= value("uptime_seconds") < 160
        assert value("cpu_seconds_total") == pytest.approx(time.process_time(), abs=0.5)
        # The first sample has nothing to compare with but the start.
        assert value("cpu_percent") == pytest.approx(time.process_time(), rel=0.5)

    def test_cpu_use_is_that_since_the_sample_before(self, volume: Volume, slot: Slot) -> None:
        sampler = WorkerSampler(volume)
        slot.header[Field.STARTED] = time.time() - 1e6
        idle = sample(sampler).value("gunicorn_worker_cpu_percent", worker_id="0")
        burn(0.6)
        busy = sample(sampler).value("gunicorn_worker_cpu_percent", worker_id="0")
        again = sample(sampler).value("gunicorn_worker_cpu_percent", worker_id="0")

        assert idle < 1 < 20 < busy < 130
        assert again == busy  # too soon for the clock to tell

    def test_cpu_seconds_never_fall_as_workers_and_exporters_come_and_go(
        self, volume: Volume
    ) -> None:
        def total() -> float:
            samples = sample(WorkerSampler(volume))  # a new exporter each time
            return samples.value("gunicorn_worker_cpu_seconds_total", worker_id="0", default=-1.0)

        totals = []
        for _ in range(3):
            slot = claim(volume, "worker")
            with subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE) as worker:
                assert worker.stdout is not None
                worker.stdout.readline()  # it has used a tenth of a second
                slot.header[Field.PID] = worker.pid
                totals += [total(), total()]
                worker.kill()
            slot.release()
            totals.append(total())

        assert totals == sorted(totals)
        assert totals[0] >= 0.1
        assert totals[-1] >= 0.3

    def test_the_same_pid_with_less_time_is_another_process(
        self, volume: Volume, slot: Slot
    ) -> None:
        slot.header[Field.CPU_PID] = os.getpid()
        slot.header[Field.CPU_SEEN] = 1e6
        total = sample(WorkerSampler(volume)).value(
            "gunicorn_worker_cpu_seconds_total", worker_id="0"
        )

        assert total == pytest.approx(1e6 + time.process_time(), abs=0.5)

    def test_a_process_that_has_just_gone_is_left_out(self, volume: Volume, slot: Slot) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        slot.header[Field.PID] = gone.pid
        samples = sample(WorkerSampler(volume))

        assert "gunicorn_worker_memory_bytes" not in samples
        assert samples.value("gunicorn_workers") == 1.0

    def test_a_name_with_spaces_and_parentheses_does_not_confuse(self, tmp_path: Path) -> None:
        program = tmp_path / "a) S 1 (b"
        program.symlink_to(sys.executable)
        with subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE) as child:
            comm = Path(f"/proc/{child.pid}/comm")
            wait_until(lambda: comm.read_text() == "a) S 1 (b\n", message="the program to start")
            stats = proc.process_stats(child.pid)
            fds = proc.open_fds(child.pid)
            child.kill()

        assert stats is not None
        assert stats.threads == 1
        assert 0 < stats.memory < 1 << 30
        assert fds is not None
        assert fds >= 3


BURN = """
import time
while time.process_time() < 0.12: pass
print(flush=True)
time.sleep(60)
"""


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
