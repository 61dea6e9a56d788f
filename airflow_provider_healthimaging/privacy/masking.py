"""Values that may be patient data: rendered by Airflow like any template, shown by nobody.

Airflow stores and serves every rendered template field. This holder shows the structure and ``***`` for the
values instead. It knows Airflow only by the attribute ``template_fields``, by which Airflow renders inside objects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_healthimaging.search.criteria import SORT_FIELDS, SORT_ORDERS, VALUES_PER_OPERATOR
from airflow_provider_healthimaging.search.match import MATCH_FIELDS

MASK = "***"

SHOWN: Mapping[str, tuple[str, ...]] = {
    "operator": tuple(VALUES_PER_OPERATOR),
    "sortField": SORT_FIELDS,
    "sortOrder": SORT_ORDERS,
}
"""The keys of ``searchCriteria`` whose values are words of the API, and those words: no search values."""

NAMES = frozenset({"filters", "values", "sort", *SHOWN, *SORT_FIELDS, *MATCH_FIELDS})
"""The keys that there are; what else stands in the place of one may be a value that slipped there."""


def masked(value: Any, key: object = "") -> Any:
    """Return the structure of ``value`` with ``***`` for each value in it, and for names that do not exist."""
    if isinstance(value, Mapping):
        return {name if name in NAMES else MASK: masked(content, name) for name, content in value.items()}
    if isinstance(value, list | tuple):
        return [masked(content, key) for content in value]
    return value if value is None or value in SHOWN.get(str(key), ()) else MASK


class Sensitive:
    """Holds a template field's value; shows its structure only."""

    template_fields: ClassVar[tuple[str, ...]] = ("value",)

    def __init__(self, value: Any) -> None:
        """Hold ``value``: a structure of AWS's, its JSON text, a template of it, or ``None``."""
        self.value: Any = value.value if isinstance(value, Sensitive) else value

    def serialize(self) -> Any:
        """Return what Airflow may keep and show; Airflow 3.0 and 3.1 ask for its length, which ``None`` has not."""
        return {} if self.value is None else masked(self.value)

    def __str__(self) -> str:
        shown = self.serialize()
        return shown if isinstance(shown, str) else json.dumps(shown)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __bool__(self) -> bool:
        return bool(self.value)
