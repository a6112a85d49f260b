"""What is measured beyond requests: databases, caches, models, migrations."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from django.core.cache import cache, caches
from django.core.management import call_command
from django.db import OperationalError, ProgrammingError, connection, connections, transaction
from django.test import override_settings

from gunicorn_prometheus_django import schema
from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.testing import metric_delta, sample_value, samples
from tests.integrations import django_site

django_site.start()

from tests.integrations.django_site.models import Note, Order  # noqa: E402 - needs Django started

DATABASE = {"alias": "default", "vendor": "sqlite"}


@pytest.fixture(scope="module", autouse=True)
def tables() -> Iterator[None]:
    """The tables of the project, in a file."""
    call_command("migrate", verbosity=0)
    yield
    connections.close_all()


@pytest.fixture
def everything() -> Iterator[None]:
    """Everything is switched on."""
    on = {"DATABASE": True, "CACHE": True, "MODELS": ["django_site.Order"], "MIGRATIONS": True}
    with override_settings(GUNICORN_PROMETHEUS=on):
        yield


@pytest.mark.usefixtures("everything")
class TestDatabase:
    """Queries, errors and connections, by alias and vendor."""

    def test_queries_are_counted_and_timed(self) -> None:
        """One query, one count, one duration."""
        with (
            metric_delta("django_db_execute_total", **DATABASE) as count,
            metric_delta("django_db_query_duration_seconds_count", **DATABASE) as durations,
        ):
            Order.objects.count()

        assert (count.value, durations.value) == (1, 1)

    def test_many_at_once_are_counted_apart(self) -> None:
        """executemany is one call."""
        Note.objects.all().delete()
        with (
            metric_delta("django_db_execute_many_total", **DATABASE) as count,
            connection.cursor() as cursor,
        ):
            cursor.executemany("INSERT INTO django_site_note (text) VALUES (%s)", [("a",), ("b",)])

        assert count.value == 1

    def test_errors_are_counted_by_type(self) -> None:
        """The error goes on to the caller."""
        with (
            metric_delta("django_db_errors_total", **DATABASE, type="OperationalError") as errors,
            pytest.raises((OperationalError, ProgrammingError)),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT * FROM no_such_table")

        assert errors.value == 1

    def test_connections_are_counted_and_queries_once_on_each(self) -> None:
        """A connection that comes back is not wrapped again."""
        with metric_delta("django_db_new_connections_total", **DATABASE) as made:
            for _ in range(3):
                connection.close()
                connection.ensure_connection()
        with metric_delta("django_db_execute_total", **DATABASE) as count:
            Order.objects.count()

        assert made.value == 3
        assert count.value == 1


def test_what_is_switched_off_costs_nothing() -> None:
    """No wrapper, no signal, no patched cache stays behind."""
    with override_settings(GUNICORN_PROMETHEUS={"DATABASE": True, "CACHE": True, "MODELS": True}):
        Order.objects.count()

    assert connection.execute_wrappers == []
    assert "create_connection" not in vars(caches)
    with metric_delta("django_model_inserts_total") as inserts:
        Note.objects.create(text="quiet")
    assert inserts.value == 0


@pytest.mark.usefixtures("everything")
class TestCache:
    """Gets, hits and misses, by alias."""

    @pytest.fixture(autouse=True)
    def _empty(self) -> None:
        cache.clear()
        caches["files"].clear()

    @pytest.mark.parametrize("alias", ["default", "files"])
    def test_hits_and_misses_are_told_apart(self, alias: str) -> None:
        """None is a value, and a default is a miss."""
        caches[alias].set("none", None)
        with (
            metric_delta("django_cache_get_total", alias=alias) as gets,
            metric_delta("django_cache_get_hits_total", alias=alias) as hits,
            metric_delta("django_cache_get_misses_total", alias=alias) as misses,
        ):
            assert caches[alias].get("none", 3) is None
            assert caches[alias].get("absent") is None
            assert caches[alias].get("absent", default=3) == 3

        assert (gets.value, hits.value, misses.value) == (3, 1, 2)

    def test_many_keys_count_each(self) -> None:
        """A generator of keys will do."""
        cache.set("a", 1)
        with (
            metric_delta("django_cache_get_hits_total", alias="default") as hits,
            metric_delta("django_cache_get_misses_total", alias="default") as misses,
        ):
            assert cache.get_many(key for key in "abc") == {"a": 1}

        assert (hits.value, misses.value) == (1, 2)

    def test_a_cache_that_fails_is_counted(self) -> None:
        """The error goes on to the caller."""
        with (
            metric_delta("django_cache_get_fail_total", alias="away") as failures,
            pytest.raises(ConnectionError),
        ):
            caches["away"].get("key")

        assert failures.value == 1


@pytest.mark.usefixtures("everything")
class TestModels:
    """Inserts, updates and deletes, by model."""

    def test_objects_are_counted(self) -> None:
        """Each by what happened to it."""
        model = {"model": "django_site.Order"}
        with (
            metric_delta("django_model_inserts_total", **model) as inserts,
            metric_delta("django_model_updates_total", **model) as updates,
            metric_delta("django_model_deletes_total", **model) as deletes,
        ):
            order = Order.objects.create(number=1)
            order.save()
            order.save()
            Order.objects.create(number=2)
            Order.objects.all().delete()

        assert (inserts.value, updates.value, deletes.value) == (2, 2, 2)

    def test_other_models_are_not_counted(self) -> None:
        """They keep Django's fast path for bulk deletes."""
        Note.objects.create(text="quiet")
        Note.objects.all().delete()

        assert samples("django_model_inserts_total", model="django_site.Note") == []

    def test_an_unknown_model_stops_the_start(self) -> None:
        """The setting and the model are named."""
        wrong = override_settings(GUNICORN_PROMETHEUS={"MODELS": ["django_site.Odrer"]})
        with pytest.raises(SettingsError, match=r"MODELS: 'django_site\.Odrer'"):
            wrong.enable()


@pytest.mark.usefixtures("everything")
class TestMigrations:
    """How far the schema is."""

    def test_unapplied_migrations_are_counted(self) -> None:
        """One that is rolled back is unapplied again."""
        call_command("migrate", "django_site", "zero", verbosity=0)
        assert schema.measure() == 1
        assert sample_value("django_migrations_unapplied_total", connection="default") == 1

        call_command("migrate", verbosity=0)
        assert schema.measure() == 0
        assert sample_value("django_migrations_unapplied_total", connection="default") == 0
        assert sample_value("django_migrations_applied_total", connection="default") > 10

    def test_the_first_request_has_them_looked_at(self) -> None:
        """Beside the request, once."""
        call = django_site.calls("wsgi")
        schema.migration_metrics().applied.labels("default").set(-1)

        call("/plain")

        deadline = time.monotonic() + 10
        while sample_value("django_migrations_applied_total", connection="default") < 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_the_names_of_another_package_stop_the_start_with_a_reason() -> None:
    """Two packages cannot both make django_db_execute_total."""
    program = """
from django.conf import settings
from prometheus_client import Counter

Counter("django_db_execute_total", "Of another package.")
settings.configure(
    INSTALLED_APPS=["gunicorn_prometheus_django"], GUNICORN_PROMETHEUS={"DATABASE": True}
)
import django
django.setup()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 1
    assert "SettingsError: GUNICORN_PROMETHEUS: Duplicated" in done.stderr
    assert "Remove the other package" in done.stderr
