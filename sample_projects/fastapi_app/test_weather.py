"""How an application tests its metrics: python -m unittest."""

from unittest import IsolatedAsyncioTestCase

import httpx
from weather.app import app

from gunicorn_prometheus_exporter.testing import metric_delta


class MetricsTest(IsolatedAsyncioTestCase):
    """What dashboards and alerts of the weather service rely on."""

    async def get(self, path: str) -> int:
        """Send one request and return the status."""
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get(path)).status_code

    async def test_cities_are_counted_under_one_endpoint(self) -> None:
        endpoint = "/v2/{region}/forecasts/{city}"
        with metric_delta("gunicorn_requests_total", endpoint=endpoint) as delta:
            await self.get("/v2/north/forecasts/oslo")
            await self.get("/v2/south/forecasts/rome")

        assert delta.value == 2

    async def test_an_exception_that_is_handled_is_counted(self) -> None:
        with metric_delta("gunicorn_request_exceptions_total", error_type="StormError") as delta:
            assert await self.get("/masts/101") == 503

        assert delta.value == 1
