"""Random registries come out as prometheus_client renders them, byte by byte."""

from __future__ import annotations

import contextlib
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, values

from gunicorn_prometheus_exporter.storage.contract import GAUGE_MODES
from gunicorn_prometheus_exporter.storage.files import FileVolume
from gunicorn_prometheus_exporter.storage.slots import claim
from tests.core.stock import lines, our_text, process, stock_text

pytestmark = pytest.mark.skipif(
    not hasattr(values.MultiProcessValue(), "close_all_files"),
    reason="it is prometheus_client >= 0.26 that is compared with",
)

OWNERS = ("0", "1", "2")
LIVE = ("0", "1")

# Fractions whose sums are exact: ours are rounded once, prometheus_client's at each addition.
# No negative zero, of which prometheus_client's sums lose the sign.
fractions = st.integers(0, 2**40).map(lambda n: n / 1024)
gauge_values = st.one_of(
    fractions, fractions.map(lambda x: 0.0 - x), st.sampled_from([math.inf, -math.inf, math.nan])
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", "\n", '"', "\\", '\\n"', "a" * 3000, "é☃𝄞", " ", "}", "#"]
)
label_names = st.lists(
    st.sampled_from(["method", "endpoint", "pid", "a.b", "Zz9", "ü"]),
    unique=True,
    max_size=3,
)
bounds = st.lists(
    st.sampled_from([0.001, 0.1, 0.5, 1.0, 10.0, 1e6, 123456789.0, 1e20]), unique=True, min_size=1
).map(sorted)


@dataclass(frozen=True)
class Spec:
    """A metric, and what each process does with it: label values and amounts."""

    type: str
    help: str
    labels: tuple[str, ...]
    mode: str
    bounds: tuple[float, ...]
    actions: tuple[tuple[tuple[tuple[str, ...], float], ...], ...]


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Draw a metric of any type."""
    type_ = draw(st.sampled_from(["counter", "gauge", "histogram", "summary"]))
    labels = tuple(draw(label_names))
    mode = draw(st.sampled_from(GAUGE_MODES))
    if mode.endswith(
        "all"
    ):  # prometheus_client then writes one series twice; ours: see TestClashes
        labels = tuple(name for name in labels if name != "pid")
    amounts = gauge_values if type_ == "gauge" else fractions
    action = st.tuples(st.tuples(*(texts for _ in labels)), amounts)
    actions = st.tuples(*(st.lists(action, max_size=4).map(tuple) for _ in OWNERS))
    return Spec(
        type_, draw(texts), labels, mode,
        tuple(draw(bounds)), draw(actions),
    )  # fmt: skip


def act(spec: Spec, name: str, owner: int, registry: CollectorRegistry) -> None:
    """Do as the process number `owner` what `spec` says."""
    metric: Counter | Gauge | Histogram | Summary
    if spec.type == "counter":
        metric = Counter(name, spec.help, spec.labels, registry=registry)
    elif spec.type == "gauge":
        mode: str = spec.mode
        metric = Gauge(name, spec.help, spec.labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]
    elif spec.type == "histogram":
        metric = Histogram(name, spec.help, spec.labels, registry=registry, buckets=spec.bounds)
    else:
        metric = Summary(name, spec.help, spec.labels, registry=registry)
    for labels, amount in spec.actions[owner]:
        child = metric.labels(*labels) if spec.labels else metric
        if isinstance(child, Counter):
            child.inc(amount)
        elif isinstance(child, Gauge):
            child.set(amount)
        else:
            child.observe(amount)


@contextlib.contextmanager
def written(metrics: list[Spec]):  # type: ignore[no-untyped-def]
    """Yield a directory in which three processes, of which two live, have written `metrics`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, owner in enumerate(OWNERS):
            with process(folder, owner) as registry:
                for number, spec in enumerate(metrics):
                    act(spec, f"metric_{number}", index, registry)
        slots = [claim(FileVolume(name), "worker") for _ in OWNERS]
        slots.pop().release()
        assert tuple(slot.name for slot in slots) == LIVE
        yield folder
        for slot in slots:
            slot.release()


@pytest.mark.parametrize("openmetrics", [False, True])
@settings(max_examples=400)
@given(metrics=st.lists(specs(), max_size=5))
def test_random_registries_are_exposed_as_prometheus_client_does(
    metrics: list[Spec], openmetrics: bool
) -> None:
    with written(metrics) as folder:
        ours = our_text(folder, openmetrics=openmetrics)
        theirs = stock_text(folder, openmetrics=openmetrics, live=LIVE)

        assert lines(ours) == lines(theirs)
        assert ours.endswith("# EOF\n") is openmetrics


@settings(max_examples=40)
@given(
    metrics=st.lists(specs(), min_size=1, max_size=4),
    suffixes=st.lists(st.sampled_from(["_total", "_sum", "_count", "_bucket"]), min_size=1),
)
def test_samples_asked_for_by_name_are_those_prometheus_client_selects(
    metrics: list[Spec], suffixes: list[str]
) -> None:
    names = [f"metric_{number}{suffix}" for number, suffix in enumerate(suffixes)]
    with written(metrics) as folder:
        ours = our_text(folder, names=names)

        assert lines(ours) == lines(stock_text(folder, names=names, live=LIVE))


@settings(max_examples=20)
@given(metrics=st.lists(specs(), min_size=1, max_size=4))
def test_a_metric_asked_for_by_its_own_name_comes_whole(metrics: list[Spec]) -> None:
    with written(metrics) as folder:
        whole = our_text(folder).split("# HELP ")[1:]
        chosen = our_text(folder, names=["metric_0"]).split("# HELP ")[1:]

        assert chosen == [family for family in whole if family.startswith("metric_0")]
