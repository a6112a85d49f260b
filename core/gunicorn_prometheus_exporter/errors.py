"""The errors this package raises: all at start-up, none on a request."""

from __future__ import annotations


class PrometheusExporterError(Exception):
    """The base of every error raised by this package."""


class SettingsError(PrometheusExporterError):
    """A setting cannot be used; the message names it, its value and what is allowed."""


class MissingDependencyError(PrometheusExporterError):
    """An optional package is needed and absent; the message says which extra installs it."""


class StorageError(PrometheusExporterError):
    """The place where metrics are kept cannot be used."""
