"""The router of forecasts, which the application includes twice."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, BackgroundTasks
from fastapi.responses import StreamingResponse

from weather.metrics import subscriptions

forecasts = APIRouter()


@forecasts.get("/{city}")
def forecast(city: str) -> dict[str, str]:
    """Forecast the weather of a city: an endpoint that runs in a thread."""
    return {"city": city, "forecast": "rain"}


@forecasts.get("/{city}/hours")
async def hours(city: str) -> StreamingResponse:
    """Forecast hour by hour: a streamed response."""

    def lines() -> Iterator[str]:
        for hour in range(24):
            yield f"{city} {hour:02}:00 rain\n"

    return StreamingResponse(lines(), media_type="text/plain")


@forecasts.post("/{city}/subscriptions", status_code=202)
async def subscribe(city: str, tasks: BackgroundTasks) -> dict[str, str]:
    """Subscribe to forecasts; the work is done after the response."""
    tasks.add_task(subscriptions.inc)
    return {"subscribed": city}
