"""TLS for the exporter's endpoint, from the settings."""

from __future__ import annotations

import ssl

from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.settings import Settings


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context to serve TLS with, None where it is not asked for.

    Raises SettingsError for files that hold no usable certificate or key.
    """
    if not settings.ssl_certfile:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # The empty password makes an encrypted key an error instead of a prompt on the terminal.
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password="")
    except (ssl.SSLError, OSError) as error:
        raise _unusable("CERTFILE", settings.ssl_certfile, "certificate and key", error) from None
    if settings.ssl_client_cafile:
        try:
            context.load_verify_locations(settings.ssl_client_cafile)
        except (ssl.SSLError, OSError) as error:
            cafile = settings.ssl_client_cafile
            raise _unusable("CLIENT_CAFILE", cafile, "certificates", error) from None
        required = settings.ssl_client_auth_required
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def _unusable(name: str, path: str, what: str, error: Exception) -> SettingsError:
    return SettingsError(f"PROMETHEUS_SSL_{name}={path!r}: no usable {what} ({error}).")
