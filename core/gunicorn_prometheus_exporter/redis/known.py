"""What one process knows of all instances: of each the newest snapshot it has ever seen."""

from __future__ import annotations

from collections.abc import Iterable

from gunicorn_prometheus_exporter.redis.compaction import correction_id
from gunicorn_prometheus_exporter.redis.snapshot import Snapshot


class Known:
    """The newest snapshots, merged from whatever Redis shows, in whatever order.

    An instance that was absorbed by an archive counts there alone. So what a process knows only
    grows, and Redis can be given back what it lost.
    """

    def __init__(self, own: str | None = None) -> None:
        """Know nothing; `own` is the instance that this process publishes itself."""
        self.own = own
        self._snapshots: dict[str, Snapshot] = {}

    @property
    def snapshots(self) -> list[Snapshot]:
        """Every snapshot that counts, in a stable order, but for that of our own instance.

        A correction counts with the instance that it belongs to.
        """
        instances = {*self._snapshots, *([self.own] if self.own else [])}
        corrections = {correction_id(one) for one in instances}
        return [one for one in self._others() if not one.is_correction or one.id in corrections]

    def learn(self, seen: Iterable[Snapshot]) -> list[Snapshot]:
        """Take over what is newer in `seen`, which is everything that Redis holds.

        Returns what Redis lacks.
        """
        held = {one.id: one for one in seen}
        for one in held.values():
            known = self._snapshots.get(one.id)
            if known is None or known.sequence < one.sequence:
                self._snapshots[one.id] = one
            elif known.sequence == one.sequence and known.stamp < one.stamp:
                self._snapshots[one.id] = known.stamped(one.stamp)
        self._forget_absorbed()
        lost = [one for one in self._others() if _is_lacking(one, held.get(one.id))]
        # Corrections first: without them their instances would count too much.
        return sorted(lost, key=lambda one: not one.is_correction)

    def _others(self) -> list[Snapshot]:
        return [self._snapshots[one] for one in sorted(self._snapshots) if one != self.own]

    def _forget_absorbed(self) -> None:
        archives = [one for one in self._snapshots.values() if one.is_archive]
        for archive in archives:
            for absorbed in archive.absorbed:
                self._snapshots.pop(absorbed, None)

    def forget(self) -> None:
        """Know nothing any more: too much may have happened in the meantime."""
        self._snapshots.clear()


def _is_lacking(known: Snapshot, held: Snapshot | None) -> bool:
    return held is None or held.sequence < known.sequence
