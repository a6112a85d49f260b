"""What an adapter says through the seam is what a real server exposes, once for each request."""

from __future__ import annotations

import pytest

from tests.support.counting import (
    ERRORS,
    EXCEPTIONS,
    FAILED,
    REQUESTS,
    WORKER_REQUESTS,
    Change,
    counted,
    wait_running,
)
from tests.support.gunicorn import running_gunicorn
from tests.support.versions import oldest_and_newest

DURATION = "gunicorn_request_duration_seconds"
ASKED = (
    "/plain/200",
    "/plain/201",
    "/unknown/404",
    "/labelled/200?acme",
    "/labelled/200?umbrella",
    "/policy/201",
    "/policy/204",
    "/excluded/200",
    "/escaping/200",
    "/swallowing/503",
    "/late/200",
)


@pytest.fixture(scope="module")
def change() -> Change:
    """What a server exposes after one request of each kind."""
    with running_gunicorn("tests.support.seam_app:app") as server:
        wait_running(server)
        with counted(server, len(ASKED) - 1) as change:
            for path in ASKED:
                server.get(path)
    return change


def test_requests_are_counted_by_the_templates_that_were_told(change: Change) -> None:
    assert change.by(REQUESTS, "endpoint", "status") == {
        ("/plain/<status>", "200"): 1,
        ("/plain/<status>", "201"): 1,
        ("<unmatched>", "404"): 1,
        ("/labelled/<status>", "200"): 2,
        ("/policy/<status>", "2xx"): 2,
        ("/escaping/<status>", "500"): 1,
        ("/swallowing/<status>", "503"): 1,
        ("/named/late", "200"): 1,
    }


def test_extra_labels_stand_beside_the_others(change: Change) -> None:
    tenants = {
        one.labels["tenant"]: one.value
        for one in change.after.series(REQUESTS, endpoint="/labelled/<status>")
    }

    assert tenants == {"acme": 1, "umbrella": 1}
    assert change.after.sum(f"{DURATION}_count", tenant="acme") == 1


def test_an_applications_policy_has_its_own_buckets(change: Change) -> None:
    buckets = change.after.label_values(f"{DURATION}_bucket", "le", endpoint="/policy/<status>")

    assert buckets == {"0.5", "1.0", "+Inf"}


def test_an_exception_counts_under_its_route_whoever_answers_it(change: Change) -> None:
    both = {
        ("/escaping/<status>", "LookupError"): 1,
        ("/swallowing/<status>", "LookupError"): 1,
    }
    assert change.by(EXCEPTIONS, "endpoint", "error_type") == both
    assert change.by(FAILED, "endpoint", "error_type") == both
    assert change.by(ERRORS, "endpoint") == {("/escaping/<status>",): 1}


def test_an_excluded_request_is_in_no_metric_of_the_worker_either(change: Change) -> None:
    assert change.sum(WORKER_REQUESTS) == len(ASKED) - 1
    assert change.sum("gunicorn_worker_request_duration_seconds_count") == len(ASKED) - 1
    assert "/excluded" not in change.after.text


@oldest_and_newest
def test_series_beyond_the_cap_share_one_and_say_so(gunicorn_version: str | None) -> None:
    """Labels of adapters come from requests too."""
    env = {"GUNICORN_PROMETHEUS_MAX_SERIES": "20"}
    with (
        running_gunicorn(
            "tests.support.seam_app:app", workers=1, env=env, gunicorn_version=gunicorn_version
        ) as server,
        counted(server, 50) as change,
    ):
        for number in range(50):
            server.get(f"/labelled/200?tenant-{number}")

    assert len(change.after.series(REQUESTS)) == 20 + 1
    assert change.sum(REQUESTS, tenant="<other>") == 30
    assert change.sum("gunicorn_exporter_series_folded_total", metric="gunicorn_requests") == 30
