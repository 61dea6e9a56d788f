"""One search, parsed once from its arguments. Hook, delivery, sensor and triggers take this object."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.criteria import (
    SearchCriteria,
    SortedSearchCriteria,
    build_request_criteria,
    filtered_attributes,
    parse_criteria,
)
from airflow_provider_healthimaging.search.match import Match, matches, parse_match
from airflow_provider_healthimaging.search.validation import (
    PaginationConfig,
    TimeField,
    check_datastore_id,
    check_time_field,
    check_whole_number,
    parse_pagination_config,
)
from airflow_provider_healthimaging.window import TimeWindow

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_healthimaging.search.image_set import SearchHit


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to search for. Make it with :meth:`parse`; its ``repr`` shows no search value.

    :param datastore_id: the id of the data store.
    :param time_field: the timestamp that the window is about, or ``None`` for no window.
    :param window: the window, or ``None`` to search by the criteria alone.
    :param search_criteria: AWS's ``searchCriteria``, without the window.
    :param match: conditions that the service cannot filter on.
    :param pagination_config: boto3's ``PaginationConfig``. With it the search is sequential.
    :param max_workers: how many threads may read a large window.
    """

    datastore_id: str
    time_field: TimeField | None
    window: TimeWindow | None
    search_criteria: SearchCriteria = field(repr=False)
    match: Match = field(repr=False)
    pagination_config: PaginationConfig
    max_workers: int

    @classmethod
    def parse(
        cls,
        datastore_id: object,
        *,
        time_field: object = "createdAt",
        window: object = None,
        search_criteria: object = None,
        match: object = None,
        pagination_config: object = None,
        max_workers: object = 1,
    ) -> Self:
        """Return the request that the arguments describe.

        :raises InvalidArgumentError: for everything that the service would reject, and for a window without a
            ``time_field``.
        """
        if not isinstance(window, TimeWindow | None):
            raise InvalidArgumentError(f"window must be a TimeWindow, not {type(window).__name__}.")
        return cls(
            datastore_id=check_datastore_id(datastore_id),
            time_field=check_time_field(time_field),
            window=window,
            search_criteria=parse_criteria(search_criteria),
            match=parse_match(match),
            pagination_config=parse_pagination_config(pagination_config),
            max_workers=check_whole_number("max_workers", max_workers),
        )

    def __post_init__(self) -> None:
        """Check that window and criteria go together."""
        if self.window is not None and self.time_field is None:
            raise InvalidArgumentError("A window needs a time_field: 'createdAt' or 'updatedAt'.")
        self.service_criteria()

    def with_window(self, window: TimeWindow | None) -> Self:
        """Return the same search in another window."""
        return dataclasses.replace(self, window=window)

    def service_criteria(self, window: TimeWindow | None = None) -> SortedSearchCriteria:
        """Return the criteria to send.

        :param window: a part of the request's window; default the whole window.
        """
        return build_request_criteria(self.search_criteria, window or self.window, self.time_field)

    @property
    def sort_field(self) -> str:
        """The field by which the search hits are sorted."""
        return self.service_criteria()["sort"]["sortField"]

    @property
    def ascending(self) -> bool:
        """Whether the search hits come in ascending order."""
        return self.service_criteria()["sort"]["sortOrder"] == "ASC"

    @property
    def matches(self) -> Callable[[SearchHit], bool]:
        """The function that says whether a search hit meets ``match``."""
        return partial(matches, match=self.match)

    @property
    def filtered_attributes(self) -> list[str]:
        """The attributes that the service filters on, without the window and without values."""
        return filtered_attributes(self.search_criteria)

    @property
    def matched_fields(self) -> list[str]:
        """The fields that ``match`` names, without values."""
        return list(self.match)
