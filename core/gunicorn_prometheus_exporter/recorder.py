"""Records each request once: the only place that counts and measures.

Everything on the request path is here: some lookups and additions to memory. Labels that were not
seen before take a slower path once. A fault of ours is counted, logged once, and goes no further.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from gunicorn_prometheus_exporter import metrics as m
from gunicorn_prometheus_exporter.instruments import Histogram, Instruments
from gunicorn_prometheus_exporter.limits import SeriesLimit
from gunicorn_prometheus_exporter.paths import EndpointInference
from gunicorn_prometheus_exporter.route import DEFAULT_POLICY, UNMATCHED, Policy, Route
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.store import Cell

logger = logging.getLogger("gunicorn_prometheus_exporter")

METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)
OTHER_METHOD = "OTHER"
CLIENT_CLOSED = 499
"""The status of a request whose client went away before the answer was complete."""

_REMEMBERED = 1024
_NOBODY = Route()
"""What is known of a request that nobody named."""

_T = TypeVar("_T")
_V = TypeVar("_V")
_Labels = tuple[tuple[str, str], ...]
_Key = tuple[str, str, int, _Labels, Policy]


@dataclass(slots=True)
class _Endpoint:
    """What requests of one method, endpoint, status and set of extra labels write to."""

    method: str
    name: str
    requests: Cell
    duration: Histogram


class Recorder:
    """Records the requests of this process under the worker id of its slot."""

    def __init__(self, instruments: Instruments, settings: Settings, worker_id: str) -> None:
        """Make the cells of this worker, so that they are exposed as 0 before the first request."""
        worker = {"worker_id": worker_id}
        self.worker_id = worker_id
        self._instruments = instruments
        self._buckets = settings.duration_buckets
        self._requests = instruments.counter(m.WORKER_REQUESTS, worker)
        self._duration = instruments.histogram(m.WORKER_DURATION, worker)
        self._request_size = instruments.histogram(m.WORKER_REQUEST_SIZE, worker)
        self._response_size = instruments.histogram(m.WORKER_RESPONSE_SIZE, worker)
        self._in_progress = instruments.gauge(m.WORKER_IN_PROGRESS, worker)
        self._errors = instruments.counter(m.RECORDER_ERRORS, {})
        self._by_path: dict[tuple[str, int, str], _Endpoint] = {}
        self._endpoints: dict[_Key, _Endpoint] = {}
        self._exceptions: dict[tuple[str, str, str], tuple[Cell, Cell]] = {}
        self._inference = EndpointInference(
            _endpoints_in_use(instruments.limit),
            settings.max_endpoints,
            enabled=settings.infer_endpoints,
        )
        self._reported = False

    def begin(self) -> float:
        """Note that a request begins, and return when: pass it to `end()`."""
        self._in_progress.add(1.0)
        return perf_counter()

    def end(
        self,
        started: float,
        *,
        method: str,
        status: int,
        path: str,
        request_bytes: int,
        response_bytes: int,
        route: Route | None = None,
        exception: BaseException | None = None,
        escaped: bool = False,
    ) -> None:
        """Record the request that began at `started`; never raises.

        status: what the client was answered, 499 if it went away.
        path: without query and deployment prefix; used if nobody named the route.
        request_bytes, response_bytes: sizes of the bodies.
        exception: what the application raised, if the route tells of nothing.
        escaped: no framework answered it, so the worker did.
        """
        elapsed = perf_counter() - started
        try:
            if route is None:
                endpoint = self._by_path.get((method, status, path))
                if endpoint is None:
                    endpoint = self._inferred(method, status, path)
            elif route.excluded:
                return
            else:
                exception = route.exception or exception
                endpoint = self._routed(method, status, path, route)
            endpoint.requests.add(1.0)
            endpoint.duration.observe(elapsed)
            self._requests.add(1.0)
            self._duration.observe(elapsed)
            self._request_size.observe(request_bytes)
            self._response_size.observe(response_bytes)
            if exception is not None:
                self._count_exception(endpoint, exception)
                if escaped:
                    self._count_error(endpoint, type(exception).__name__)
        except Exception:  # noqa: BLE001 - the one place: metrics never break a request
            self._failed()
        finally:
            self._in_progress.add(-1.0)

    def abandon(self) -> None:
        """Forget the request that began last: it turned out to be something else."""
        self._in_progress.add(-1.0)

    def raised(
        self, method: str, status: int, path: str, route: Route, exception: BaseException
    ) -> None:
        """Count what the application raised after `end()`, its answer; never raises."""
        try:
            if not route.excluded and route.exception is None:
                self._count_exception(self._routed(method, status, path, route), exception)
        except Exception:  # noqa: BLE001 - as in end()
            self._failed()

    def rejected(self, status: int, error_type: str) -> None:
        """Record that the worker refused, with `status`, what never became a request."""
        try:
            endpoint = self._known((OTHER_METHOD, UNMATCHED, status, (), DEFAULT_POLICY))
            endpoint.requests.add(1.0)
            self._requests.add(1.0)
            self._count_error(endpoint, error_type)
        except Exception:  # noqa: BLE001 - as in end()
            self._failed()

    def _inferred(self, method: str, status: int, path: str) -> _Endpoint:
        """Return where to count a request that nobody named, and remember it for a while."""
        endpoint = self._routed(method, status, path, _NOBODY)
        if len(self._by_path) >= _REMEMBERED:
            self._by_path.clear()
        self._by_path[method, status, path] = endpoint
        return endpoint

    def _routed(self, method: str, status: int, path: str, route: Route) -> _Endpoint:
        """Return where to count a request by its method, endpoint and status."""
        if method not in METHODS:
            method = OTHER_METHOD
        name = route.endpoint or self._inference.endpoint(path, status)
        return self._known((method, name, status, route.labels, route.policy))

    def _known(self, key: _Key) -> _Endpoint:
        return self._endpoints.get(key) or self._new_endpoint(key)

    def _new_endpoint(self, key: _Key) -> _Endpoint:
        method, name, status, extra, policy = key
        shown = f"{status // 100}xx" if policy.group_status else str(status)
        labels = {**dict(extra), "method": method, "endpoint": name}
        bounds = policy.buckets or self._buckets
        endpoint = _Endpoint(
            method,
            name,
            self._instruments.counter(m.REQUESTS, {**labels, "status": shown}),
            self._instruments.histogram(m.REQUEST_DURATION, labels, bounds),
        )
        self._remember(self._endpoints, key, endpoint)
        return endpoint

    def _count_exception(self, endpoint: _Endpoint, exception: BaseException) -> None:
        key = (endpoint.method, endpoint.name, type(exception).__name__)
        cells = self._exceptions.get(key)
        if cells is None:
            failed, exceptions = m.WORKER_FAILED_REQUESTS, m.REQUEST_EXCEPTIONS
            cells = (
                self._instruments.counter(failed, failed.labelled(self.worker_id, *key)),
                self._instruments.counter(exceptions, exceptions.labelled(*key)),
            )
            self._remember(self._exceptions, key, cells)
        for cell in cells:
            cell.add(1.0)

    def _count_error(self, endpoint: _Endpoint, error_type: str) -> None:
        error = m.WORKER_ERROR_HANDLING
        labels = error.labelled(self.worker_id, endpoint.method, endpoint.name, error_type)
        self._instruments.counter(error, labels).add(1.0)

    def _remember(self, cache: dict[_T, _V], key: _T, cells: _V) -> None:
        """Keep `cells` for the next request, unless there are too many already."""
        if len(cache) < self._instruments.limit.maximum:
            cache[key] = cells

    def _failed(self) -> None:
        self._errors.add(1.0)
        if not self._reported:
            self._reported = True
            logger.exception("a request could not be recorded; this is reported once")


def _endpoints_in_use(limit: SeriesLimit) -> set[str]:
    return {dict(labels).get("endpoint", "") for labels in limit.known(m.REQUESTS.family)}


_serving: Recorder | None = None


def serve_with(recorder: Recorder) -> None:
    """Let adapters know that a worker of ours records the requests of this process."""
    global _serving
    _serving = recorder


def under_worker() -> bool:
    """Return whether a worker of ours serves this process, so that adapters only name requests."""
    return _serving is not None


def local_recorder() -> Recorder:
    """Return this process's own recorder, for where no worker of ours serves it."""
    from gunicorn_prometheus_exporter.inprocess import local_metrics

    return local_metrics().recorder
