"""The Pyramid application that the tests of the Pyramid adapter share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound, HTTPNotFound, HTTPServiceUnavailable
from pyramid.request import Request
from pyramid.response import FileResponse, Response
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.view import view_config

from gunicorn_prometheus_pyramid import exclude
from tests.conformance.adapters import CHUNKS, BrokenError, SwallowedError
from tests.integrations.calls import Calls

HERE = Path(__file__).parent


class HandledError(Exception):
    """What an exception view answers with a 409."""


class Folder(dict[str, Any]):
    """A resource that holds others."""


class Document:
    """A resource that holds none."""


def root_factory(request: Request) -> Folder:
    """Return the resource tree."""
    return Folder(docs=Folder(one=Document(), two=Document()))


def answer(text: str) -> Callable[[Any, Request], Response]:
    """Return a view that answers with `text`."""
    return lambda context, request: Response(text, content_type="text/plain")


def user(request: Request) -> Response:
    """Answer one user."""
    return Response(f"user {request.matchdict['id']}")


def absent(request: Request) -> Response:
    """Raise what Pyramid answers with a 404."""
    raise HTTPNotFound


def unavailable(request: Request) -> Response:
    """Raise a response."""
    raise HTTPServiceUnavailable


def boom(request: Request) -> Response:
    """Raise what nothing handles."""
    raise ZeroDivisionError


def swallowed(request: Request) -> Response:
    """Raise what an exception view answers with a 500."""
    raise SwallowedError


def handled(request: Request) -> Response:
    """Raise what an exception view answers with a 409."""
    raise HandledError


def stream(request: Request) -> Response:
    """Stream `CHUNKS`."""
    return Response(app_iter=iter(CHUNKS))


def _breaking() -> Iterator[bytes]:
    yield CHUNKS[0]
    raise BrokenError


def broken_stream(request: Request) -> Response:
    """Stream one chunk, then raise."""
    return Response(app_iter=_breaking())


def file(request: Request) -> Response:
    """Answer with this file."""
    return FileResponse(__file__, request=request)


def subrequests(request: Request) -> Response:
    """Ask the application itself, by tweens or not, and once for an error."""
    use_tweens = request.matchdict["tweens"] == "yes"
    blank = Request.blank("/users/7")
    copied = request.copy_get()
    copied.path_info = "/plain"
    for each in (blank, copied):
        request.invoke_subrequest(each, use_tweens=use_tweens)
    if use_tweens:
        request.invoke_subrequest(Request.blank("/handled"), use_tweens=True)
    return Response("asked")


@exclude
def hidden(request: Request) -> Response:
    """Be left out of the metrics."""
    return Response("hidden")


@exclude
class HiddenView:
    """Is left out of the metrics as a class."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def __call__(self) -> Response:
        """Answer 200."""
        return Response("hidden")


class PartlyHidden:
    """One of its methods is left out."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @exclude
    @view_config(route_name="hidden-method")
    def hidden(self) -> Response:
        """Be left out."""
        return Response("hidden")

    @view_config(route_name="shown-method")
    def shown(self) -> Response:
        """Be counted."""
        return Response("shown")


def answer_itself(handler: Any, registry: Any) -> Any:
    """Make a tween that answers what carries `X-Answer: <status>` before anything is routed."""

    def tween(request: Request) -> Response:
        status = request.headers.get("X-Answer")
        return Response("answered", status=int(status)) if status else handler(request)

    return tween


def versioned(config: Configurator) -> None:
    """Add the routes that are included under two prefixes."""
    config.add_route(f"item-{config.route_prefix}", "items/{item}")
    config.add_view(answer("item"), route_name=f"item-{config.route_prefix}")


def version_1(config: Configurator) -> None:
    """Pyramid includes a callable only once."""
    versioned(config)


def version_2(config: Configurator) -> None:
    """So it takes another one for the other prefix."""
    versioned(config)


def no_such_page(request: Request) -> Response:
    """Answer what nothing else answers."""
    return Response("nothing here", status=404)


def single_page(request: Request) -> Response:
    """Answer it with a page, as single-page applications do."""
    return Response("everything is here")


def configure(*, not_found: Any = no_such_page, **settings: Any) -> Configurator:
    """Return the application's configurator."""
    config = Configurator(settings=settings, root_factory=root_factory)
    config.include("gunicorn_prometheus_pyramid")
    config.add_tween("tests.integrations.pyramid_site.answer_itself")
    add_conformance(config)
    add_routes(config)
    add_traversal(config)
    config.add_exception_view(
        lambda error, request: Response("conflict", status=409), context=HandledError
    )
    config.add_exception_view(
        lambda error, request: Response("sorry", status=500), context=SwallowedError
    )
    config.add_notfound_view(not_found, append_slash=True)
    return config


def add_conformance(config: Configurator) -> None:
    """Add what the conformance suite asks for."""
    config.add_route("user", "/users/{id:\\d+}")
    config.add_view(user, route_name="user", request_method="GET")
    views: dict[str, Any] = {
        "absent": absent,
        "boom": boom,
        "swallowed": swallowed,
        "stream": stream,
        "broken-stream": broken_stream,
        "hidden": hidden,
    }
    names = ("plain", "healthz", "labelled", "bucketed", "grouped", "prefixed")
    for name, view in {**{each: answer(each) for each in names}, **views}.items():
        config.add_route(name, f"/{name}")
        config.add_view(view, route_name=name)


def add_routes(config: Configurator) -> None:
    """Add one route for each row of the tables."""
    for name, pattern, view in [
        ("regex", r"/r/{year:\d{4}}/{slug}", answer("regex")),
        ("old", "/old/:first/:second", answer("old")),
        ("vmeth", "/vmeth/{id}", None),
        ("star", "/star/*rest", answer("star")),
        ("slashed", "/slashed/{id}/", answer("slashed")),
        ("handled", "/handled", handled),
        ("unavailable", "/unavailable", unavailable),
        ("file", "/file", file),
        ("subrequests", "/subrequests/{tweens}", subrequests),
        ("hidden-class", "/hidden-class", HiddenView),
        ("hidden-method", "/hidden-method", None),
        ("shown-method", "/shown-method", None),
        ("moved", "/moved", lambda request: HTTPFound("/elsewhere/")),
    ]:
        config.add_route(name, pattern)
        if view is not None:
            config.add_view(view, route_name=name)
    config.add_view(answer("posted"), route_name="vmeth", request_method="POST")
    config.add_route("predicated", "/predicated/{id}", request_method="PUT")
    config.add_view(answer("put"), route_name="predicated")
    config.add_route("hybrid", "/hybrid/{site}/*traverse", factory=root_factory)
    config.add_view(answer("hybrid"), route_name="hybrid", context=Document)
    config.add_static_view("static", str(HERE))
    config.include(version_1, route_prefix="v1/{tenant}")
    config.include(version_2, route_prefix="/v2")
    config.scan(__name__)


def add_traversal(config: Configurator) -> None:
    """Add views of resources."""
    config.add_view(answer("folder"), context=Folder)
    config.add_view(answer("document"), context=Document)
    config.add_view(answer("edit"), context=Document, name="edit", request_method="GET")
    config.add_view(absent, context=Document, name="gone")
    config.add_view(boom, context=Document, name="boom", permission=NO_PERMISSION_REQUIRED)


def calls(**settings: Any) -> Calls:
    """Return a client of a new application with these adapter settings."""
    prefixed = {f"gunicorn_prometheus.{name}": value for name, value in settings.items()}
    return Calls(configure(**prefixed).make_wsgi_app(), "wsgi")
