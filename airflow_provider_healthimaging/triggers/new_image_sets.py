"""The trigger that watches a data store for an asset. It knows what ``serialize()`` returns, and a watermark."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from airflow.triggers.base import TriggerEvent

from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.privacy.encryption import is_sealed
from airflow_provider_healthimaging.search.criteria import check_filter_slot_free, parse_criteria
from airflow_provider_healthimaging.search.pages import ScanStats
from airflow_provider_healthimaging.search.rendered import holds_template
from airflow_provider_healthimaging.search.validation import MAX_DELAY, check_time_field, parse_duration
from airflow_provider_healthimaging.triggers.polling import SearchTrigger, run_blocking, with_jitter
from airflow_provider_healthimaging.triggers.watermark import (
    ArrivalEvent,
    BaseEventTrigger,
    Watermark,
    check_supported,
)
from airflow_provider_healthimaging.window import TimeWindow, format_utc, parse_instant

if TYPE_CHECKING:
    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments


class HealthImagingNewImageSetsTrigger(SearchTrigger, BaseEventTrigger):
    """Watch a data store for an :class:`~airflow.sdk.AssetWatcher`: one event for each batch of arrivals.

    The event's payload is ``{"datastore_id", "window": {"start", "end"}, "count"}``. The windows of successive events
    never overlap, and leave out only what was searched and did not match. The watermark is kept in the asset's state
    store, which Airflow has since 3.3. An event is kept there before it is fired. So nothing is lost if the triggerer
    dies, and an event that may not have been handed over is repeated as it was: at least once, and only whole.

    :param datastore_id: the data store's id.
    :param time_field: ``"createdAt"`` for new image sets, ``"updatedAt"`` for new and changed ones.
    :param search_criteria: AWS's ``searchCriteria``, one filter at most. It is kept encrypted, with a key derived from
        Airflow's Fernet key. But a value written into the DAG's file is in that file, and so in Airflow's database.
    :param match: conditions that the service cannot filter on; kept as ``search_criteria`` is.
    :param start: where the first window starts: aware datetime or ISO 8601 string; default the first poll.
    :param delay: how long the index may take to show what has arrived: ``timedelta`` or seconds.
    :param poke_interval: the pause between two searches, plus or minus a fifth: ``timedelta`` or seconds, above zero.
    :param aws_conn_id: the Airflow connection for AWS.
    :param region_name: AWS region; default that of the connection.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: settings for botocore's client, merged with the connection's.
    :raises ConfigurationError: on Airflow before 3.3.
    """

    shown_arguments = ("datastore_id", "time_field", "start")

    def __init__(
        self,
        *,
        datastore_id: str,
        time_field: str = "createdAt",
        search_criteria: Mapping[str, object] | str | None = None,
        match: Mapping[str, object] | str | None = None,
        start: datetime | str | None = None,
        delay: timedelta | float = 60,
        poke_interval: timedelta | float = 60,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: ConfigArguments | None = None,
    ) -> None:
        """Check the arguments; nothing is called before :meth:`run`."""
        check_supported()
        if holds_template([datastore_id, time_field, search_criteria, match, start, aws_conn_id, region_name, verify]):
            raise InvalidArgumentError(
                "An argument of HealthImagingNewImageSetsTrigger holds a template, but Airflow renders no templates of "
                "an asset's trigger. Give values, for example from environment variables."
            )
        checked_field = check_time_field(time_field)
        if checked_field is None:
            raise InvalidArgumentError("time_field must be 'createdAt' or 'updatedAt': they say what is new.")
        if not is_sealed(search_criteria):
            check_filter_slot_free(parse_criteria(search_criteria), checked_field)
        super().__init__(
            datastore_id=datastore_id,
            time_field=checked_field,
            search_criteria=search_criteria,
            match=match,
            poke_interval=poke_interval,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )
        self.start = None if start is None else format_utc(parse_instant(start, "start"))
        self.delay = parse_duration("delay", delay, MAX_DELAY).total_seconds()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Search from the watermark on, until the triggerer stops it."""
        watermark = Watermark(self.asset_state_store)
        if unconfirmed := await watermark.unconfirmed():
            yield TriggerEvent(unconfirmed)  # type: ignore[no-untyped-call]
            await watermark.confirm(unconfirmed)
        while True:
            start = await watermark.get(self.start or format_utc(self._indexed_until()))
            found = await run_blocking(partial(self._poll, start))
            if found and found["count"]:
                await watermark.announce(start, found)
                yield TriggerEvent(found)  # type: ignore[no-untyped-call]
                await watermark.confirm(found)
            elif found:
                await watermark.advance(found["window"]["end"])
            await asyncio.sleep(with_jitter(self.poke_interval))

    def _indexed_until(self) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=self.delay)

    def _poll(self, start: str) -> ArrivalEvent | None:
        """Search from ``start`` to what the index shows, and return the event to fire.

        :return: an event with a count of 0, which is not fired, if image sets are there and none of them matches. They
            need not be read again; nor need pages that the service left empty. ``None`` if nothing is there, so that
            what the index shows late is still found. The image sets at the edge of the window before are read again
            each time, and do not count.
        """
        end = self._indexed_until()
        if end <= parse_instant(start, "watermark"):
            return None
        window, stats = TimeWindow(start, end), ScanStats()
        try:
            count = sum(1 for _ in self.search(window, stats))
        except HealthImagingError as error:
            level = logging.WARNING if error.retryable else logging.ERROR
            self.log.log(level, "Poke failed; trying again: %s", error)
            return None
        if count:
            self.log.info("Found %s image sets in [%s, %s). Firing an event.", count, *window.to_dict().values())
        elif not stats.in_window and not stats.empty_pages:
            return None
        return {"datastore_id": self.datastore_id, "window": window.to_dict(), "count": count}
