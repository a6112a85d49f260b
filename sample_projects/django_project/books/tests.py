"""How a project tests its metrics: python manage.py test."""

from django.test import TestCase

from gunicorn_prometheus_exporter.testing import metric_delta


class MetricsTest(TestCase):
    """What dashboards and alerts of this project rely on."""

    def test_books_are_counted_under_one_endpoint(self) -> None:
        with metric_delta("gunicorn_requests_total", endpoint="/books/<int:pk>/") as delta:
            self.client.get("/books/1/")
            self.client.get("/books/2/")

        assert delta.value == 2

    def test_health_checks_are_not_counted(self) -> None:
        with metric_delta("gunicorn_requests_total") as delta:
            self.client.get("/healthz")

        assert delta.value == 0

    def test_lending_is_an_update(self) -> None:
        with metric_delta("django_model_updates_total", model="books.Book") as delta:
            self.client.patch("/api/books/1/", {"lent": True}, content_type="application/json")

        assert delta.value == 1
