"""What a run searches for, resolved once: what a deferred task searches when it resumes is what it resolved before.

Airflow renders the template fields of a deferred task again when the task resumes. A template may then give another
value, for example the current time. So the trigger keeps what was resolved, and its event hands it back. The search
values in it are encrypted, because Airflow stores the arguments of triggers, and events, in clear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypedDict

from airflow_provider_healthimaging.privacy.encryption import seal, unseal
from airflow_provider_healthimaging.search.request import SearchRequest
from airflow_provider_healthimaging.search.validation import PaginationConfig, to_json
from airflow_provider_healthimaging.window import TimeWindow


class KeptSearch(TypedDict):
    """A resolved search in JSON types; ``search_criteria`` and ``match`` are encrypted JSON text."""

    datastore_id: str
    time_field: str | None
    window: dict[str, str] | None
    search_criteria: str
    match: str
    pagination_config: PaginationConfig
    max_workers: int
    rule: str | None


@dataclass(frozen=True, slots=True)
class ResolvedSearch:
    """What a run searches for.

    :param request: the search, with its window.
    :param rule: the rule that gave the window, with its number; ``None`` without a window.
    """

    request: SearchRequest
    rule: str | None

    def keep(self) -> KeptSearch:
        """Return what :meth:`restore` makes the same search from.

        :raises ConfigurationError: if there are search values, and Airflow has no Fernet key.
        """
        request = self.request
        return {
            "datastore_id": request.datastore_id,
            "time_field": request.time_field,
            "window": request.window.to_dict() if request.window else None,
            "search_criteria": seal(to_json(request.search_criteria)),
            "match": seal(to_json(request.match)),
            "pagination_config": request.pagination_config,
            "max_workers": request.max_workers,
            "rule": self.rule,
        }

    @classmethod
    def restore(cls, kept: KeptSearch) -> Self:
        """Return the search that was kept."""
        request = SearchRequest.parse(
            kept["datastore_id"],
            time_field=kept["time_field"],
            window=TimeWindow(**kept["window"]) if kept["window"] else None,
            search_criteria=unseal(kept["search_criteria"]),
            match=unseal(kept["match"]),
            pagination_config=kept["pagination_config"],
            max_workers=kept["max_workers"],
        )
        return cls(request, kept["rule"])
