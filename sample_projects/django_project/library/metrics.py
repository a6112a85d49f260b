"""The extra label of this project's requests."""

from django.http import HttpRequest


def user_kind(request: HttpRequest) -> str:
    """Return who asks, in one of few words: a user's name would be a series for each user."""
    return "api" if request.path_info.startswith("/api/") else "person"
