"""The operator that searches for the image sets of a DAG run's window."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, conf

from airflow_provider_healthimaging.exceptions import InvalidArgumentError, NoImageSetsError
from airflow_provider_healthimaging.search.criteria import parse_bool
from airflow_provider_healthimaging.search.suggestions import unknown_name_error
from airflow_provider_healthimaging.search.validation import MAX_DELAY, parse_duration
from airflow_provider_healthimaging.task.base import SearchTask
from airflow_provider_healthimaging.task.deferral import (
    TRIGGER_FAILED,
    check_execution_timeout,
    execution_deadline,
    first_start,
)
from airflow_provider_healthimaging.task.delivery import publish_result
from airflow_provider_healthimaging.task.failure import fail_without_retry
from airflow_provider_healthimaging.task.resolved_search import ResolvedSearch
from airflow_provider_healthimaging.triggers.wait_until import WaitUntilTrigger
from airflow_provider_healthimaging.window import format_utc

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments
    from airflow_provider_healthimaging.task.delivery import Result

ON_EMPTY = ("succeed", "skip", "fail")

LATE_TRIGGER_GRACE = timedelta(minutes=10)
"""How long after its moment a trigger may fire late, before Airflow fails the deferred task."""


class HealthImagingSearchImageSetsOperator(SearchTask):
    """Find the image sets that a DAG run owns in an AWS HealthImaging data store, each exactly once.

    .. seealso::
        - `SearchImageSets <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_SearchImageSets.html>`__

    The window is ``[start, end)`` in UTC and comes from the run: its data interval, or the schedule's last complete
    period if Airflow gives an interval of length zero. Two runs in a row never share an image set, and none falls
    between them. With ``catchup=False``, Airflow starts no runs for the time in which it was down or the DAG was
    paused: backfill that time.

    :param datastore_id: the data store's id, 32 characters of 0-9 and a-z. (templated)
    :param time_field: the timestamp that the window is about: ``"createdAt"`` for new image sets, ``"updatedAt"``
        for new and changed ones, ``None`` for no window.
    :param window_start: start of the window, instead of the run's own: aware datetime, or ISO 8601 string with an
        offset. An empty string means not given. (templated)
    :param window_end: end of the window, which does not belong to it; as ``window_start``. (templated)
    :param lookback: moves the window's start back, for image sets that became searchable late: ``timedelta`` or
        seconds. The window then overlaps that of the previous run, so downstream tasks must be idempotent.
    :param delay: how long after the window's end the search may first run: ``timedelta`` or seconds, at most 366 days.
        AWS does not promise that a new image set is searchable at once. The task sleeps, or defers, until then.
    :param search_criteria: AWS's ``searchCriteria`` structure, or its JSON text. Beside a window it may have one
        filter, and none on time. Airflow shows ``***`` for its values. (templated)
    :param match: conditions that the service cannot filter on, checked in the task, as
        ``{"DICOMSeriesModality": ["CT", "MR"]}``. Airflow shows ``***`` for its values. (templated)
    :param max_workers: the most calls at a time, used if the first page shows that there is more. All tasks share the
        account's quota, 25 calls a second unless raised.
    :param pagination_config: boto3's ``MaxItems``, ``PageSize`` (1 to 50) and ``StartingToken``. The search is then
        sequential, and the token to resume from is pushed to XCom as ``next_token``. (templated)
    :param dicom_tags: names of the DICOM tags to keep in each record, or ``"all"``. None by default: most are patient
        data, and XCom, the UI, the REST API and S3 keep what they are given. (templated)
    :param batch_size: return lists of this many records, to map a task over batches.
    :param max_xcom_items: the most image sets that may go to XCom; more are an error, and nothing is cut off.
    :param s3_uri: write a dataset under this ``s3://bucket/prefix/``, and return its summary. (templated)
    :param s3_conn_id: the AWS connection for S3; default ``aws_conn_id``. (templated)
    :param s3_extra_args: arguments for each object, as ``{"ServerSideEncryption": "aws:kms"}``; see amazon's
        ``S3Hook``. Shown with ``***`` for their values, because one may be an encryption key. (templated)
    :param file_format: ``"jsonl"`` (gzipped JSON Lines), or ``"parquet"``, which needs the extra of that name.
    :param rows_per_file: records in each part of the dataset but the last.
    :param on_empty: ``"succeed"``, ``"skip"`` or ``"fail"`` if no image set is found.
    :param skip_repeated_events: end as skipped if the run was started by nothing but repeated events of a
        ``HealthImagingNewImageSetsTrigger``, whose windows an earlier run of the DAG has. The log names that run. An
        event is repeated if a triggerer ended before it knew that the event was stored.
    :param deferrable: defer instead of sleeping; default ``[operators] default_deferrable``.
    :param aws_conn_id: the Airflow connection for AWS. (templated)
    :param region_name: AWS region; default that of the connection. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: settings for botocore's client, merged with the connection's ``config_kwargs``.

    :return: records ``{"datastoreId", "imageSetId", "version", "createdAt", "updatedAt", "isPrimary"}``, with
        ``DICOMTags`` if asked for; or the dataset's ``{"s3_uri", "manifest", "image_sets", "parts"}``. The XCom
        ``summary`` has the window, the rule that gave it, counts and calls.
    :raises InvalidArgumentError: for an argument that cannot work; when the DAG is parsed, or for a template field when
        the task runs.
    :raises HealthImagingError: when the task runs; see :mod:`airflow_provider_healthimaging.exceptions`.
    """

    def __init__(
        self,
        *,
        datastore_id: str,
        time_field: str | None = "createdAt",
        window_start: datetime | str | None = None,
        window_end: datetime | str | None = None,
        lookback: timedelta | float = 0,
        delay: timedelta | float = 60,
        search_criteria: Mapping[str, object] | str | None = None,
        match: Mapping[str, object] | str | None = None,
        max_workers: int = 4,
        pagination_config: Mapping[str, object] | str | None = None,
        dicom_tags: Sequence[str] | str | None = None,
        batch_size: int | None = None,
        max_xcom_items: int = 1000,
        s3_uri: str | None = None,
        s3_conn_id: str | None = None,
        s3_extra_args: Mapping[str, object] | str | None = None,
        file_format: str = "jsonl",
        rows_per_file: int = 50_000,
        on_empty: str = "succeed",
        skip_repeated_events: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: ConfigArguments | None = None,
        **kwargs: Any,  # the arguments of Airflow's base class
    ) -> None:
        """Hold the template fields as they are, and check the other arguments."""
        super().__init__(
            datastore_id=datastore_id,
            time_field=time_field,
            window_start=window_start,
            window_end=window_end,
            lookback=lookback,
            search_criteria=search_criteria,
            match=match,
            max_workers=max_workers,
            pagination_config=pagination_config,
            dicom_tags=dicom_tags,
            batch_size=batch_size,
            max_xcom_items=max_xcom_items,
            s3_uri=s3_uri,
            s3_conn_id=s3_conn_id,
            s3_extra_args=s3_extra_args,
            file_format=file_format,
            rows_per_file=rows_per_file,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
            **kwargs,
        )
        with self.argument_checks():
            self.reject_templates(
                delay=delay, on_empty=on_empty, skip_repeated_events=skip_repeated_events, deferrable=deferrable
            )
            self.delay = parse_duration("delay", delay, MAX_DELAY)
            if on_empty not in ON_EMPTY:
                raise unknown_name_error("on_empty", on_empty, ON_EMPTY)
            self.on_empty = on_empty
            self.skip_repeated_events = parse_bool("skip_repeated_events", skip_repeated_events)
            self.deferrable = parse_bool("deferrable", deferrable)

    @fail_without_retry
    def execute(self, context: Context) -> Result:
        """Wait until the window may be searched, search it, and return the result."""
        return self._run(context, self.resolve(context), first_start(context))

    @fail_without_retry
    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Result:
        """Continue after the triggerer has waited. The search is the one from before the deferral."""
        started = first_start(context, event)
        check_execution_timeout(self, started)
        return self._run(context, ResolvedSearch.restore(event["resolved_search"]), started)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral. If the trigger has not fired in time, execution_timeout may be the reason."""
        if next_method == TRIGGER_FAILED:
            check_execution_timeout(self, first_start(context))
        return super().resume_execution(next_method, next_kwargs, context)

    def _run(self, context: Context, resolved: ResolvedSearch, started: datetime) -> Result:
        output = self.parse_output()
        self.log_window(resolved)
        self._wait_until_searchable(resolved, started)
        delivery = self.search(context, resolved, output)
        result = publish_result(self, context, delivery)
        if not delivery.image_sets:
            self._on_empty()
        return result

    def _wait_until_searchable(self, resolved: ResolvedSearch, started: datetime) -> None:
        if (window := resolved.request.window) is None:
            return
        now = datetime.now(UTC)
        if window.end - now > MAX_DELAY:
            raise InvalidArgumentError(
                f"The window {window} ends more than a year from now, and it is searched after its end. Give an "
                "earlier window_end, or use HealthImagingImageSetSensor with open_ended=True, whose window ends now."
            )
        ready = window.end + self.delay
        left = ready - now
        if left <= timedelta(0):
            return
        self.log.info("Waiting until %s: the window's end and a delay of %s.", format_utc(ready), self.delay)
        if self.deferrable:
            moment = min(ready, execution_deadline(self, started) or ready)
            trigger = WaitUntilTrigger(
                moment=moment, resolved_search=resolved.keep(), started=format_utc(started.astimezone(UTC))
            )
            self.defer(trigger=trigger, method_name="execute_complete", timeout=moment - now + LATE_TRIGGER_GRACE)
        time.sleep(left.total_seconds())

    def _on_empty(self) -> None:
        if self.on_empty == "skip":
            raise AirflowSkipException("No image set was found, and on_empty='skip'.")
        if self.on_empty == "fail":
            raise NoImageSetsError(
                "No image set was found, and on_empty='fail'. Check the window in the log above, and the filters. "
                "A retry searches the same window again."
            )
