"""The calls to SearchImageSets, and the pages that come back."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_healthimaging.aws.errors import CALL_ERRORS, to_provider_error, translate_errors
from airflow_provider_healthimaging.exceptions import HealthImagingError, RejectedRequestError
from airflow_provider_healthimaging.search.pages import Page, ScanStats
from airflow_provider_healthimaging.search.segment import tokens_rejected_error
from airflow_provider_healthimaging.search.validation import MAX_PAGE_SIZE

if TYPE_CHECKING:
    from botocore.paginate import PageIterator
    from types_boto3_medical_imaging import HealthImagingClient

    from airflow_provider_healthimaging.search.criteria import SearchCriteria, SortedSearchCriteria
    from airflow_provider_healthimaging.search.request import SearchRequest
    from airflow_provider_healthimaging.search.segment import Fetch
    from airflow_provider_healthimaging.search.validation import PaginationConfig
    from airflow_provider_healthimaging.window import TimeWindow


def paginate(
    client: HealthImagingClient,
    datastore_id: str,
    criteria: SearchCriteria | SortedSearchCriteria,
    config: PaginationConfig,
) -> PageIterator[Any]:  # a page is a dictionary
    """Return botocore's page iterator."""
    paginator: Any = client.get_paginator("search_image_sets")  # the stubs have their own types of the arguments
    pages = paginator.paginate(datastoreId=datastore_id, searchCriteria=criteria, PaginationConfig=config)
    return cast("PageIterator[Any]", pages)


def read_pages(client: HealthImagingClient, request: SearchRequest, stats: ScanStats, location: str) -> Generator[Page]:
    """Yield the pages of a search through botocore's paginator, and note in ``stats`` the token to resume from.

    :param location: data store, region and connection, for error messages.
    """
    config: PaginationConfig = {"PageSize": MAX_PAGE_SIZE, **request.pagination_config}
    pages = paginate(client, request.datastore_id, request.service_criteria(), config)
    problem: HealthImagingError | None = None
    try:
        for response in pages:
            yield _to_page(response)
        # The stubs say dict, but botocore gives the token as text.
        stats.next_token = cast("str | None", pages.resume_token)
    except CALL_ERRORS as error:
        problem = to_provider_error(error, location)
    if isinstance(problem, RejectedRequestError) and stats.pages:
        problem = tokens_rejected_error(problem.code)
    if problem:
        raise problem


def page_fetcher(client: HealthImagingClient, request: SearchRequest, location: str) -> Fetch:
    """Return a function that fetches one page of a part of the request's window."""

    def fetch(window: TimeWindow, token: str | None) -> Page:
        call: Any = partial(  # the stubs have their own types of the arguments
            client.search_image_sets,
            datastoreId=request.datastore_id,
            searchCriteria=cast("Any", request.service_criteria(window)),
            maxResults=MAX_PAGE_SIZE,
            **({"nextToken": token} if token else {}),
        )
        return _to_page(translate_errors(call, location))

    return fetch


def _to_page(response: Mapping[str, Any]) -> Page:
    hits, next_token = response.get("imageSetsMetadataSummaries") or [], response.get("nextToken") or None
    return Page(
        hits,
        is_empty=not hits and next_token is not None,
        calls=1 + response["ResponseMetadata"].get("RetryAttempts", 0),
        next_token=next_token,
    )
