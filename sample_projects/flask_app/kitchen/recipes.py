"""The blueprint of recipes."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, abort, redirect

from kitchen.comments import comments
from kitchen.metrics import servings_cooked

recipes = Blueprint("recipes", __name__)
recipes.register_blueprint(comments, url_prefix="/<name>/comments")

BOOK = {
    "soup": ["Boil water.", "Add vegetables.", "Wait."],
    "bread": ["Knead.", "Wait.", "Bake."],
}


@recipes.get("/")
def index() -> list[str]:
    """List the names."""
    return sorted(BOOK)


@recipes.get("/<name>")
def recipe(name: str) -> dict[str, object]:
    """Show one recipe."""
    return {"name": name, "steps": BOOK.get(name) or abort(404)}


@recipes.get("/<name>/aloud")
def aloud(name: str) -> Response:
    """Read a recipe out: a streamed response."""

    def lines() -> Iterator[str]:
        for step in BOOK.get(name, []):
            yield step + "\n"

    return Response(lines(), mimetype="text/plain")


@recipes.post("/<name>/cook/<int:servings>")
def cook(name: str, servings: int) -> str:
    """Cook, within the size of the pot."""
    if servings > 20:
        raise OverflowError(servings)
    servings_cooked.labels(name).inc(servings)
    return f"{servings} servings of {name}"


@recipes.get("/random")
def surprise() -> object:
    """Lead to some recipe."""
    return redirect("/recipes/soup")
