"""A kitchen: recipes and their comments, and metrics of who reads them."""

from __future__ import annotations

from flask import Flask

from kitchen.metrics import diet, exporter
from kitchen.recipes import recipes


def create_app(**config: object) -> Flask:
    """Return the application; `config` is added to its configuration."""
    app = Flask(__name__)
    app.config.update(
        GUNICORN_PROMETHEUS_EXCLUDE=["/static/*"],
        GUNICORN_PROMETHEUS_LABELS={"diet": diet},
    )
    app.config.update(config)

    exporter.init_app(app)  # this line names every request by its URL rule

    app.register_blueprint(recipes, url_prefix="/recipes")
    app.register_error_handler(OverflowError, too_much)

    @app.get("/healthz")
    @exporter.exclude
    def healthz() -> str:
        """Answer the load balancer, ten times a second, in no metric at all."""
        return "fine"

    return app


def too_much(error: Exception) -> tuple[str, int]:
    """Make a response of an exception, which is counted all the same."""
    return "The pot boils over.", 503
