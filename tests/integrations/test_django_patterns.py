"""Regexes become templates that hold no regex."""

from __future__ import annotations

import pytest
from django.contrib.admindocs.views import simplify_regex

from gunicorn_prometheus_django.patterns import readable

AS_ADMINDOCS = [
    r"^articles/(?P<year>[0-9]{4})/(?P<slug>[\w-]+)/$",
    r"^(?P<a>\w+)/b/(\w+)$",
    r"^(?P<a>(x|y))/b/(?P<c>\w+)ab",
    r"^a/?$",
    r"^comments/(?:page-(?P<page>\d+)/)?$",
    r"^(?:\w+(?:\w+))a",
    r"^items/(?P<pk>[^/.]+)/$",
    r"^\Aa\b/\Z",
    r"^plain/$",
    r"",
]


@pytest.mark.parametrize("regex", AS_ADMINDOCS)
def test_a_regex_takes_the_form_of_admindocs(regex: str) -> None:
    """Django's own readable form, apart from its leading slash."""
    assert "/" + readable(regex).lstrip("/") == simplify_regex(regex)


@pytest.mark.parametrize(
    ("regex", "template"),
    [
        (r"^items\.(?P<format>[a-z0-9]+)/?$", "items.<format>/"),
        (r"^robots.txt$", "robots.txt"),
        (r"^(\d+)/(\d+)/$", "<var>/<var>/"),
        (r"^\d{4}/[a-z]\w*/$", "<var>/<var>/"),
        (r"^.*$", "<var>"),
        (r"^(?P<name>[^)]+)/x/$", "<name>/x/"),
        (r"^(?i)Case/(?P<a>[)\]]+)$", "Case/<a>"),
        (r"^(?!admin)(?P<page>.+)$", "<page>"),
        (r"^(?P<a>x{2,3})+/(?P=a)/$", "<a>/<a>/"),
        (r"^a\-b/\(c\)/$", "a-b/(c)/"),
        (r"^[]x]/end$", "<var>/end"),
        (r"^(unbalanced", "<var>"),
        ("^open[class", "open<var>"),
        ("^ends\\", "ends"),
    ],
)
def test_no_regex_leaks(regex: str, template: str) -> None:
    """Where admindocs lets syntax through, there is a placeholder."""
    assert readable(regex) == template
