"""How an application tests its metrics: python -m unittest."""

from unittest import TestCase

from kitchen import create_app

from gunicorn_prometheus_exporter.testing import metric_delta


class MetricsTest(TestCase):
    """What dashboards and alerts of the kitchen rely on."""

    def setUp(self) -> None:
        self.client = create_app().test_client()

    def test_recipes_are_counted_under_one_endpoint(self) -> None:
        with metric_delta("gunicorn_requests_total", endpoint="/recipes/<name>") as delta:
            self.client.get("/recipes/soup")
            self.client.get("/recipes/bread")

        assert delta.value == 2

    def test_an_exception_that_is_handled_is_counted(self) -> None:
        with metric_delta("gunicorn_request_exceptions_total", error_type="OverflowError") as delta:
            assert self.client.post("/recipes/soup/cook/100").status_code == 503

        assert delta.value == 1

    def test_health_checks_are_not_counted(self) -> None:
        with metric_delta("gunicorn_requests_total") as delta:
            self.client.get("/healthz")

        assert delta.value == 0

    def test_servings_are_counted(self) -> None:
        with metric_delta("kitchen_servings_total", recipe="soup") as delta:
            self.client.post("/recipes/soup/cook/4")

        assert delta.value == 4
