"""The blueprint of comments, which stands within that of recipes."""

from __future__ import annotations

from flask import Blueprint

comments = Blueprint("comments", __name__)


@comments.get("/<int:number>")
def comment(name: str, number: int) -> str:
    """Show one comment on a recipe."""
    return f"Comment {number} on {name}: delicious."
