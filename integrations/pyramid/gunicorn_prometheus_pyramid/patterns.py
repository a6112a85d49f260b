"""Route patterns as templates: what matches a placeholder is no part of it."""

from __future__ import annotations

import re
from functools import lru_cache

# As pyramid.urldispatch reads them: braces may nest one deep, and the colon form of old is only
# looked for in patterns without braces.
_PLACEHOLDER = re.compile(r"\{([_a-zA-Z][^{}:]*)(?::?[^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_OLD_PLACEHOLDER = re.compile(r":([_a-zA-Z]\w*)")


@lru_cache(maxsize=1024)
def readable(pattern: str) -> str:
    r"""Return `/r/{year}` for `/r/{year:\d{4}}`, and `/u/{id}` for `/u/:id`."""
    template, replaced = _PLACEHOLDER.subn(r"{\1}", pattern)
    return template if replaced else _OLD_PLACEHOLDER.sub(r"{\1}", pattern)
