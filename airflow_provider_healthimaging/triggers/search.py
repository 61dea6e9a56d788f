"""The trigger that waits for image sets on behalf of a sensor. It knows only what ``serialize()`` returns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_healthimaging.aws.connection_arguments import is_json
from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.pages import END_OF_TIME, ScanStats
from airflow_provider_healthimaging.search.readiness import is_ready
from airflow_provider_healthimaging.search.validation import MAX_DELAY, check_whole_number, parse_duration
from airflow_provider_healthimaging.triggers.feed import Feed, shared_feed
from airflow_provider_healthimaging.triggers.polling import SearchTrigger
from airflow_provider_healthimaging.triggers.recent_hits import RecentHits, may_be_found
from airflow_provider_healthimaging.triggers.waiting import Status, WaitingTrigger
from airflow_provider_healthimaging.window import TimeWindow, format_utc, parse_instant, window_ending_now

if TYPE_CHECKING:
    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments


class HealthImagingImageSetTrigger(WaitingTrigger, SearchTrigger):
    """Wait until enough image sets are found and have not changed for the quiet period, or until the deadline.

    It fires one event, ``{"status": "ready" | "timeout" | "failed", "deadline": ..., "error": ...}``, after which the
    task searches by itself. Throttling and other retryable errors are logged, and do not end the wait.

    :param datastore_id: the data store's id.
    :param window_start: start of the window, ISO 8601; ``None`` with ``window_end`` for no window.
    :param window_end: end of the window, ISO 8601; ``None`` with a start for a window that ends now.
    :param time_field: the timestamp that the window is about, or ``None``.
    :param search_criteria: AWS's ``searchCriteria``, or its JSON text, or encrypted as :meth:`serialize` returns it.
    :param match: the sensor's ``match``; given and kept as ``search_criteria`` is.
    :param min_image_sets: how many image sets are enough.
    :param quiet_period: how long none of them may have changed: ``timedelta`` or seconds; ``None`` for any time.
    :param poke_interval: the pause between two searches, plus or minus a fifth: ``timedelta`` or seconds.
    :param started: ISO 8601 time at which the sensor began. The event hands it back.
    :param exponential_backoff: let the pause double from search to search, counted from ``started``.
    :param max_wait: the longest pause then: ``timedelta`` or seconds; ``None`` for any.
    :param deadline: ISO 8601 time at which to give up.
    :param resolved_search: what the event hands back to the sensor: its whole search, as it resolved it before the
        deferral.
    :param aws_conn_id: the Airflow connection for AWS.
    :param region_name: AWS region; default that of the connection.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: settings for botocore's client, merged with the connection's.
    :raises InvalidArgumentError: for an argument that cannot work.
    """

    shown_arguments = ("datastore_id", "window_start", "window_end", "deadline")

    def __init__(
        self,
        *,
        datastore_id: str,
        window_start: str | None,
        window_end: str | None,
        time_field: str | None,
        search_criteria: Mapping[str, object] | str | None,
        match: Mapping[str, object] | str | None,
        min_image_sets: int,
        quiet_period: timedelta | float | None,
        poke_interval: timedelta | float,
        deadline: str,
        started: str | None = None,
        exponential_backoff: bool = False,
        max_wait: timedelta | float | None = None,
        resolved_search: Mapping[str, object] | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: ConfigArguments | None = None,
    ) -> None:
        """Check the arguments; nothing is called before :meth:`run`."""
        super().__init__(
            deadline=deadline,
            started=started,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            datastore_id=datastore_id,
            time_field=time_field,
            search_criteria=search_criteria,
            match=match,
            poke_interval=poke_interval,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )
        self.window_start, self.window_end = _check_window(window_start, window_end)
        if self.window_start is not None and self.time_field is None:
            raise InvalidArgumentError("A window needs a time_field: 'createdAt' or 'updatedAt'.")
        self.min_image_sets = check_whole_number("min_image_sets", min_image_sets)
        self.quiet_period = (
            None if quiet_period is None else parse_duration("quiet_period", quiet_period, MAX_DELAY).total_seconds()
        )
        if not isinstance(resolved_search, Mapping | None) or not is_json(resolved_search):
            raise InvalidArgumentError("resolved_search must be a dictionary of JSON types, which a sensor makes.")
        self.resolved_search = resolved_search
        self._quiet_at: datetime | None = None
        self._position: int | None = None

    def is_ready(self) -> bool:
        """Search once."""
        now, stats = datetime.now(UTC), ScanStats()
        quiet_since = None if self.quiet_period is None else now - timedelta(seconds=self.quiet_period)
        ready = is_ready(
            self.search(self._window(now), stats), min_image_sets=self.min_image_sets, quiet_since=quiet_since
        )
        self._quiet_at = None
        if quiet_since and stats.changed and quiet_since < stats.changed < END_OF_TIME:
            self._quiet_at = now + (stats.changed - quiet_since)
        return ready

    def feed(self) -> Feed[RecentHits]:
        """Return the feed of the image sets that arrived or changed lately."""
        key = self.feed_key("image sets")
        return shared_feed(key, lambda: RecentHits(self.datastore_id, self.cached_hook))

    def has_news(self, source: RecentHits) -> bool:
        """Whether an image set arrived that this trigger may wait for, or its quiet period may have ended."""
        news, self._position = source.since(self._position), source.position
        now = datetime.now(UTC)
        if news is None or (self._quiet_at and now >= self._quiet_at):
            return True
        request = self._request.with_window(self._window(now))
        return any(may_be_found(hit, request) for hit in news)

    def status(self, status: str) -> Status:
        """Return the payload of an event."""
        return {**super().status(status), "resolved_search": self.resolved_search}

    def _window(self, now: datetime) -> TimeWindow | None:
        if self.window_start is None:
            return None
        if self.window_end is None:
            return window_ending_now(self.window_start, now)
        return TimeWindow(self.window_start, self.window_end)


def _check_window(start: object, end: object) -> tuple[str | None, str | None]:
    """Return the edges of the window as ISO 8601; without an end, the window ends now."""
    if start is None:
        if end is not None:
            raise InvalidArgumentError("window_end needs a window_start.")
        return None, None
    first = parse_instant(start, "window_start")
    if end is None:
        return format_utc(first), None
    window = TimeWindow(first, parse_instant(end, "window_end"))
    return format_utc(window.start), format_utc(window.end)
