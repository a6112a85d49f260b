"""The views: of routes, of resources, of an exception."""

from collections.abc import Iterator

from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import exception_view_config, view_config

from gunicorn_prometheus_pyramid import exclude
from museum.resources import Department, Museum, Painting


class StrikeError(Exception):
    """Nobody is there to do it."""


@view_config(route_name="healthz")
@exclude
def healthz(request: Request) -> Response:
    """Answer load balancers; no metric counts them."""
    return Response("ok")


@view_config(route_name="ticket")
def ticket(request: Request) -> Response:
    """Answer with a ticket of the day."""
    return Response(f"one ticket for {request.matchdict['day']}")


@view_config(route_name="guide")
def guide(request: Request) -> Response:
    """Stream the guide; the request lasts until the last line is out."""
    return Response(app_iter=_lines(request.root), content_type="text/plain")


def _lines(museum: Museum) -> Iterator[bytes]:
    for department in museum.values():
        for painting in department.values():
            yield f"{painting.title}\n".encode()


@view_config(route_name="report")
def report(request: Request) -> Response:
    """Fail in a way that `strike` answers."""
    raise StrikeError(request.matchdict["year"])


@exception_view_config(StrikeError)
def strike(error: StrikeError, request: Request) -> Response:
    """Answer for those who do not; the metrics count the exception all the same."""
    return Response("on strike", status=503)


@view_config(context=Museum, renderer="json")
@view_config(context=Department, renderer="json")
def contents(context: Museum | Department, request: Request) -> list[str]:
    """Answer what there is one step further down the tree."""
    return list(context)


@view_config(context=Painting)
def painting(context: Painting, request: Request) -> Response:
    """Answer with a painting."""
    return Response(context.title)


@view_config(context=Painting, name="history")
def history(context: Painting, request: Request) -> Response:
    """Answer with its history."""
    return Response(f"painted in {context.year}")
