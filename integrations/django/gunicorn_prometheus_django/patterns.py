"""The readable form of a URL regex: `^articles/(?P<year>[0-9]{4})/$` is `articles/<year>/`.

It is the form of `django.contrib.admindocs`: named groups become `<name>`, unnamed ones `<var>`,
non-capturing ones vanish, and so do anchors and quantifiers. Where admindocs would let a piece of
regex through (`\\.`, `\\d{4}` outside a group, the second of two unnamed groups), this does not.
"""

from __future__ import annotations

import re
from functools import lru_cache

VARIABLE = "<var>"

_BARE = "\0"
_QUANTIFIER = re.compile(r"[*+?]|\{\d*,?\d*\}")
_NAMED_GROUP = re.compile(r"\(\?P(?:<(\w+)>|=(\w+)\))")
_CLASS_ESCAPES = frozenset("dDwWsS0123456789")
_EMPTY_ESCAPES = frozenset("AbBZz")


@lru_cache(maxsize=1024)
def readable(regex: str) -> str:
    """Return the template that `regex` stands for, without anything that is regex syntax."""
    parts: list[str] = []
    at = 0
    while at < len(regex):
        part, at = _next_part(regex, at)
        parts.append(part)
    return re.sub(f"{_BARE}+", VARIABLE, "".join(parts))


def _next_part(regex: str, at: int) -> tuple[str, int]:
    """Return the readable form of the element at `at`, and where the next one starts."""
    char = regex[at]
    if char == "(":
        part, end = _readable_group(regex, at), _group_end(regex, at)
    elif char == "[":
        part, end = _BARE, _class_end(regex, at)
    elif char == "\\":
        part, end = _readable_escape(regex[at + 1 : at + 2]), at + 2
    elif char == ".":
        # Alone it is nearly always a forgotten backslash (`robots.txt`); repeated it is not.
        part, end = (_BARE if _QUANTIFIER.match(regex, at + 1) else "."), at + 1
    else:
        part, end = ("" if char in "^$" else char), at + 1
    return part, _quantifiers_end(regex, end)


def _quantifiers_end(regex: str, at: int) -> int:
    while found := _QUANTIFIER.match(regex, at):
        at = found.end()
    return at


def _readable_group(regex: str, at: int) -> str:
    if named := _NAMED_GROUP.match(regex, at):
        return f"<{named[1] or named[2]}>"
    return "" if regex.startswith("(?", at) else VARIABLE


def _readable_escape(char: str) -> str:
    if char in _CLASS_ESCAPES:
        return _BARE
    return "" if char in _EMPTY_ESCAPES else char


def _group_end(regex: str, at: int) -> int:
    """Return where the group that opens at `at` ends, past its closing parenthesis."""
    depth = 0
    while at < len(regex):
        char = regex[at]
        if char == "[":
            at = _class_end(regex, at)
            continue
        depth += (char == "(") - (char == ")")
        at += 2 if char == "\\" else 1
        if depth == 0:
            break
    return at


def _class_end(regex: str, at: int) -> int:
    """Return where the character class that opens at `at` ends, past its closing bracket."""
    at += 2 if regex.startswith("[^", at) else 1
    at += regex.startswith("]", at)  # a bracket in the first place is a literal
    while at < len(regex) and regex[at] != "]":
        at += 2 if regex[at] == "\\" else 1
    return at + 1
