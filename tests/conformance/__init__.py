"""Suites that several implementations of one contract run."""

from __future__ import annotations

import pytest

# Suites are no test modules: without this a failing assertion would not show its values.
for _suite in ("adapters", "storage", "workers"):
    pytest.register_assert_rewrite(f"{__name__}.{_suite}")
