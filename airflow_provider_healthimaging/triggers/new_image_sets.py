"""Watch a data store on behalf of an asset. What ``serialize()`` returns, and a watermark, is all that it knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_healthimaging.search.validation import check_datastore_id, check_seconds, to_json
from airflow_provider_healthimaging.search.criteria import check_room_for_window, check_time_field, parse_criteria
from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.search.match import parse_match
from airflow_provider_healthimaging.triggers.polling import class_path, fired, in_thread, jittered, search, shown
from airflow_provider_healthimaging.privacy.encryption import is_sealed, seal
from airflow_provider_healthimaging.triggers.watermark import BaseEventTrigger, Watermark, check_supported
from airflow_provider_healthimaging.window import TimeWindow, isoformat, parse_instant


class HealthImagingNewImageSetsTrigger(BaseEventTrigger):
    """Watch a data store for an :class:`~airflow.sdk.AssetWatcher`: one event for each batch of arrivals.

    The event's payload is ``{"datastore_id", "window": {"start", "end"}, "count"}``. Windows of successive events
    touch and never overlap. The watermark is kept in the asset's state store, which Airflow has since 3.3; what is
    about to be announced is kept there first. So nothing is lost when the triggerer dies, and an event that may not
    have got through is repeated as it was: at least once, and only whole.

    :param datastore_id: the data store's id.
    :param time_field: ``"createdAt"`` for new image sets, ``"updatedAt"`` for new and changed ones.
    :param search_criteria: AWS's ``searchCriteria``, one filter at most. It is kept encrypted with a key derived from
        Airflow's Fernet key; but a value written into the DAG's file is in that file, and so in Airflow's database.
    :param match: what each hit must have; kept as ``search_criteria`` is.
    :param start: where the first window starts: aware datetime or ISO 8601 string; default the first look.
    :param delay: ``timedelta``, or seconds, for which the index is not yet trusted to show what has arrived.
    :param poke_interval: seconds between two searches, more or less a fifth.
    :param aws_conn_id: the Airflow connection used for AWS credentials.
    :param region_name: AWS region; default that of the connection.
    :param verify: whether to verify SSL certificates.
    :param botocore_config: settings for botocore's client, merged with the connection's.
    :raises ConfigurationError: on Airflow before 3.3.
    """

    def __init__(
        self,
        *,
        datastore_id: str,
        time_field: str = "createdAt",
        search_criteria: dict[str, Any] | str | None = None,
        match: dict[str, Any] | str | None = None,
        start: datetime | str | None = None,
        delay: timedelta | float = 60,
        poke_interval: float = 60,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        """Check the arguments; nothing is called before :meth:`run`."""
        check_supported()
        super().__init__()  # type: ignore[no-untyped-call]
        if check_time_field(time_field) is None:
            raise InvalidArgumentError("time_field must be 'createdAt' or 'updatedAt': without it nothing is new.")
        self._given: dict[str, Any] = {
            "datastore_id": check_datastore_id(datastore_id),
            "time_field": time_field,
            "search_criteria": _sealed(search_criteria, partial(_checked_criteria, time_field=time_field)),
            "match": _sealed(match, parse_match),
            "start": None if start is None else isoformat(parse_instant(start, "start")),
            "delay": check_seconds("delay", delay),
            "poke_interval": check_seconds("poke_interval", poke_interval),
            "aws_conn_id": aws_conn_id,
            "region_name": region_name,
            "verify": verify,
            "botocore_config": botocore_config,
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: the same on every parse, encrypted where they may be patient data."""
        return class_path(self), dict(self._given)

    def __repr__(self) -> str:
        """Show what is no patient data."""
        return shown(self, self._given, "datastore_id", "time_field", "start")

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Search from the watermark on, for as long as the triggerer lets it."""
        watermark = Watermark(self.asset_state_store)
        if unconfirmed := await watermark.unconfirmed():
            yield fired(unconfirmed)
            await watermark.confirm(unconfirmed)
        while True:
            start = await watermark.get(self._given["start"] or isoformat(self._trusted_until()))
            if batch := await in_thread(partial(self._arrivals, start)):
                await watermark.announce(start, batch)
                yield fired(batch)
                await watermark.confirm(batch)
            await asyncio.sleep(jittered(self._given["poke_interval"]))

    def _trusted_until(self) -> datetime:
        delay: float = self._given["delay"]
        return datetime.now(UTC) - timedelta(seconds=delay)

    def _arrivals(self, start: str) -> dict[str, Any] | None:
        given = self._given
        end = self._trusted_until()
        if end <= parse_instant(start, "watermark"):
            return None
        window = TimeWindow(start, end)
        try:
            count = sum(1 for _ in search(given, window))
        except HealthImagingError as error:
            self.log.log(
                logging.WARNING if error.retryable else logging.ERROR, "Could not look, and will again: %s", error
            )
            return None
        if not count:
            return None
        self.log.info("Found %s image sets in [%s, %s): announcing them.", count, *window.to_dict().values())
        return {"datastore_id": given["datastore_id"], "window": window.to_dict(), "count": count}


def _sealed(value: Any, check: Callable[[Any], Any]) -> str:
    """Return an argument as encrypted JSON text; one that is sealed was checked before, and stays as it is."""
    return str(value) if is_sealed(value) else seal(to_json(check(value)))


def _checked_criteria(value: Any, time_field: str) -> Any:
    criteria = parse_criteria(value)
    check_room_for_window(criteria, time_field)
    return criteria
