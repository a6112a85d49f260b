"""The middleware of the project: what other packages do, in short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

Handler = Callable[[HttpRequest], Any]


@sync_and_async_middleware
def answer_itself(get_response: Handler) -> Handler:
    """Answer what carries `X-Answer: <status>` without asking the URLs, as WhiteNoise does."""
    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> Any:
            return _own_answer(request) or await get_response(request)

        return answer_async
    return lambda request: _own_answer(request) or get_response(request)


def _own_answer(request: HttpRequest) -> HttpResponse | None:
    status = request.headers.get("X-Answer")
    return HttpResponse("answered", status=int(status)) if status else None


@sync_and_async_middleware
def urlconf_by_host(get_response: Handler) -> Handler:
    """Give requests to other.example other URLs, as django-hosts does."""

    def choose(request: HttpRequest) -> HttpRequest:
        if request.get_host() == "other.example":
            request.urlconf = "tests.integrations.django_site.other_urls"
        return request

    if iscoroutinefunction(get_response):

        async def choose_async(request: HttpRequest) -> Any:
            return await get_response(choose(request))

        return choose_async
    return lambda request: get_response(choose(request))


def sync_only(get_response: Handler) -> Handler:
    """Do nothing, in a way that forces an asynchronous chain into a thread."""
    return lambda request: get_response(request)


class AnswerExceptions:
    """Turns any exception into a 503, without Django's signal."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        return HttpResponse("later", status=503)
