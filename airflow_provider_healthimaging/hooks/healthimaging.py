"""The hook. Every call that this package makes to AWS HealthImaging goes through it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.aws.search_image_sets import page_fetcher, paginate, read_pages
from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.hooks.image_set_content import ImageSetContentCalls
from airflow_provider_healthimaging.hooks.import_jobs import ImportJobCalls
from airflow_provider_healthimaging.imports.report import ImportReport
from airflow_provider_healthimaging.search.criteria import parse_criteria
from airflow_provider_healthimaging.search.pages import (
    ScanStats,
    closing_pages,
    deduplicate_hits,
    has_stable_order,
    require_monotonic,
    with_progress,
)
from airflow_provider_healthimaging.search.parallel import read_window
from airflow_provider_healthimaging.search.request import SearchRequest
from airflow_provider_healthimaging.search.validation import (
    check_datastore_id,
    check_whole_number,
    parse_pagination_config,
)

if TYPE_CHECKING:
    from botocore.paginate import PageIterator

    from airflow_provider_healthimaging.search.image_set import SearchHit
    from airflow_provider_healthimaging.window import TimeWindow

__all__ = ["HealthImagingHook", "ImportReport", "ScanStats"]


class HealthImagingHook(ImportJobCalls, ImageSetContentCalls):
    """Interact with AWS HealthImaging.

    The client retries in botocore's standard mode, with up to ten attempts. ``config_kwargs`` of the connection and
    ``config`` are merged with that. A custom endpoint is used as it is given, without the ``runtime-`` host prefix,
    unless ``inject_host_prefix`` is set. Timestamps of search hits are in UTC. ``conn`` is boto3's client itself. Its
    errors are botocore's own.

    :param aws_conn_id: the Airflow connection for AWS; ``None`` uses botocore's own way to find credentials.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param region_name: AWS region; default that of the connection.
    :param config: botocore's configuration, or its arguments as a dictionary.
    :param client_defaults: settings of the client that neither connection nor ``config`` gives.
    :raises InvalidArgumentError: for an argument of a wrong type, or one that botocore rejects.
    """

    def paginate_image_sets(
        self,
        datastore_id: str,
        search_criteria: Mapping[str, object] | str | None = None,
        pagination_config: Mapping[str, object] | str | None = None,
    ) -> PageIterator[Any]:
        """Return botocore's page iterator over SearchImageSets.

        It is boto3's own: iterate over its pages, call ``build_full_result()``, or read ``resume_token`` to continue
        later. Errors of the calls are botocore's own as well.
        `SearchImageSets <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_SearchImageSets.html>`__

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param search_criteria: AWS's ``searchCriteria``, or its JSON text.
        :param pagination_config: ``MaxItems``, ``PageSize`` (1 to 50), ``StartingToken``.
        :raises InvalidArgumentError: for everything that the service would reject, before the first call.
        """
        criteria, config = parse_criteria(search_criteria), parse_pagination_config(pagination_config)
        return paginate(self.client_for(check_datastore_id(datastore_id)), datastore_id, criteria, config)

    def search_image_sets(
        self,
        datastore_id: str,
        *,
        window: TimeWindow | None = None,
        time_field: str | None = "createdAt",
        search_criteria: Mapping[str, object] | str | None = None,
        match: Mapping[str, object] | str | None = None,
        max_workers: int = 1,
        pagination_config: Mapping[str, object] | str | None = None,
        stats: ScanStats | None = None,
    ) -> Generator[SearchHit]:
        """Iterate over the image sets in a window: exactly those, each once, oldest first.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param window: ``[start, end)``; ``None`` searches by the criteria alone.
        :param time_field: the timestamp that the window is about: ``"createdAt"``, ``"updatedAt"``, or ``None``
            for no window.
        :param search_criteria: AWS's ``searchCriteria``, or its JSON text. Beside a window it may have one filter, and
            none on time.
        :param match: conditions that the service cannot filter on, as ``{"DICOMSeriesModality": ["CT", "MR"]}``.
        :param max_workers: the most calls at a time. With 1, nothing is read before it is asked for.
        :param pagination_config: as boto3's. It counts image sets as the service returns them, before ``match``.
        :param stats: updated while reading; its ``next_token`` is the token to resume from after ``MaxItems``.
        :return: an iterator of search hits shaped as boto3 gives them, with timestamps in UTC.
        :raises InvalidArgumentError: for bad arguments, at once.
        :raises HealthImagingError: while iterating; see :mod:`airflow_provider_healthimaging.exceptions`.
        """
        if not isinstance(stats, ScanStats | None):
            raise InvalidArgumentError(f"stats must be a ScanStats, not {type(stats).__name__}.")
        request = SearchRequest.parse(
            datastore_id,
            time_field=time_field,
            window=window,
            search_criteria=search_criteria,
            match=match,
            pagination_config=pagination_config,
            max_workers=max_workers,
        )
        return self.search(request, stats=stats)

    def count_image_sets(
        self,
        datastore_id: str,
        *,
        window: TimeWindow | None = None,
        time_field: str | None = "createdAt",
        search_criteria: Mapping[str, object] | str | None = None,
        match: Mapping[str, object] | str | None = None,
        limit: int | None = None,
    ) -> int:
        """Count the image sets that :meth:`search_image_sets` would give.

        :param limit: stop reading once so many are counted; the result is then ``limit``, and there may be more.
        :return: the number of image sets; exact if it is below ``limit``.
        :raises InvalidArgumentError: for bad arguments, before the first call.
        :raises HealthImagingError: if a call fails; see :mod:`airflow_provider_healthimaging.exceptions`.
        """
        maximum = None if limit is None else check_whole_number("limit", limit)
        request = SearchRequest.parse(
            datastore_id, time_field=time_field, window=window, search_criteria=search_criteria, match=match
        )
        hits = self.search(request)
        return sum(1 for _ in (hits if maximum is None else zip(range(maximum), hits, strict=False)))

    def search(
        self, request: SearchRequest, *, read_ahead: int | None = None, stats: ScanStats | None = None
    ) -> Generator[SearchHit]:
        """Run a search; :meth:`search_image_sets` describes what it gives.

        A window is read by several workers, in threads over one client, which end when the iterator ends or is closed.
        One worker reads a search without a window, with ``pagination_config``, or by an ``updatedAt`` that may still
        change.

        :param read_ahead: image sets for each worker that may be read before they are needed; default 3,000.
        """
        stats = ScanStats() if stats is None else stats
        client, location = self.client_for(request.datastore_id), self.location(request.datastore_id)
        stable = has_stable_order(request.sort_field, request.window)
        if request.window is None or request.time_field is None or request.pagination_config:
            pages = read_pages(client, request, stats, location)
            if stable:
                pages = require_monotonic(pages, request.sort_field, ascending=request.ascending)
        else:
            workers = request.max_workers if stable else 1
            fetch = page_fetcher(client, request, location)
            pages = read_window(fetch, request.window, request.time_field, workers=workers, read_ahead=read_ahead)
        hits = deduplicate_hits(
            with_progress(pages, request.window, stats, self.log),
            sort_field=request.sort_field,
            window=request.window,
            match=request.matches,
            order_may_change=not stable,
            stats=stats,
        )
        return closing_pages(pages, hits)
