"""The URLs below /books/."""

from django.urls import path, re_path

from books import views

urlpatterns = [
    path("<int:pk>/", views.book),
    path("statistics/", views.statistics),
    path("hours/", views.opening_hours),
    path("catalogue/", views.catalogue),
    re_path(r"^restricted/(?P<shelf>[a-z]{1,3})/$", views.restricted),
]
