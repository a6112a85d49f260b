"""Settings: the names and defaults that users know, and errors that say what to do."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from gunicorn_prometheus_exporter.errors import PrometheusExporterError, SettingsError
from gunicorn_prometheus_exporter.settings import DEFAULT_DURATION_BUCKETS, Settings

USERS_TABLE = {
    "PROMETHEUS_METRICS_PORT": 9091,
    "PROMETHEUS_BIND_ADDRESS": "0.0.0.0",
    "GUNICORN_WORKERS": 1,
    "PROMETHEUS_MULTIPROC_DIR": "",
    "REDIS_ENABLED": False,
    "REDIS_HOST": "127.0.0.1",
    "REDIS_PORT": 6379,
    "REDIS_DB": 0,
    "REDIS_PASSWORD": "",
    "REDIS_KEY_PREFIX": "gunicorn",
}
"""What users were promised, as the requirements give it."""


def variables() -> dict[str, str]:
    """Return the field of each environment variable."""
    return {field.metadata["variable"]: field.name for field in fields(Settings)}


def test_an_empty_environment_gives_the_promised_defaults() -> None:
    settings = Settings.from_environ({})

    names = variables()
    assert {name: getattr(settings, names[name]) for name in USERS_TABLE} == USERS_TABLE
    assert settings.duration_buckets == DEFAULT_DURATION_BUCKETS


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    """Container files often pass every variable, empty or not."""
    assert Settings.from_environ(dict.fromkeys(variables(), "")) == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("PROMETHEUS_METRICS_PORT", "0", 0),
        ("PROMETHEUS_METRICS_PORT", "65535", 65535),
        ("PROMETHEUS_BIND_ADDRESS", "::1", "::1"),
        ("PROMETHEUS_MULTIPROC_DIR", "/dev/shm/shop", "/dev/shm/shop"),
        ("GUNICORN_WORKERS", "8", 8),
        ("REDIS_ENABLED", "True", True),
        ("REDIS_ENABLED", "on", True),
        ("REDIS_ENABLED", " no ", False),
        ("REDIS_URL", "rediss://cache:6380/1", "rediss://cache:6380/1"),
        ("GUNICORN_PROMETHEUS_REDIS_INTERVAL", "0.5", 0.5),
        ("GUNICORN_PROMETHEUS_DURATION_BUCKETS", "0.1, 1,10", (0.1, 1.0, 10.0)),
    ],
)
def test_a_variable_sets_its_field(variable: str, text: str, value: object) -> None:
    settings = Settings.from_environ({variable: text})

    assert getattr(settings, variables()[variable]) == value


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("PROMETHEUS_METRICS_PORT", "70000", "0 to 65535"),
        ("PROMETHEUS_METRICS_PORT", "-1", "0 to 65535"),
        ("PROMETHEUS_METRICS_PORT", "http", "0 to 65535"),
        ("REDIS_PORT", "0", "1 to 65535"),
        ("GUNICORN_WORKERS", "0", "1 to 10000"),
        ("REDIS_ENABLED", "perhaps", "true, false"),
        ("GUNICORN_PROMETHEUS_REDIS_INTERVAL", "nan", "at least 0.05"),
        ("GUNICORN_PROMETHEUS_REDIS_INTERVAL", "soon", "at least 0.05"),
        ("GUNICORN_PROMETHEUS_DURATION_BUCKETS", "1,1", "increasing"),
        ("GUNICORN_PROMETHEUS_DURATION_BUCKETS", "1,inf", "increasing"),
        ("GUNICORN_PROMETHEUS_MAX_SERIES", "1e3", "a whole number"),
    ],
)
def test_an_invalid_value_is_named_with_what_is_allowed(
    variable: str, text: str, allowed: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({variable: text})

    message = str(caught.value)
    assert variable in message
    assert repr(text) in message
    assert allowed in message
    assert "\n" not in message
    assert isinstance(caught.value, PrometheusExporterError)


def test_a_secret_is_neither_shown_nor_quoted() -> None:
    environ = {
        "REDIS_PASSWORD": "hunter2",
        "REDIS_URL": "redis://user:hunter2@cache:6380/1?a=hunter2",
    }

    settings = Settings.from_environ(environ)

    assert settings.redis_password == "hunter2"
    assert "hunter2" not in repr(settings) + str(settings) + settings.redis_display_url
    assert settings.redis_display_url == "redis://cache:6380/1"
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"REDIS_URL": "cache:hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, False), ({"REDIS_ENABLED": "1"}, True), ({"REDIS_URL": "redis://cache"}, True)],
)
def test_redis_is_on_by_its_switch_or_by_a_url(environ: dict[str, str], expected: bool) -> None:
    assert Settings.from_environ(environ).redis is expected


def test_tls_needs_both_files_and_files_that_can_be_read(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.touch()
    key.touch()
    both = {"PROMETHEUS_SSL_CERTFILE": str(certificate), "PROMETHEUS_SSL_KEYFILE": str(key)}

    assert Settings.from_environ(both).ssl_keyfile == str(key)
    for missing in both:
        with pytest.raises(SettingsError, match=missing):
            Settings.from_environ({name: path for name, path in both.items() if name != missing})
    key.unlink()
    with pytest.raises(SettingsError, match=re.escape(str(key))):
        Settings.from_environ(both)


def test_asking_for_client_certificates_needs_their_authority() -> None:
    with pytest.raises(SettingsError, match="PROMETHEUS_SSL_CLIENT_CAFILE"):
        Settings.from_environ({"PROMETHEUS_SSL_CLIENT_AUTH_REQUIRED": "true"})


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().metrics_port = 1  # type: ignore[misc]
