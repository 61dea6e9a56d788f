"""The trigger that watches a data store for an asset. It knows what ``serialize()`` returns, and a watermark.

Airflow runs one poll (``shared_poll``) for all watchers with the same ``shared_stream_key``. Each watcher makes its own
events from it (``arrivals``), and keeps its own watermark (``watermark``).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Hashable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.privacy.encryption import is_sealed
from airflow_provider_healthimaging.search.criteria import check_filter_slot_free, parse_criteria
from airflow_provider_healthimaging.search.rendered import holds_template
from airflow_provider_healthimaging.search.request import SearchRequest
from airflow_provider_healthimaging.search.validation import MAX_DELAY, check_time_field, parse_duration
from airflow_provider_healthimaging.triggers.airflow_events import BaseEventTrigger, StateStore, check_supported
from airflow_provider_healthimaging.triggers.arrivals import ArrivalWatch
from airflow_provider_healthimaging.triggers.polling import SearchTrigger
from airflow_provider_healthimaging.triggers.shared_poll import Poll, SharedPoll, utc_now
from airflow_provider_healthimaging.triggers.watermark import WATERMARK_KEY, Watermark
from airflow_provider_healthimaging.window import format_utc, parse_instant

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import SharedStreamProducer

    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments


class HealthImagingNewImageSetsTrigger(SearchTrigger, BaseEventTrigger):
    """Watch a data store for an :class:`~airflow.sdk.AssetWatcher`: one event for each batch of arrivals.

    The event's payload is ``{"datastore_id", "window": {"start", "end"}, "count"}``. The windows of successive events
    never overlap, and leave out only what was searched and did not match. The watermark is kept in the asset's state
    store, which Airflow has since 3.3, under the key ``healthimaging_watermark``. It moves when Airflow says that the
    event is in its database. If the triggerer dies before that, the event is repeated as it was, and
    ``HealthImagingSearchImageSetsOperator`` skips what an earlier run has.

    Watchers of a data store share one search if ``time_field``, ``delay``, ``poke_interval`` and the connection are
    equal, whatever their ``search_criteria`` and ``match`` are. An asset may have one such watcher.

    :param datastore_id: the data store's id.
    :param time_field: ``"createdAt"`` for new image sets, ``"updatedAt"`` for new and changed ones.
    :param search_criteria: AWS's ``searchCriteria``, one filter at most. It is kept encrypted, with a key derived from
        Airflow's Fernet key. But a value written into the DAG's file is in that file, and so in Airflow's database.
    :param match: conditions that the service cannot filter on; kept as ``search_criteria`` is.
    :param start: where the first window starts: aware datetime or ISO 8601 string; default the first
        poll, ``delay`` ago. A watermark that is kept already has precedence.
    :param delay: how long the index may take to show what has arrived: ``timedelta`` or seconds.
    :param poke_interval: the pause between two searches, plus or minus a fifth: ``timedelta`` or seconds, above zero.
    :param aws_conn_id: the Airflow connection for AWS.
    :param region_name: AWS region; default that of the connection.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: settings for botocore's client, merged with the connection's.
    :raises InvalidArgumentError: for an argument that cannot work.
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

    def shared_stream_key(self) -> Hashable:
        """Return what watchers have in common that share one search; Airflow asks for it."""
        config = json.dumps(self.botocore_config, sort_keys=True)
        connection = self.aws_conn_id, self.region_name, self.verify, config
        return type(self).__name__, self.datastore_id, self.time_field, self.delay, self.poke_interval, *connection

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the search that watchers share; Airflow calls this.

        :param kwargs: the arguments of any of them.
        """
        trigger = cls(**kwargs)
        return SharedPoll(
            SearchRequest.parse(trigger.datastore_id, time_field=trigger.time_field),
            trigger.cached_hook,
            delay=timedelta(seconds=trigger.delay),
            poke_interval=trigger.poke_interval,
        )

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Poll]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each batch of arrivals that meets this watcher's conditions; Airflow calls this."""
        watch = ArrivalWatch(
            self._request,
            self.cached_hook,
            Watermark(StateStore(self.asset_state_store, WATERMARK_KEY)),
            initial=self._first_start,
            log=self.log,
        )
        async for event in watch.events(shared_stream):
            yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    def _first_start(self) -> datetime:
        return parse_instant(self.start, "start") if self.start else utc_now() - timedelta(seconds=self.delay)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch without Airflow's shared streams. An event counts as stored when the next one is asked for."""
        _, arguments = self.serialize()
        producer = self.create_shared_stream_producer(arguments)
        async for event in self.filter_shared_stream(_settled_when_passed(producer)):
            yield event


async def _settled_when_passed(producer: SharedStreamProducer) -> AsyncIterator[Poll]:
    polls = producer.open_stream()
    while True:
        poll, _ = await anext(polls)
        yield poll
        poll.settled.set_result(True)
