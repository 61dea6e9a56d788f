"""Which arguments are still to be rendered by Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_template(value: Any) -> bool:
    """Whether ``value`` holds a Jinja expression, or another task's output, anywhere in it."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(map(is_template, value.values()))
    if isinstance(value, list | tuple):
        return any(map(is_template, value))
    return hasattr(value, "iter_references")
