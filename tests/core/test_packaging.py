"""The distribution: what is in it, and that importing it changes nothing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import pytest

from gunicorn_prometheus_exporter.errors import MissingDependencyError

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "gunicorn_prometheus_asgi",
    "gunicorn_prometheus_django",
    "gunicorn_prometheus_exporter",
    "gunicorn_prometheus_flask",
    "gunicorn_prometheus_pyramid",
)

CHECK = """
import json, logging, os, signal, sys, threading

def state():
    root = logging.getLogger()
    return {
        "environ": dict(os.environ),
        "handlers": [repr(handler) for handler in root.handlers],
        "level": root.level,
        "signals": [repr(signal.getsignal(number)) for number in (1, 2, 10, 15, 17)],
        "threads": threading.active_count(),
        "files": sorted(os.listdir(".")),
    }

before = state()
__import__(sys.argv[1])
after = state()
changed = [name for name in before if before[name] != after[name]]
print(json.dumps({"changed": changed, "modules": list(sys.modules)}))
"""


def pyproject() -> dict[str, object]:
    """Return the project's own description; skip where the tests run without the checkout."""
    path = ROOT / "pyproject.toml"
    if not (ROOT / "core").is_dir():
        pytest.skip("the checkout is not here: the suite runs on the installed wheel")
    parsed: dict[str, object] = tomllib.loads(path.read_text())
    return parsed


def import_alone(name: str, folder: Path) -> dict[str, list[str]]:
    """Import `name` in a fresh interpreter; return what changed and which modules are loaded."""
    command = [sys.executable, "-c", CHECK, name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer


def test_the_wheel_lists_exactly_the_packages_that_exist() -> None:
    """hatchling leaves a mistyped package out without a word."""
    wheel = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]  # type: ignore[index]

    on_disk = {path.parent for path in ROOT.glob("core/*/__init__.py")} | {
        path.parent for path in ROOT.glob("integrations/*/*/__init__.py")
    }

    assert {ROOT / package for package in wheel["packages"]} == on_disk
    assert {path.name for path in on_disk} == set(PACKAGES)


def test_no_folder_around_the_adapters_is_a_package() -> None:
    """An `integrations/django/__init__.py` would make a package that hides Django."""
    pyproject()

    assert list(ROOT.glob("integrations/*/__init__.py")) == []
    assert not (ROOT / "integrations" / "__init__.py").exists()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_carries_its_types(name: str) -> None:
    spec = importlib.util.find_spec(name)

    assert spec is not None
    assert spec.origin is not None
    assert (Path(spec.origin).parent / "py.typed").exists()


@pytest.mark.parametrize("name", PACKAGES)
def test_importing_a_package_changes_nothing(name: str, tmp_path: Path) -> None:
    assert import_alone(name, tmp_path)["changed"] == []


def test_the_core_loads_neither_gunicorn_nor_anything_optional(tmp_path: Path) -> None:
    """It is imported by applications, by management commands and by the exporter process."""
    loaded = import_alone("gunicorn_prometheus_exporter", tmp_path)["modules"]

    heavy = {"gunicorn", "prometheus_client", "gevent", "eventlet", "redis", "uvicorn", "asyncio"}
    assert heavy.isdisjoint(loaded)


def test_an_adapter_loads_its_own_framework_at_most(tmp_path: Path) -> None:
    frameworks = {"django", "flask", "pyramid", "starlette", "fastapi", "gunicorn", "gevent"}
    own = {
        "gunicorn_prometheus_django": {"django"},
        "gunicorn_prometheus_flask": {"flask"},
        "gunicorn_prometheus_pyramid": {"pyramid"},
        "gunicorn_prometheus_asgi": {"starlette", "fastapi"},
    }
    for name, allowed in own.items():
        loaded = set(import_alone(name, tmp_path)["modules"])
        assert loaded & frameworks <= allowed, name


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there_or_says_what_is_missing(name: str) -> None:
    module = importlib.import_module(name)
    public: list[str] = module.__all__

    assert len(public) == len(set(public))
    for attribute in public:
        complaint = missing_dependency(module, attribute)
        assert complaint is None or "install" in complaint or ">=" in complaint


def missing_dependency(module: ModuleType, attribute: str) -> str | None:
    """Take `attribute` from `module`; return what the error says where it needs more."""
    try:
        getattr(module, attribute)
    except MissingDependencyError as error:
        return str(error)
    return None


def test_an_unknown_name_is_an_attribute_error() -> None:
    module = importlib.import_module("gunicorn_prometheus_exporter")

    with pytest.raises(AttributeError, match="PrometheusSteamWorker"):
        _ = module.PrometheusSteamWorker


def test_the_command_and_the_extras_are_declared() -> None:
    metadata = distribution("gunicorn-prometheus-exporter")

    commands = {entry.name for entry in metadata.entry_points if entry.group == "console_scripts"}
    assert commands == {"gunicorn-prometheus-exporter"}
    assert set(metadata.metadata.get_all("Provides-Extra") or []) == {
        *("gevent", "eventlet", "uvicorn", "asgi", "async", "redis"),
        *("django", "flask", "pyramid", "fastapi", "all", "test", "dev"),
    }
