"""How an application tests its metrics: python -m unittest."""

from unittest import TestCase

from museum import main
from pyramid.request import Request

from gunicorn_prometheus_exporter.testing import metric_delta


class MetricsTest(TestCase):
    """What dashboards and alerts of the museum rely on."""

    def setUp(self) -> None:
        self.app = main({})

    def get(self, path: str) -> int:
        """Send one request and return the status."""
        return Request.blank(path).get_response(self.app).status_int

    def test_tickets_are_counted_under_one_endpoint(self) -> None:
        with metric_delta("gunicorn_requests_total", endpoint="/tickets/{day}") as delta:
            self.get("/tickets/2030-01-31")
            self.get("/tickets/2030-02-01")

        assert delta.value == 2

    def test_resources_are_counted_by_their_class(self) -> None:
        endpoint = "traversal:Painting/history"
        with metric_delta("gunicorn_requests_total", endpoint=endpoint) as delta:
            self.get("/paintings/guernica/history")

        assert delta.value == 1

    def test_health_checks_are_not_counted(self) -> None:
        with metric_delta("gunicorn_requests_total") as delta:
            self.get("/healthz")

        assert delta.value == 0
