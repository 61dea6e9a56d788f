"""The trigger that waits for image sets on behalf of a sensor. It knows only what ``serialize()`` returns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_healthimaging.search.readiness import is_ready
from airflow_provider_healthimaging.search.validation import MAX_DELAY, parse_duration
from airflow_provider_healthimaging.triggers.polling import SearchTrigger
from airflow_provider_healthimaging.triggers.waiting import WaitingTrigger
from airflow_provider_healthimaging.window import TimeWindow, window_ending_now

if TYPE_CHECKING:
    from airflow_provider_healthimaging.aws.client_config import ConfigArguments


class HealthImagingImageSetTrigger(WaitingTrigger, SearchTrigger):
    """Wait until enough image sets are found and have not changed for the quiet period, or until the deadline.

    It fires one event, ``{"status": "ready" | "timeout" | "failed", "deadline": ..., "error": ...}``, after which the
    task searches by itself. Throttling and other retryable errors are logged, and do not end the wait.

    :param datastore_id: the data store's id.
    :param window_start: start of the window, ISO 8601; ``None`` with ``window_end`` for no window.
    :param window_end: end of the window, ISO 8601; ``None`` with a start for a window that ends now.
    :param time_field: the timestamp that the window is about, or ``None``.
    :param search_criteria: AWS's ``searchCriteria`` as JSON text, or encrypted as :meth:`serialize` returns it.
    :param match: the sensor's ``match`` as JSON text, or encrypted.
    :param min_image_sets: how many image sets are enough.
    :param quiet_period: how long none of them may have changed: ``timedelta`` or seconds; ``None`` for any time.
    :param poke_interval: the pause between two searches, plus or minus a fifth: ``timedelta`` or seconds.
    :param deadline: ISO 8601 time at which to give up.
    :param aws_conn_id: the Airflow connection for AWS.
    :param region_name: AWS region; default that of the connection.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: settings for botocore's client, merged with the connection's.
    """

    shown_arguments = ("datastore_id", "window_start", "window_end", "deadline")

    def __init__(
        self,
        *,
        datastore_id: str,
        window_start: str | None,
        window_end: str | None,
        time_field: str | None,
        search_criteria: str,
        match: str,
        min_image_sets: int,
        quiet_period: timedelta | float | None,
        poke_interval: timedelta | float,
        deadline: str,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: ConfigArguments | None = None,
    ) -> None:
        """Hold the arguments; nothing is called before :meth:`run`."""
        super().__init__(
            deadline=deadline,
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
        self.window_start = window_start
        self.window_end = window_end
        self.min_image_sets = min_image_sets
        self.quiet_period = (
            None if quiet_period is None else parse_duration("quiet_period", quiet_period, MAX_DELAY).total_seconds()
        )

    def is_ready(self) -> bool:
        """Search once."""
        now = datetime.now(UTC)
        quiet_since = None if self.quiet_period is None else now - timedelta(seconds=self.quiet_period)
        hits = self.search(self._window(now))
        return is_ready(hits, min_image_sets=self.min_image_sets, quiet_since=quiet_since)

    def _window(self, now: datetime) -> TimeWindow | None:
        if self.window_start is None:
            return None
        if self.window_end is None:
            return window_ending_now(self.window_start, now)
        return TimeWindow(self.window_start, self.window_end)
