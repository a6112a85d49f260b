"""The exposition of blocks: merging, formats, hostile content, and what it remembers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.utils import floatToGoString

from gunicorn_prometheus_exporter.exporter.exposition import Exposition
from gunicorn_prometheus_exporter.exporter.text import go_float, sample_prefix
from gunicorn_prometheus_exporter.storage.blocks import Block, Layout
from gunicorn_prometheus_exporter.storage.contract import ARCHIVE
from gunicorn_prometheus_exporter.storage.layout import Series
from tests.support.samples import Samples


def block(
    kind: str,
    owner: str,
    *cells: tuple[str, dict[str, str], float],
    live: bool = True,
    timestamps: Sequence[float] = (),
) -> Block:
    """Return a block of samples, each with a family of its own name."""
    series = (
        Series(name, name, tuple(sorted(labels.items())), "Help.") for name, labels, _ in cells
    )
    layout = Layout(tuple(series))
    return Block(kind, owner, live, layout, [value for *_, value in cells], timestamps)


def in_family(family: str, block: Block) -> Block:
    """Return `block` with all its samples in one family."""
    series = (one._replace(family=family) for one in block.layout.series)
    return block._replace(layout=Layout(tuple(series)))


def render(*blocks: Block, openmetrics: bool = False) -> str:
    text = Exposition().render(blocks, openmetrics=openmetrics, names=frozenset())
    return text.decode()


def scrape(*blocks: Block) -> Samples:
    return Samples(render(*blocks))


class TestGaugeModes:
    """What is shown of a gauge that three processes have set, of which the second is dead."""

    @staticmethod
    def of(mode: str) -> dict[str, float]:
        stamps = (10.0,) if mode.endswith("mostrecent") else ()
        newer = (20.0,) if mode.endswith("mostrecent") else ()
        blocks = [
            block(f"gauge_{mode}", "0", ("g", {"pid": "mine"}, 3.0), timestamps=stamps),
            block(f"gauge_{mode}", "1", ("g", {"pid": "mine"}, 9.0), timestamps=newer, live=False),
            block(f"gauge_{mode}", "2", ("g", {"pid": "mine"}, 1.0), timestamps=stamps),
        ]
        return {one.labels.get("pid", ""): one.value for one in scrape(*blocks)}

    @pytest.mark.parametrize(
        ("mode", "shown"),
        [
            ("all", {"0": 3.0, "1": 9.0, "2": 1.0}),
            ("liveall", {"0": 3.0, "2": 1.0}),
            ("min", {"": 1.0}),
            ("livemin", {"": 1.0}),
            ("max", {"": 9.0}),
            ("livemax", {"": 3.0}),
            ("sum", {"": 13.0}),
            ("livesum", {"": 4.0}),
            ("mostrecent", {"": 9.0}),
            ("livemostrecent", {"": 3.0}),  # the first of those set at the same time
        ],
    )
    def test_each_mode_shows_what_its_name_says(self, mode: str, shown: dict[str, float]) -> None:
        assert self.of(mode) == shown

    def test_a_most_recent_gauge_is_not_shown_before_it_is_set(self) -> None:
        """Its line comes and goes with the value, on a page that otherwise stays as it is."""
        exposition = Exposition()
        first = block(
            "gauge_mostrecent", "0", ("g", {}, 0.0), ("h", {}, 0.0), timestamps=(0.0, 0.0)
        )
        texts = [
            exposition.render([shown], openmetrics=False, names=frozenset())
            for shown in (
                first,
                first._replace(values=(math.nan, 5.0), timestamps=(1.0, 0.0)),
                first,
            )
        ]

        assert b"\ng " not in texts[0]
        assert b"\ng NaN\n" in texts[1]
        assert b"\nh " not in texts[1]
        assert texts[2] == texts[0]


class TestSums:
    def test_a_counter_is_summed_over_the_living_and_the_dead(self) -> None:
        samples = scrape(
            block("counter", "0", ("c_total", {"a": "x"}, 3.0)),
            block("counter", "1", ("c_total", {"a": "x"}, 4.0), live=False),
            block("counter", "17", ("c_total", {"a": "y"}, 5.0)),
        )

        assert samples.value("c_total", a="x") == 7.0
        assert samples.value("c_total", a="y") == 5.0

    @given(st.permutations([0.1, 0.7, 1e9 + 0.3, 123.456, 1e-7, 3.3]))
    def test_a_sum_does_not_depend_on_the_order_of_processes(self, values: list[float]) -> None:
        """Else a process that comes or goes can make a sum fall by a rounding error."""
        blocks = [
            block("summary", str(index), ("s_sum", {}, value)) for index, value in enumerate(values)
        ]

        assert scrape(*blocks).value("s_sum") == math.fsum(values)

    @pytest.mark.parametrize(
        ("values", "total"),
        [((math.inf, -math.inf), "NaN"), ((1e308, 1e308), "+Inf"), ((math.nan, 1.0), "NaN")],
    )
    def test_sums_that_are_not_finite_are_shown(self, values: Sequence[float], total: str) -> None:
        blocks = [block("gauge_sum", str(i), ("g", {}, value)) for i, value in enumerate(values)]

        assert f"\ng {total}\n" in render(*blocks)

    def test_histograms_with_different_buckets_are_cumulated_over_all_of_them(self) -> None:
        def histogram(owner: str, *bounds: str) -> Block:
            cells = [("h_bucket", {"le": bound}, 1.0) for bound in bounds]
            return in_family("h", block("histogram", owner, *cells))

        samples = scrape(histogram("0", "1.0", "5.0", "+Inf"), histogram("1", "2.0", "5", "+Inf"))

        buckets = {one.labels["le"]: one.value for one in samples.series("h_bucket")}
        assert buckets == {"1.0": 1.0, "2.0": 2.0, "5.0": 4.0, "+Inf": 6.0}
        assert samples.value("h_count") == 6.0


class TestClashes:
    def test_a_metric_that_changed_its_kind_is_shown_as_what_it_is_now(self) -> None:
        """The archive of the dead does not overrule the living."""
        samples = scrape(
            block("gauge_all", ARCHIVE, ("g", {}, 1.0), live=False),
            block("gauge_sum", "0", ("g", {}, 2.0)),
            block("counter", "c0", ("g", {}, 4.0)),
        )

        assert [(one.labels, one.value) for one in samples] == [({}, 2.0)]

    def test_one_series_twice_in_one_arena_is_one_sample(self) -> None:
        """A help text that has changed makes another key of the same series."""
        samples = scrape(
            block("gauge_all", "0", ("g", {}, 1.0), ("g", {}, 2.0), ("g", {"pid": "x"}, 3.0)),
            block("counter", "0", ("c_total", {}, 1.0), ("c_total", {}, 2.0)),
        )

        assert [one.value for one in samples.series("g")] == [3.0]
        assert samples.value("c_total") == 3.0

    def test_buckets_without_a_number_and_samples_without_a_name_are_left_out(self) -> None:
        samples = scrape(
            block("histogram", "0", ("h", {"le": "many"}, 1.0), ("h", {"le": "nan"}, 1.0)),
            block("counter", "0", ("", {}, 1.0), ("c_total", {}, 2.0)),
        )

        assert samples.names() == {"c_total"}


class TestText:
    @pytest.mark.skipif(
        floatToGoString(1e10) != "1e+10", reason="prometheus_client < 0.26 writes 1e+010"
    )
    @given(st.floats() | st.integers(-(2**60), 2**60).map(float))
    def test_numbers_are_written_as_prometheus_client_does(self, value: float) -> None:
        assert go_float(value) == floatToGoString(value)

    @given(
        st.lists(
            st.tuples(st.text(max_size=4), st.text(max_size=6)), unique_by=lambda pair: pair[0]
        ),
        st.text(min_size=1, max_size=4),
        st.text(max_size=9),
    )
    def test_nothing_in_names_labels_and_help_breaks_the_output(
        self, labels: list[tuple[str, str]], name: str, help_text: str
    ) -> None:
        """Lone surrogates included, of which UTF-8 knows nothing."""
        layout = Layout((Series(f"f{name}", f"f{name}", tuple(sorted(labels)), help_text),))
        made = Block("gauge_sum", "0", True, layout, [1.0], ())

        (family,) = parse_text(render(made))
        assert [one.value for one in family.samples] == [1.0]
        assert len(family.samples[0].labels) == len({key for key, _ in labels if key != "pid"})

    def test_label_values_survive_as_they_are(self) -> None:
        values = ["\n", '"', "\\", "\\n", 'a"b\\c\nd', "x" * 100_000, "é☃𝄞", "\r", "\u2028", "{}"]
        made = block("gauge_sum", "0", *(("g", {"v": value}, 1.0) for value in values))

        for parse in (parse_text, parse_openmetrics):
            text = render(made, openmetrics=parse is parse_openmetrics)
            (family,) = parse(text)
            assert [one.labels["v"] for one in family.samples] == values

    def test_lone_surrogates_stay_apart(self) -> None:
        prefixes = {sample_prefix("g", [("v", value)]) for value in ("\ud800", "\udfff", "?")}

        assert len(prefixes) == 3

    def test_label_names_that_become_the_same_stay_apart(self) -> None:
        assert sample_prefix("g", [("a.b", "1"), ("a-b", "2")]) == 'g{a_b="2",a_b1="1"} '

    def test_label_names_that_prometheus_keeps_to_itself_are_given_others(self) -> None:
        assert sample_prefix("g", [("__name__", "x"), ("", "y")]) == 'g{_="y",_name__="x"} '

    def test_a_name_that_ends_in_a_newline_is_no_name(self) -> None:
        """`$` in a regular expression matches before it."""
        assert sample_prefix("g\n", ()) == "g_ "

    def test_counters_have_their_suffix_in_the_header_of_the_old_format_alone(self) -> None:
        made = in_family("c", block("counter", "0", ("c_total", {}, 1.0)))

        assert render(made) == "# HELP c_total Help.\n# TYPE c_total counter\nc_total 1.0\n"
        assert render(made, openmetrics=True) == (
            "# HELP c Help.\n# TYPE c counter\nc_total 1.0\n# EOF\n"
        )

    def test_nothing_at_all_is_a_valid_exposition(self) -> None:
        assert render() == ""
        assert render(openmetrics=True) == "# EOF\n"


class TestMemory:
    """One exposition over many scrapes shows what a new one would."""

    @staticmethod
    def scrapes() -> Iterator[list[Block]]:
        one = block("counter", "0", ("c_total", {"a": "x"}, 1.0), ("d_total", {}, 1.0))
        two = block("counter", "1", ("c_total", {"a": "y"}, 1.0))
        gauge = block("gauge_livesum", "1", ("g", {}, 5.0))
        yield [one]
        yield [one._replace(values=[2.0, 1.0])]
        yield [one, two, gauge]
        yield [one, two._replace(values=[1e9]), gauge._replace(live=False)]
        yield [two]
        grown = Layout((*two.layout.series, Series("e_total", "e_total", (), "Help.")))
        yield [two._replace(layout=grown, values=[1.0, 2.0])]
        yield []

    def test_every_scrape_is_as_fresh(self) -> None:
        exposition = Exposition()

        for blocks in self.scrapes():
            for openmetrics in (False, True):
                text = exposition.render(blocks, openmetrics=openmetrics, names=frozenset())
                assert text.decode() == render(*blocks, openmetrics=openmetrics)


def test_metrics_come_sorted_by_name() -> None:
    text = render(block("gauge_sum", "0", ("b", {}, 1.0), ("a", {}, 1.0), ("c", {}, 1.0)))

    assert [line[0] for line in text.splitlines() if line[0] != "#"] == ["a", "b", "c"]
