"""The hook: every call that this package makes to AWS HealthImaging goes through it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.common.compat.sdk import conf

from airflow_provider_healthimaging.search.validation import MAX_PAGE_SIZE, check_datastore_id, check_pagination_config
from airflow_provider_healthimaging.aws.client_config import (
    PATIENT,
    merged_config,
    use_endpoint_as_given,
    utc_timestamp,
)
from airflow_provider_healthimaging.search.criteria import Criteria, check_time_field, combine, parse_criteria
from airflow_provider_healthimaging.exceptions import InvalidArgumentError, RejectedRequestError
from airflow_provider_healthimaging.search.match import compile_match
from airflow_provider_healthimaging.aws.rate_limit import keep_pace
from airflow_provider_healthimaging.search.progress import with_progress
from airflow_provider_healthimaging.privacy.debug_log_filter import hold_back
from airflow_provider_healthimaging.search.parallel import read_window
from airflow_provider_healthimaging.search.pages import Page, ScanStats, ending, one_way, scan
from airflow_provider_healthimaging.search.segment import tokens_refused
from airflow_provider_healthimaging.aws.errors import CALL_FAULTS, explained, explaining
from airflow_provider_healthimaging.aws.truncated_responses import ParserFactory, read_again_what_is_not_whole

if TYPE_CHECKING:
    from airflow_provider_healthimaging.search.image_set import Summary
    from airflow_provider_healthimaging.search.segment import Fetch
    from airflow_provider_healthimaging.window import TimeWindow

CLOCK_SKEW = timedelta(minutes=1)
"""How far this machine's clock may be off the service's."""


class HealthImagingHook(AwsBaseHook):
    """Interact with AWS HealthImaging.

    Retries are botocore's, in standard mode with up to ten attempts, merged with the ``config_kwargs`` of the
    connection and with ``config``. Timestamps come in UTC. A custom endpoint is used as it is given, without the
    ``runtime-`` prefix, unless ``inject_host_prefix`` says otherwise.

    Additional arguments (such as ``aws_conn_id`` or ``region_name``) are passed to
    :class:`~airflow.providers.amazon.aws.hooks.base_aws.AwsBaseHook`.
    """

    client_defaults = PATIENT

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Create the hook; the client is made at the first call."""
        kwargs["client_type"] = "medical-imaging"
        super().__init__(*args, **kwargs)

    def paginate_image_sets(
        self,
        datastore_id: str,
        search_criteria: Any = None,
        pagination_config: Any = None,
    ) -> Any:
        """Return botocore's page iterator over SearchImageSets.

        It is boto3's own: iterate over pages, ``build_full_result()``, ``resume_token`` to go on from. Errors while
        reading are botocore's own too.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param search_criteria: AWS's ``searchCriteria``, or its JSON text.
        :param pagination_config: ``MaxItems``, ``PageSize`` (1 to 50), ``StartingToken``.
        :raises InvalidArgumentError: for anything the service would refuse, before the first call.
        """
        return self._page_iterator(
            check_datastore_id(datastore_id),
            parse_criteria(search_criteria),
            check_pagination_config(pagination_config),
        )

    def search_image_sets(
        self,
        datastore_id: str,
        *,
        window: TimeWindow | None = None,
        time_field: str | None = "createdAt",
        search_criteria: Any = None,
        match: Any = None,
        max_workers: int = 1,
        read_ahead: int | None = None,
        pagination_config: Any = None,
        stats: ScanStats | None = None,
    ) -> Generator[Summary]:
        """Iterate over the image sets in a window: exactly those, each once, oldest first.

        Several workers read parts of the window at a time, in threads over one client; they end when the iterator
        does, or is closed. What is read without a window, with ``pagination_config``, or by an ``updatedAt`` that may
        still change, is read by one.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param window: ``[start, end)``; ``None`` searches by the criteria alone.
        :param time_field: the timestamp that the window is about: ``"createdAt"``, ``"updatedAt"``, or ``None``
            for no window.
        :param search_criteria: AWS's ``searchCriteria``; beside a window it may have one filter, not on time.
        :param match: what each hit must have, as ``{"DICOMSeriesModality": ["CT", "MR"]}``.
        :param max_workers: the most calls at a time. The default reads nothing before it is asked for.
        :param read_ahead: image sets for each worker that may be read before their turn; default 3,000.
        :param pagination_config: as boto3's; counts rows as the service gives them, before ``match``.
        :param stats: kept up to date while reading; ``next_token`` in it is where ``MaxItems`` cut the result off.
        :return: an iterator of summaries shaped as boto3 gives them, timestamps in UTC.
        :raises InvalidArgumentError: for bad arguments, when called.
        :raises HealthImagingError: while iterating; see :mod:`airflow_provider_healthimaging.exceptions`.
        """
        check_datastore_id(datastore_id)
        check_time_field(time_field)
        if max_workers < 1:
            raise InvalidArgumentError(f"max_workers={max_workers!r} must be 1 or more.")
        if window is not None and time_field is None:
            raise InvalidArgumentError("A window needs a time_field: 'createdAt' or 'updatedAt'.")
        criteria = parse_criteria(search_criteria)
        combined = combine(criteria, window, time_field)
        config = check_pagination_config(pagination_config)
        order = combined["sort"]["sortField"]
        moving = not stays_in_place(order, window)
        stats = stats or ScanStats()
        if window is None or time_field is None or config:
            pages = self._pages(datastore_id, combined, config, stats)
            pages = pages if moving else one_way(pages, order)
        else:
            fetch = self._fetcher(datastore_id, criteria, time_field)
            workers = 1 if moving else max_workers
            pages = read_window(fetch, window, time_field, workers=workers, read_ahead=read_ahead)
        told = with_progress(pages, window, stats, self.log)
        wanted = compile_match(match)
        return ending(pages, scan(told, order=order, window=window, match=wanted, moving=moving, stats=stats))

    def count_image_sets(
        self,
        datastore_id: str,
        *,
        window: TimeWindow | None = None,
        time_field: str | None = "createdAt",
        search_criteria: Any = None,
        match: Any = None,
        at_least: int = 1,
    ) -> int:
        """Count the image sets that :meth:`search_image_sets` would give, with the fewest calls.

        :param at_least: stop reading once so many are found; the count is then at least this and not complete.
        :return: the number found, exact where it is below ``at_least``.
        """
        if at_least < 1:
            raise InvalidArgumentError(f"at_least={at_least!r} must be 1 or more.")
        found = self.search_image_sets(
            datastore_id,
            window=window,
            time_field=time_field,
            search_criteria=search_criteria,
            match=match,
        )
        return sum(1 for _ in zip(range(at_least), found, strict=False))

    def client_for(self, datastore_id: str) -> Any:
        """Return the boto3 client; what it lacks is an error that names the data store, region and connection."""
        return explaining(lambda: self.conn, self._where(datastore_id))

    def get_session(self, *args: Any, **kwargs: Any) -> Any:
        """Return a boto3 session whose responses have timestamps in UTC, and whose clients log no patient data."""
        session = super().get_session(*args, **kwargs)
        if not conf.getboolean("healthimaging", "log_botocore_debug", fallback=False):
            session.events.register("creating-client-class.medical-imaging", hold_back)
        parsers = ParserFactory()
        parsers.set_parser_defaults(timestamp_parser=utc_timestamp)
        session._session.register_component("response_parser_factory", parsers)  # noqa: SLF001
        return session

    def get_client_type(self, *args: Any, **kwargs: Any) -> Any:
        """Return a boto3 client that reads a page again when it was cut short, and keeps to the account's quota."""
        client = super().get_client_type(*args, **kwargs)
        use_endpoint_as_given(client, self.config)
        read_again_what_is_not_whole(client)
        keep_pace(client)
        return client

    @cached_property
    def conn_config(self) -> Any:
        """The connection's settings, its botocore configuration merged with ours and the caller's."""
        wrapper = super().conn_config
        wrapper.botocore_config = merged_config(
            wrapper.extra_config.get("config_kwargs") or {}, self._config, self.client_defaults
        )
        return wrapper

    def _page_iterator(self, datastore_id: str, criteria: Criteria, config: dict[str, Any]) -> Any:
        paginator = self.client_for(datastore_id).get_paginator("search_image_sets")
        return paginator.paginate(datastoreId=datastore_id, searchCriteria=criteria, PaginationConfig=config)

    def _pages(
        self, datastore_id: str, criteria: Criteria, config: dict[str, Any], stats: ScanStats
    ) -> Generator[Page]:
        pages = self._page_iterator(datastore_id, criteria, {"PageSize": MAX_PAGE_SIZE, **config})
        return self._read(datastore_id, pages, stats)

    def _read(self, datastore_id: str, pages: Any, stats: ScanStats) -> Generator[Page]:
        problem = None
        try:
            for page in pages:
                yield _page(page)
            stats.next_token = pages.resume_token
        except CALL_FAULTS as error:
            problem = explained(error, self._where(datastore_id))
        if isinstance(problem, RejectedRequestError) and stats.pages:
            problem = tokens_refused(problem.code)
        if problem:
            raise problem

    def _fetcher(self, datastore_id: str, criteria: Criteria, time_field: str) -> Fetch:
        client, where = self.client_for(datastore_id), self._where(datastore_id)

        def fetch(window: TimeWindow, token: str | None) -> Page:
            call = partial(
                client.search_image_sets,
                datastoreId=datastore_id,
                searchCriteria=combine(criteria, window, time_field),
                maxResults=MAX_PAGE_SIZE,
                **({"nextToken": token} if token else {}),
            )
            return _page(explaining(call, where))

        return fetch

    def _where(self, datastore_id: str) -> str:
        return f"data store {datastore_id}, region {self.region_name}, connection {self.aws_conn_id!r}"


def _page(answer: Mapping[str, Any]) -> Page:
    return Page(
        rows=answer.get("imageSetsMetadataSummaries") or [],
        calls=1 + answer["ResponseMetadata"].get("RetryAttempts", 0),
        next_token=answer.get("nextToken") or None,
    )


def stays_in_place(order: str, window: TimeWindow | None) -> bool:
    """Whether no image set can change its place in ``order`` while it is read.

    An update gives an ``updatedAt`` of now, and so moves an image set out of a window that is over, but to a later
    place in one that is not. What a change of the study's date does is anyone's guess.
    """
    if order == "createdAt":
        return True
    return order == "updatedAt" and window is not None and window.end <= datetime.now(UTC) - CLOCK_SKEW
