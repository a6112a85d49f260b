"""The extra label of this application's requests."""

from pyramid.request import Request


def language(request: Request) -> str:
    """Return one of two languages: whatever else a client asks for is English."""
    return request.accept_language.lookup(["en", "de"], default="en")
