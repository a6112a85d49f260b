"""The application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, Response
from starlette.applications import Starlette
from starlette.routing import Route

from gunicorn_prometheus_asgi import PrometheusMiddleware, exclude
from weather.forecasts import forecasts
from weather.metrics import unit


class StormError(Exception):
    """The mast has fallen."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    """Calibrate the instruments: once in each worker, under every kind of worker."""
    yield {"calibration": "done"}


async def dashboard(request: Request) -> Response:
    """Show one dashboard of the mounted application."""
    return PlainTextResponse(f"dashboard {request.path_params['name']}")


app = FastAPI(lifespan=lifespan)
app.add_middleware(PrometheusMiddleware, exclude=["/docs", "/openapi.json"], labels={"unit": unit})
app.include_router(forecasts, prefix="/forecasts")
app.include_router(forecasts, prefix="/v2/{region}/forecasts")
app.mount("/internal/{team}", Starlette(routes=[Route("/dashboards/{name}", dashboard)]))


@app.exception_handler(StormError)
async def storm(request: Request, error: StormError) -> Response:
    """Make a response of an exception, which is counted all the same."""
    return PlainTextResponse("The mast has fallen.", 503)


@app.get("/healthz")
@exclude
async def healthz(request: Request) -> str:
    """Answer the load balancer, in no metric at all."""
    return str(request.state.calibration)


@app.get("/masts/{number}")
async def mast(number: int) -> dict[str, int]:
    """Show the wind at one mast, unless it has fallen."""
    if number > 100:
        raise StormError
    return {"mast": number, "wind": number % 12}


@app.websocket("/wind/{number}")
async def wind(websocket: WebSocket, number: int) -> None:
    """Report the wind; a connection is no HTTP request and is not counted as one."""
    await websocket.accept()
    await websocket.send_text(f"mast {number}: {number % 12}")
    await websocket.close()
