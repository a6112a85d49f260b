"""A cache whose server is away."""

from __future__ import annotations

from typing import Any

from django.core.cache.backends.base import BaseCache


class AwayCache(BaseCache):
    """Raises what a client raises that reaches nobody."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        """Be made as Django makes caches."""
        super().__init__(params)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Raise ConnectionError."""
        raise ConnectionError("the cache is away")
