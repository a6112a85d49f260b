"""What changed between two scrapes, to be compared with what clients counted themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.gunicorn import Gunicorn
from tests.support.samples import Samples

REQUESTS = "gunicorn_requests_total"
WORKER_REQUESTS = "gunicorn_worker_requests_total"
IN_PROGRESS = "gunicorn_worker_requests_in_progress"
EXCEPTIONS = "gunicorn_request_exceptions_total"
FAILED = "gunicorn_worker_failed_requests_total"
ERRORS = "gunicorn_worker_error_handling_total"
REQUEST_BYTES = "gunicorn_worker_request_size_bytes_sum"
RESPONSE_BYTES = "gunicorn_worker_response_size_bytes_sum"
DURATION = "gunicorn_request_duration_seconds_sum"


class Change:
    """By how much samples rose from one scrape to the next. Filled in when `counted()` ends."""

    def __init__(self, before: Samples) -> None:
        """Begin at `before`, with nothing changed."""
        self.before = self.after = before

    def sum(self, name: str, /, **labels: str) -> float:
        """Return by how much the sum of these samples rose."""
        return self.after.sum(name, **labels) - self.before.sum(name, **labels)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], int]:
        """Return the changes of `name`, grouped by the values of `labels`; without those of 0."""
        counts: Counter[tuple[str, ...]] = Counter()
        for samples, sign in ((self.after, 1), (self.before, -1)):
            for one in samples.series(name):
                counts[tuple(one.labels[label] for label in labels)] += sign * int(one.value)
        return {group: count for group, count in counts.items() if count}


@contextmanager
def counted(server: Gunicorn, requests: int, timeout: float = 20.0) -> Iterator[Change]:
    """Yield what changes in the block, which makes the server count exactly `requests`.

    A server counts after its last byte: so this waits, and then sees that the number is right, that
    it is the same for workers and endpoints, and that no request is in progress any more.
    """
    change = Change(server.metrics())
    yield change

    def settled() -> bool:
        change.after = server.metrics()
        return change.sum(REQUESTS) >= requests and change.after.sum(IN_PROGRESS) == 0

    server.wait_for(settled, timeout, f"{requests} requests to be counted")
    # That scrape may have read some samples before, and some after the end of a request.
    change.after = server.metrics()
    assert change.sum(REQUESTS) == requests, change.by(REQUESTS, "method", "endpoint", "status")
    assert change.sum(WORKER_REQUESTS) == requests


def wait_running(server: Gunicorn, workers: int = 2) -> None:
    """Wait until all workers can be relied on: gunicorn loses a SIGTERM to one that still boots."""
    server.wait_for(
        lambda: server.metrics().sum("gunicorn_worker_state", state="running") == workers,
        message=f"{workers} running workers",
    )


def fallen(before: Samples, after: Samples) -> list[str]:
    """Return the counters, histograms included, that are lower in `after` or have vanished."""
    now = {(one.name, *sorted(one.labels.items())): one.value for one in after}
    return [
        f"{one.name} {dict(one.labels)}: {one.value} -> {now.get(key)}"
        for one in before
        if one.name.endswith(("_total", "_bucket", "_count", "_sum"))
        and now.get(key := (one.name, *sorted(one.labels.items())), -1.0) < one.value
    ]
