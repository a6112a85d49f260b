"""The URLs of other.example."""

from __future__ import annotations

from django.urls import path

from tests.integrations.django_site import views

urlpatterns = [path("other/<int:pk>/", views.plain)]
