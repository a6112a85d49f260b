"""A scrape, parsed, with the few questions that tests ask of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Sample:
    """One line of a scrape."""

    name: str
    labels: Mapping[str, str]
    value: float


class Samples:
    """Every sample of one scrape in the text format."""

    def __init__(self, text: str) -> None:
        """Parse `text`; raises ValueError where it is not a well-formed exposition."""
        self.text = text
        self._samples: dict[str, list[Sample]] = {}
        self.types: dict[str, str] = {}
        for family in text_string_to_metric_families(text):
            self.types[family.name] = family.type
            for one in family.samples:
                self._samples.setdefault(one.name, []).append(
                    Sample(one.name, one.labels, one.value)
                )

    def __iter__(self) -> Iterator[Sample]:
        for samples in self._samples.values():
            yield from samples

    def __contains__(self, name: object) -> bool:
        return name in self._samples

    def names(self) -> set[str]:
        """Return the name of every sample."""
        return set(self._samples)

    def series(self, name: str, /, **labels: str) -> list[Sample]:
        """Return the samples called `name` that carry all of `labels`."""
        wanted = labels.items()
        return [one for one in self._samples.get(name, []) if wanted <= one.labels.items()]

    def value(self, name: str, /, default: float = 0.0, **labels: str) -> float:
        """Return the value of the sample with exactly `labels`, `default` where there is none."""
        for one in self._samples.get(name, []):
            if one.labels == labels:
                return one.value
        return default

    def sum(self, name: str, /, **labels: str) -> float:
        """Return the sum of the samples called `name` that carry all of `labels`."""
        return sum(one.value for one in self.series(name, **labels))

    def label_values(self, name: str, label: str, /, **labels: str) -> set[str]:
        """Return the values of `label` among the samples called `name` that carry `labels`."""
        return {one.labels[label] for one in self.series(name, **labels) if label in one.labels}
