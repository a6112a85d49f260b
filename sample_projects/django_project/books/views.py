"""The pages."""

import asyncio
from collections.abc import AsyncIterator

from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404

from books.models import Book
from gunicorn_prometheus_django import exclude


def book(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer one book."""
    return HttpResponse(get_object_or_404(Book, pk=pk).title)


def statistics(request: HttpRequest) -> JsonResponse:
    """Answer how many books there are, counted once a minute."""
    return JsonResponse({"books": cache.get_or_set("books", Book.objects.count, timeout=60)})


async def opening_hours(request: HttpRequest) -> HttpResponse:
    """Answer from the event loop."""
    await asyncio.sleep(0)
    return HttpResponse("9 to 17")


def catalogue(request: HttpRequest) -> StreamingHttpResponse:
    """Stream all titles; the request lasts until the last one is out."""
    titles = Book.objects.order_by("title").values_list("title", flat=True)
    if hasattr(request, "scope"):
        return StreamingHttpResponse(_lines(titles))
    return StreamingHttpResponse(f"{title}\n" for title in titles.iterator())


async def _lines(titles) -> AsyncIterator[str]:
    async for title in titles.aiterator():
        yield f"{title}\n"


def restricted(request: HttpRequest, shelf: str) -> HttpResponse:
    """Fail, as code sometimes does."""
    if request.GET.get("key") is None:
        raise Http404
    raise PermissionError(f"the key does not fit shelf {shelf}")


@exclude
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer load balancers; no metric counts them."""
    return HttpResponse("ok")
