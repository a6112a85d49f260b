"""The Django project that the tests of the Django adapter share."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import django
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from tests.integrations.calls import Calls


@cache
def start() -> None:
    """Start Django, once in a process."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.integrations.django_site.settings"
    django.setup()


def calls(protocol: str) -> Calls:
    """Return a client of a new handler: it reads MIDDLEWARE as the settings are now."""
    start()
    app: Any = get_wsgi_application() if protocol == "wsgi" else get_asgi_application()
    return Calls(app, protocol)
