"""How the connection to Redis is doing: for the metrics, and for the log."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from gunicorn_prometheus_exporter import metrics as m
from gunicorn_prometheus_exporter.exporter.process_stats import GAUGE, OWNER
from gunicorn_prometheus_exporter.exporter.rows import Row, row, synthetic_block
from gunicorn_prometheus_exporter.storage.blocks import Block

MAX_PAUSE = 5.0
"""Seconds between two tries, at most, while Redis is away."""

_QUIET_SECONDS = 60.0
"""How long nothing more is logged about a connection that comes and goes."""

logger = logging.getLogger("gunicorn_prometheus_exporter")


class Health:
    """Counts successes and failures, and says when to try again. One thread writes, all read."""

    def __init__(self, url: str, interval: float) -> None:
        """Begin with nothing tried; `url` is shown in the log, and holds no password."""
        self.up = False
        self.errors = 0
        self.corrupt = 0
        self.last_success = 0.0
        """Unix time."""
        self._url = url
        self._interval = interval
        self._row = 0
        """How many failures there were since the last success."""
        self._resume_at = 0.0
        self._quiet_until = 0.0
        self._reported = False

    @property
    def resting(self) -> bool:
        """Whether Redis failed just now and is left alone for a while."""
        return time.monotonic() < self._resume_at

    @property
    def pause(self) -> float:
        """Seconds until the next try."""
        return max(0.0, self._resume_at - time.monotonic())

    def succeeded(self) -> None:
        """Note an exchange that succeeded."""
        if self._reported:
            self._reported = False
            logger.warning("Prometheus metrics: Redis at %s can be used again.", self._url)
        self.up, self._row, self._resume_at = True, 0, 0.0
        self.last_success = time.time()

    def failed(self, why: Callable[[], str]) -> None:
        """Note an exchange that failed; the first of several is logged."""
        self.errors += 1
        self.up = False
        # Spread, so that many instances do not all come back at the same moment.
        longest = min(MAX_PAUSE, self._interval * 2**self._row)
        self._resume_at = time.monotonic() + longest * random.uniform(0.5, 1.0)
        self._row = min(self._row + 1, 16)
        if not self._reported and time.monotonic() >= self._quiet_until:
            self._reported = True
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            logger.warning(
                "Prometheus metrics: Redis at %s cannot be used: %s. The application is not "
                "affected; metrics of other instances stay as they were last seen. Trying again.",
                self._url,
                why(),
            )

    def blocks(self, live: int, gone: int, ages: dict[str, float]) -> list[Block]:
        """Return the metrics about Redis, with how many instances there are and how old each is."""
        gauges: list[Row] = [
            row(m.REDIS_UP, self.up),
            row(m.REDIS_LAST_SUCCESS, self.last_success),
            row(m.REDIS_CORRUPT, self.corrupt),
            row(m.REDIS_INSTANCES, live, "live"),
            row(m.REDIS_INSTANCES, gone, "gone"),
            *(row(m.REDIS_SNAPSHOT_AGE, age, name) for name, age in sorted(ages.items())),
        ]
        return [
            synthetic_block(GAUGE, OWNER, gauges),
            synthetic_block("counter", OWNER, [row(m.REDIS_ERRORS, self.errors)]),
        ]
