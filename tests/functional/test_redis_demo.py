"""The demo of two instances that share a Redis, run as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.redis import running_redis

DEMO = Path(__file__).parents[2] / "sample_projects" / "redis_two_instances" / "demo.py"


def test_the_demo_shows_the_sum_and_the_part_and_leaves() -> None:
    with running_redis() as redis:
        env = {**os.environ, "REDIS_URL": redis.url, "DEMO_SECONDS": "0"}
        result = subprocess.run(
            [sys.executable, str(DEMO)], env=env, capture_output=True, text=True, timeout=60
        )
    both, _, alone = result.stdout.partition("The first one alone")

    assert result.returncode == 0, result.stderr
    assert 'endpoint="/products",method="GET",status="200"} 30.0' in both
    assert 'worker_id="right:0"' in both
    assert 'endpoint="/products",method="GET",status="200"} 10.0' in alone
    assert 'worker_id="0"' in alone
