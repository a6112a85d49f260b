"""The thread of the exporter process that talks to Redis.

It does so once in every interval, and whenever somebody scrapes: a scrape publishes and reads in
one round trip. So no later scrape, of whatever instance, shows less than an earlier one did.
"""

from __future__ import annotations

import threading

from gunicorn_prometheus_exporter.redis.channel import Channel
from gunicorn_prometheus_exporter.redis.client import reason
from gunicorn_prometheus_exporter.redis.exchange import Exchange, View
from gunicorn_prometheus_exporter.redis.health import Health
from gunicorn_prometheus_exporter.redis.instance import Instance
from gunicorn_prometheus_exporter.settings import Settings


class Agent:
    """Exchanges snapshots with Redis in a thread of its own."""

    def __init__(
        self, settings: Settings, channel: Channel, instance: Instance | None = None
    ) -> None:
        """Prepare to publish `instance`, or only to read; nothing happens before `start()`."""
        self._interval = settings.redis_interval
        self._channel = channel
        self._exchange = Exchange(settings, channel, instance)
        self.health = Health(settings.redis_display_url, settings.redis_interval)
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="redis", daemon=True)

    @property
    def view(self) -> View:
        """What is known now."""
        return self._exchange.view

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Publish a last time and end; takes at most `seconds`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def exchange(self, seconds: float) -> View:
        """Return what is known after a round trip that starts now, or what was known before.

        Waits at most `seconds`, and not at all while Redis is known to be away. The view has no
        local samples where there was no such round trip.
        """
        with self._changed:
            if self.health.resting or self._stopping:
                return self.view._replace(local=None)
            self._asked += 1
            ticket = self._asked
            self._changed.notify_all()
            answered = self._changed.wait_for(lambda: self._done >= ticket, seconds)
            is_new = answered and self.health.up
            return self.view if is_new else self.view._replace(local=None)

    # The thread

    def _run(self) -> None:
        while not self._wait():
            self._turn()
        self._turn()
        self._channel.close()

    def _wait(self) -> bool:
        """Wait until there is something to do; return whether that is to end."""
        with self._changed:
            if self.health.resting:
                self._changed.wait_for(lambda: self._stopping, self.health.pause)
            else:
                self._changed.wait_for(
                    lambda: self._stopping or self._asked > self._done,
                    self._interval,
                )
            return self._stopping

    def _turn(self) -> None:
        """Exchange once, whatever comes of it."""
        asked = self._asked
        read = not self._stopping and (asked > self._done or self._exchange.idle)
        try:
            self._exchange.run(read=read)
            self._note_success()
            self._release(asked)
            if read:
                self._exchange.maintain()
        except Exception as error:  # noqa: BLE001 - without this thread nothing would be published
            self._note_failure(error)
            self._release(self._asked)

    def _release(self, asked: int) -> None:
        """Let those go on who asked up to then."""
        with self._changed:
            self._done = asked
            self._changed.notify_all()

    def _note_success(self) -> None:
        self.health.corrupt = self._exchange.corrupt
        self.health.succeeded()

    def _note_failure(self, error: Exception) -> None:
        self._channel.close()
        self._exchange.start_anew()
        self.health.failed(lambda: reason(error))
