"""The words of the two exposition formats: names, labels, numbers, headers.

Byte for byte what prometheus_client 0.26 writes where that is valid. Where it would write something
that cannot be parsed, or raise (a lone surrogate, a name that ends in a newline), this stays valid.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

_NOT_IN_METRIC_NAMES = re.compile(r"[^a-zA-Z0-9_:]|\A[0-9]")
_NOT_IN_LABEL_NAMES = re.compile(r"[^a-zA-Z0-9_]|\A[0-9]")
_RESERVED = re.compile(r"\A(_*__|\Z)")
_NOT_FINITE = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}
_EXPONENTS = [f"e+{dot - 1:02d}" for dot in range(18)]
_PLAIN = str.maketrans({"\\": r"\\", "\n": r"\n"})
_QUOTED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def go_float(value: float) -> str:
    """Return `value` as Go writes it, which goes over to exponents at a million."""
    text = repr(value)
    if -math.inf < value < 1e6:
        return text
    if 1e6 <= value < 1e16:
        dot = text.index(".")
        digits = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}"
        return digits.rstrip("0.") + _EXPONENTS[dot]
    return _NOT_FINITE.get(text, text)


def sample_prefix(sample: str, labels: Iterable[tuple[str, str]]) -> str:
    """Return the part of a sample's line that comes before its value."""
    pairs = ",".join(f'{name}="{value}"' for name, value in _escaped(labels))
    name = metric_name(sample)
    return f"{name}{{{pairs}}} " if pairs else f"{name} "


def header(name: str, type_: str, help_text: str, *, openmetrics: bool) -> str:
    """Return the HELP and TYPE lines of a metric."""
    exposed = metric_name(name if openmetrics or type_ != "counter" else f"{name}_total")
    text = _encodable(help_text).translate(_QUOTED if openmetrics else _PLAIN)
    return f"# HELP {exposed} {text}\n# TYPE {exposed} {type_}\n"


def metric_name(name: str) -> str:
    """Return `name` with an underscore for whatever cannot be in the name of a metric."""
    return _NOT_IN_METRIC_NAMES.sub("_", name)


def _escaped(labels: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    taken = set()
    for name, value in sorted(labels):
        exposed = _RESERVED.sub("_", _NOT_IN_LABEL_NAMES.sub("_", name))
        while exposed in taken:  # two names that differ in what was replaced
            exposed += "1"
        taken.add(exposed)
        yield exposed, _encodable(value).translate(_QUOTED)


def _encodable(text: str) -> str:
    """Return `text` with lone surrogates, which UTF-8 has no bytes for, spelled out."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text
