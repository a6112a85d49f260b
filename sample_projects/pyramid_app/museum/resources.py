"""The resource tree: the museum, its departments, what they show."""

from dataclasses import dataclass

from pyramid.request import Request


@dataclass
class Painting:
    """Something to look at; a leaf of the tree."""

    title: str
    year: int


class Department(dict[str, Painting]):
    """A part of the museum."""


class Museum(dict[str, Department]):
    """The root of the tree."""


MUSEUM = Museum(
    paintings=Department(
        {"night-watch": Painting("The Night Watch", 1642), "guernica": Painting("Guernica", 1937)}
    )
)


def root_factory(request: Request) -> Museum:
    """Return the root, from which each request's path is followed."""
    return MUSEUM
