"""What the documents say of the code, compared with the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from gunicorn_prometheus_exporter.metrics import CATALOGUE
from gunicorn_prometheus_exporter.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("benchmarks/*.md"),
    *ROOT.glob("deploy/**/*.*"),
]
NOT_METRICS = re.compile(
    "gunicorn_prometheus|gunicorn_(simple|thread_worker|gevent_async|eventlet_async|asgi|uvicorn"
    "|redis_integration)$"
)


def rows(heading: str) -> list[list[str]]:
    """Return the cells of each row of the table under `heading` in the README."""
    text = (ROOT / "README.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip().replace("`", "") for cell in line] for line in lines]


def shown(default: object) -> str:
    """Return the default of a setting as the README shows it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ", ".join(f"{bound:g}" for bound in default)
    if isinstance(default, float) and default.is_integer():
        return str(int(default))
    return str(default) or "not set"


def test_the_readme_lists_every_setting_with_its_default() -> None:
    documented = {row[0]: row[1] for row in rows("Settings")}

    assert documented == {
        field.metadata["variable"]: shown(field.default) for field in fields(Settings)
    }


def test_the_readme_lists_every_metric_with_its_type_and_labels() -> None:
    documented = {row[0]: (row[1], row[2]) for row in rows("Metrics")}

    assert documented == {
        metric.name: (metric.type, ", ".join(metric.labels)) for metric in CATALOGUE
    }


def sample_names() -> set[str]:
    """Return every name that a line of a scrape can begin with, and every family's."""
    names = {metric.name for metric in CATALOGUE} | {metric.family for metric in CATALOGUE}
    names |= {metric.sample for metric in CATALOGUE}
    histograms = {metric.name for metric in CATALOGUE if metric.type == "histogram"}
    return names | {f"{name}_{end}" for name in histograms for end in ("bucket", "sum", "count")}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_name_only_metrics_that_there_are(path: Path) -> None:
    mentioned = set(
        re.findall(r"(?<![\w:/.-])gunicorn_[a-z_]*[a-z]\b(?!\.(?:conf|py))", path.read_text())
    )

    unknown = {name for name in mentioned if not NOT_METRICS.match(name)} - sample_names()
    assert {name for name in unknown if not is_a_beginning(name)} == set()


def is_a_beginning(name: str) -> bool:
    """Return whether `name` stands for several metrics that begin so."""
    return sum(metric.name.startswith(f"{name}_") for metric in CATALOGUE) > 1


@pytest.mark.parametrize(
    "path",
    [path for path in DOCUMENTS if path.suffix == ".md"],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_links_within_the_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        destination = (path.parent / file) if file else path
        assert destination.exists(), target
        if anchor:
            assert anchor in anchors(destination), target


def anchors(path: Path) -> set[str]:
    """Return the anchors that the headings of a document have."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}
