"""The views: those of the conformance suite, and one that answers everything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.views import View
from django.views.decorators.http import require_GET
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from gunicorn_prometheus_django import exclude
from tests.conformance.adapters import CHUNKS, BrokenError, SwallowedError


def plain(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Answer 200 with `plain`."""
    return HttpResponse("plain", content_type="text/plain")


async def plain_async(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """Answer 200 with `plain`, from the event loop."""
    await asyncio.sleep(0)
    return HttpResponse("plain", content_type="text/plain")


@require_GET
def user(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer GET only."""
    return HttpResponse(f"user {pk}")


def absent(request: HttpRequest) -> HttpResponse:
    """Raise what Django answers with a 404."""
    raise Http404("no such object")


def forbidden(request: HttpRequest) -> HttpResponse:
    """Raise what Django answers with a 403."""
    raise PermissionDenied


def suspicious(request: HttpRequest) -> HttpResponse:
    """Raise what Django answers with a 400."""
    raise SuspiciousOperation("odd")


def boom(request: HttpRequest) -> HttpResponse:
    """Raise what nothing handles."""
    raise ZeroDivisionError


async def boom_async(request: HttpRequest) -> HttpResponse:
    """Raise it in the event loop."""
    raise ZeroDivisionError


async def sleep(request: HttpRequest) -> HttpResponse:
    """Wait for something that does not come."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def swallowed(request: HttpRequest) -> HttpResponse:
    """Raise what Django answers with its own handler."""
    raise SwallowedError


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Stream `CHUNKS`, in the way that suits the protocol."""
    return StreamingHttpResponse(_chunks_async() if _is_asgi(request) else iter(CHUNKS))


def broken_stream(request: HttpRequest) -> StreamingHttpResponse:
    """Stream one chunk, then raise."""
    return StreamingHttpResponse(_breaking_async() if _is_asgi(request) else _breaking())


def _is_asgi(request: HttpRequest) -> bool:
    return hasattr(request, "scope")


async def _chunks_async() -> AsyncIterator[bytes]:
    for chunk in CHUNKS:
        yield chunk


def _breaking() -> Iterator[bytes]:
    yield CHUNKS[0]
    raise BrokenError


async def _breaking_async() -> AsyncIterator[bytes]:
    yield CHUNKS[0]
    raise BrokenError


@exclude
def hidden(request: HttpRequest) -> HttpResponse:
    """Be left out of the metrics."""
    return HttpResponse("hidden")


@exclude
class HiddenView(View):
    """Is left out of the metrics as a class."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Answer 200."""
        return HttpResponse("hidden")


class AsyncView(View):
    """A class whose handlers are asynchronous."""

    async def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Answer 200."""
        return HttpResponse("async")


class ItemViewSet(ViewSet):
    """What a router of Django REST framework makes URLs of."""

    permission_classes = [AllowAny]
    authentication_classes: list[Any] = []

    def list(self, request: Any, format: str | None = None) -> Response:
        """Answer the collection."""
        return Response([])

    def retrieve(self, request: Any, pk: str, format: str | None = None) -> Response:
        """Answer one item; item 0 makes the view fail."""
        return Response({"one over": 1 / int(pk)})
