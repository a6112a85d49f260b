"""The page that a person sees who opens the exporter's address in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; }}</style>
</head>
<body>
<h1>{title}</h1>
<p>Metrics of gunicorn and the application it serves, for Prometheus to scrape.</p>
<ul>
{links}
</ul>
</body>
</html>
"""

_WHAT = {
    "metrics": "all metrics; <code>?name[]=…</code> picks some of them",
    "metrics/instance": "the metrics of this instance alone",
    "-/healthy": "whether the exporter runs",
    "-/ready": "whether the metrics can be read",
}


def human_page(name: str, links: Sequence[str]) -> str:
    """Return an HTML page titled after `name`, with the relative `links` and what they lead to."""
    title = f"Prometheus metrics of {name}" if name else "Prometheus metrics"
    items = (f'<li><a href="{link}">/{link}</a>: {_WHAT[link]}</li>' for link in map(escape, links))
    return _PAGE.format(title=escape(title), links="\n".join(items))
