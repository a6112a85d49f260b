"""The URLs of the project."""

from books import views
from books.api import BookViewSet
from django.contrib import admin
from django.urls import include, path
from rest_framework.routers import SimpleRouter

router = SimpleRouter()
router.register("books", BookViewSet)

urlpatterns = [
    path("healthz", views.healthz),
    path("admin/", admin.site.urls),
    path("api/", include(router.urls)),
    path("books/", include("books.urls")),
]
