"""The catalogue: every metric of ours, with its type, labels and help, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

KIB, MIB = 1024.0, 1048576.0
WORKER_DURATION_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZE_BUCKETS = (KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family as a scrape shows it; `name` is without the suffixes of its samples."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def family(self) -> str:
        """The name without the `_total` of counters, as prometheus_client keys them."""
        return self.name.removesuffix("_total") if self.type == "counter" else self.name

    @property
    def sample(self) -> str:
        """The name of the sample of a counter or gauge on the wire."""
        return f"{self.family}_total" if self.type == "counter" else self.name

    def labelled(self, *values: str) -> Mapping[str, str]:
        """Return the labels of a sample, from values in the order of the names."""
        return dict(zip(self.labels, values, strict=True))


_WORKER = ("worker_id",)
_REQUEST_ERROR = ("worker_id", "method", "endpoint", "error_type")

WORKER_REQUESTS = Metric(
    "gunicorn_worker_requests_total", "counter", _WORKER, "Requests handled by each worker."
)
WORKER_DURATION = Metric(
    "gunicorn_worker_request_duration_seconds", "histogram", _WORKER,
    "Time from the first byte handed to the application to the last byte sent, by worker.",
    WORKER_DURATION_BUCKETS,
)  # fmt: skip
WORKER_REQUEST_SIZE = Metric(
    "gunicorn_worker_request_size_bytes", "histogram", _WORKER,
    "Size of request bodies, by worker.", SIZE_BUCKETS,
)  # fmt: skip
WORKER_RESPONSE_SIZE = Metric(
    "gunicorn_worker_response_size_bytes", "histogram", _WORKER,
    "Size of response bodies, by worker.", SIZE_BUCKETS,
)  # fmt: skip
WORKER_FAILED_REQUESTS = Metric(
    "gunicorn_worker_failed_requests", "counter", _REQUEST_ERROR,
    "Requests whose handling raised, whether the framework made a response of it or not.",
)  # fmt: skip
WORKER_ERROR_HANDLING = Metric(
    "gunicorn_worker_error_handling", "counter", _REQUEST_ERROR,
    "Errors that the worker itself answered: malformed requests and escaped exceptions.",
)  # fmt: skip
WORKER_IN_PROGRESS = Metric(
    "gunicorn_worker_requests_in_progress", "gauge", _WORKER,
    "Requests that each worker is handling now.",
)  # fmt: skip
REQUESTS = Metric(
    "gunicorn_requests_total", "counter", ("method", "endpoint", "status"), "Requests answered."
)
REQUEST_DURATION = Metric(
    "gunicorn_request_duration_seconds", "histogram", ("method", "endpoint"),
    "Time from the first byte handed to the application to the last byte sent.",
)  # fmt: skip
REQUEST_EXCEPTIONS = Metric(
    "gunicorn_request_exceptions_total", "counter", ("method", "endpoint", "error_type"),
    "Requests whose handling raised, whether the framework made a response of it or not.",
)  # fmt: skip

WORKER_RESTARTS = Metric(
    "gunicorn_worker_restart_total", "counter", ("worker_id", "reason"),
    "Workers that ended, by why.",
)  # fmt: skip
WORKER_RESTART_COUNT = Metric(
    "gunicorn_worker_restart_count_total", "counter", ("worker_id", "restart_type", "reason"),
    "Workers that ended, by how and why.",
)  # fmt: skip
MASTER_SIGNALS = Metric(
    "gunicorn_master_worker_restart_total", "counter", ("reason",),
    "Signals that the master handled.",
)  # fmt: skip
MASTER_WORKER_EXITS = Metric(
    "gunicorn_master_worker_restart_count_total", "counter",
    ("worker_id", "reason", "restart_type"),
    "Workers that ended, by why and how, as the master saw it.",
)  # fmt: skip
RELOADS = Metric(
    "gunicorn_master_reloads_total", "counter", (), "Configuration reloads (HUP) of the master."
)
LAST_RELOAD = Metric(
    "gunicorn_master_last_reload_timestamp_seconds", "gauge", (),
    "Unix time of the last configuration reload; the start time before the first.",
)  # fmt: skip
MASTER_START = Metric(
    "gunicorn_master_start_time_seconds", "gauge", (), "Unix time at which the master started."
)
WORKERS_TARGET = Metric(
    "gunicorn_workers_target", "gauge", (), "Workers that the master tries to keep running."
)
LISTENER_BACKLOG = Metric(
    "gunicorn_listener_backlog", "gauge", ("listener",),
    "Connections waiting to be accepted, by listening address.",
)  # fmt: skip
INFO = Metric(
    "gunicorn_info", "gauge", ("version", "worker_class", "python_version", "exporter_version"),
    "What runs here; always 1.",
)  # fmt: skip

SERIES_FOLDED = Metric(
    "gunicorn_exporter_series_folded_total", "counter", ("metric",),
    "Label values beyond the cap on series, counted under the labels <other> or not at all.",
)  # fmt: skip
SERIES_DROPPED = Metric(
    "gunicorn_exporter_series_dropped_total", "counter", (),
    "Series that are not exposed because there was no space for them.",
)  # fmt: skip
RECORDER_ERRORS = Metric(
    "gunicorn_exporter_recorder_errors_total", "counter", (),
    "Requests that could not be recorded because of a fault of the exporter itself.",
)  # fmt: skip

REDIS_UP = Metric(
    "gunicorn_exporter_redis_up", "gauge", (),
    "Whether the last exchange with Redis succeeded; with 0, what is shown of others is old.",
)  # fmt: skip
REDIS_LAST_SUCCESS = Metric(
    "gunicorn_exporter_redis_last_success_timestamp_seconds", "gauge", (),
    "Unix time of the last exchange with Redis that succeeded, 0 before the first.",
)  # fmt: skip
REDIS_ERRORS = Metric(
    "gunicorn_exporter_redis_errors_total", "counter", (), "Exchanges with Redis that failed."
)
REDIS_CORRUPT = Metric(
    "gunicorn_exporter_redis_corrupt_snapshots", "gauge", (),
    "Entries in Redis that could not be read the last time.",
)  # fmt: skip
REDIS_INSTANCES = Metric(
    "gunicorn_exporter_redis_instances", "gauge", ("state",),
    "Instances of the application, by whether they publish (live) or have gone (gone).",
)  # fmt: skip
REDIS_SNAPSHOT_AGE = Metric(
    "gunicorn_exporter_redis_snapshot_age_seconds", "gauge", ("instance",),
    "Age of what is known of each live instance, by the clock of Redis.",
)  # fmt: skip

# Sampled by the exporter process when it is scraped.
WORKER_MEMORY = Metric(
    "gunicorn_worker_memory_bytes", "gauge", _WORKER, "Resident memory of each worker."
)
WORKER_CPU_PERCENT = Metric(
    "gunicorn_worker_cpu_percent", "gauge", _WORKER,
    "CPU use of each worker since the scrape before, in percent of one core.",
)  # fmt: skip
WORKER_CPU_SECONDS = Metric(
    "gunicorn_worker_cpu_seconds_total", "counter", _WORKER,
    "CPU time of each worker and its predecessors, as far as scrapes saw it.",
)  # fmt: skip
WORKER_UPTIME = Metric(
    "gunicorn_worker_uptime_seconds", "gauge", _WORKER, "Time since each worker started."
)
WORKER_THREADS = Metric("gunicorn_worker_threads", "gauge", _WORKER, "Threads of each worker.")
WORKER_OPEN_FDS = Metric(
    "gunicorn_worker_open_fds", "gauge", _WORKER, "Open file descriptors of each worker."
)
WORKER_STATE = Metric(
    "gunicorn_worker_state", "gauge", ("worker_id", "state", "timestamp"),
    "1 for a running worker, 0 in any other state; the timestamp is when that state was entered.",
)  # fmt: skip
WORKERS = Metric("gunicorn_workers", "gauge", (), "Worker processes alive now.")

SCRAPE_DURATION = Metric(
    "gunicorn_exporter_scrape_duration_seconds", "histogram", (),
    "Time to read, merge and render the metrics for one scrape.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5),
)  # fmt: skip
SCRAPES = Metric("gunicorn_exporter_scrapes_total", "counter", (), "Scrapes, failed ones included.")
SCRAPE_ERRORS = Metric(
    "gunicorn_exporter_scrape_errors_total", "counter", (), "Scrapes that failed."
)
SKIPPED_FILES = Metric(
    "gunicorn_exporter_skipped_files", "gauge", (),
    "Metric files that could not be read by this scrape: empty, cut off, garbage or gone.",
)  # fmt: skip

CATALOGUE = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""Every metric of ours, in the order above."""
