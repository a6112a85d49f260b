"""What every test starts from: an environment without settings of ours."""

from __future__ import annotations

import os
import re

from hypothesis import settings

# Before anything imports prometheus_client, which reads its directory when it is imported.
for _name in [name for name in os.environ if re.match("(PROMETHEUS|GUNICORN|REDIS)_", name)]:
    del os.environ[_name]

settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")
