"""The middleware that names each request, and measures it where no worker of ours does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gunicorn_prometheus_django import conf, exceptions
from gunicorn_prometheus_django.visit import Visit


class PrometheusMiddleware:
    """Comes first in MIDDLEWARE, so that it sees what every other one answers.

    It works in synchronous and asynchronous chains without a change of thread.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        """Read the settings, so that a wrong one stops the start; raise SettingsError."""
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        conf.read()
        exceptions.listen()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer `request` as the rest of the chain does."""
        if self._is_async:
            return self._answer_async(request)
        visit = Visit(request)
        try:
            response = visit.answer_metrics() if visit.is_scrape else self.get_response(request)
        except BaseException as error:
            visit.fail(error)
            raise
        return visit.leave(response)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        visit = Visit(request)
        try:
            if visit.is_scrape:
                # In a thread: the project's METRICS_AUTH may well ask the database.
                response = await sync_to_async(visit.answer_metrics)()
            else:
                response = await self.get_response(request)
        except BaseException as error:
            visit.fail(error)
            raise
        return visit.leave(response)


class ExceptionMiddleware:
    """Comes last in MIDDLEWARE where another middleware answers exceptions in `process_exception`.

    Django asks the last middleware first, and tells nobody else of an exception that one answers.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        """Take its place in the chain."""
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Pass `request` on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: BaseException) -> None:
        """Note `exception` and leave its answer to the others."""
        exceptions.note(request, exception)
