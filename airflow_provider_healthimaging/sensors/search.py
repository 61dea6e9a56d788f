"""The sensor that waits for image sets which match a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.common.compat.sdk import PokeReturnValue, conf

from airflow_provider_healthimaging.aws.connection_arguments import check_config_arguments
from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.search.criteria import parse_bool
from airflow_provider_healthimaging.search.readiness import confirms_ready, is_ready
from airflow_provider_healthimaging.search.request import SearchRequest
from airflow_provider_healthimaging.search.validation import MAX_DELAY, check_whole_number, parse_duration, to_json
from airflow_provider_healthimaging.task.base import SearchTask
from airflow_provider_healthimaging.task.delivery import publish_result
from airflow_provider_healthimaging.task.failure import fail_without_retry
from airflow_provider_healthimaging.task.resolved_search import ResolvedSearch
from airflow_provider_healthimaging.task.run_window import parse_edge
from airflow_provider_healthimaging.task.waiting import DeferrableSensor
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingImageSetTrigger
from airflow_provider_healthimaging.window import format_utc, window_ending_now

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments
    from airflow_provider_healthimaging.window import TimeWindow

OPEN_END = "9999-12-31T00:00:00Z"
"""The end that stands for "not over yet" while the run's window is resolved."""


class HealthImagingImageSetSensor(SearchTask, DeferrableSensor):
    """Wait until image sets match a search, and return what the operator would return for the same window.

    ``poke``, ``reschedule`` and ``deferrable`` give the same result, the same XCom and the same errors. A poke costs
    one call as long as nothing is found. Throttling and other retryable errors do not end the wait. Any other error
    fails the task at once. ``soft_fail`` skips the task only if it times out and its last poke was answered.

    :param datastore_id: the data store's id, 32 characters of 0-9 and a-z. (templated)
    :param min_image_sets: how many image sets to wait for.
    :param quiet_period: wait until none of the image sets found has changed for this long, by its ``updatedAt``:
        ``timedelta`` or seconds, at most 366 days. DICOM routers decide in this way that a study is complete. It
        cannot know what has not been sent yet.
    :param open_ended: let the window's end follow the clock, instead of the run's own end.
    :param time_field: the timestamp that the window is about: ``"createdAt"`` for new image sets, ``"updatedAt"``
        for new and changed ones, ``None`` for no window.
    :param window_start: start of the window, instead of the run's own: aware datetime, or ISO 8601 string with an
        offset. An empty string means not given. (templated)
    :param window_end: end of the window, which does not belong to it; as ``window_start``. (templated)
    :param lookback: moves the window's start back, for image sets that became searchable late: ``timedelta`` or
        seconds.
    :param search_criteria: AWS's ``searchCriteria`` structure, or its JSON text. Beside a window it may have one
        filter, and none on time. Airflow shows ``***`` for its values. (templated)
    :param match: conditions that the service cannot filter on, checked in the task, as
        ``{"DICOMSeriesModality": ["CT", "MR"]}``. Airflow shows ``***`` for its values. (templated)
    :param max_workers: the most calls at a time when the result is read.
    :param pagination_config: boto3's ``MaxItems``, ``PageSize`` (1 to 50) and ``StartingToken`` for reading the
        result. (templated)
    :param dicom_tags: names of the DICOM tags to keep in each record, or ``"all"``; none by default. (templated)
    :param batch_size: return lists of this many records, to map a task over batches.
    :param max_xcom_items: the most image sets that may go to XCom; more are an error, and nothing is cut off.
    :param s3_uri: write a dataset under this ``s3://bucket/prefix/``, and return its summary. (templated)
    :param s3_conn_id: the AWS connection for S3; default ``aws_conn_id``. (templated)
    :param s3_extra_args: arguments for each object, as ``{"ServerSideEncryption": "aws:kms"}``; see amazon's
        ``S3Hook``. Shown with ``***`` for their values, because one may be an encryption key. (templated)
    :param file_format: ``"jsonl"`` (gzipped JSON Lines), or ``"parquet"``, which needs the extra of that name.
    :param rows_per_file: records in each part of the dataset but the last.
    :param deferrable: wait in the triggerer; default ``[operators] default_deferrable``.
    :param aws_conn_id: the Airflow connection for AWS. (templated)
    :param region_name: AWS region; default that of the connection. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: settings for botocore's client, merged with the connection's ``config_kwargs``.

    Further arguments, such as ``poke_interval``, ``timeout``, ``mode`` and ``soft_fail``, are those of every sensor.

    :return: as the operator.
    :raises InvalidArgumentError: for an argument that cannot work; when the DAG is parsed, or for a template field when
        the task runs.
    :raises HealthImagingError: when the task runs; see :mod:`airflow_provider_healthimaging.exceptions`.
    """

    def __init__(
        self,
        *,
        datastore_id: str,
        min_image_sets: int = 1,
        quiet_period: timedelta | float | None = None,
        open_ended: bool = False,
        time_field: str | None = "createdAt",
        window_start: datetime | str | None = None,
        window_end: datetime | str | None = None,
        lookback: timedelta | float = 0,
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
            deferrable=deferrable,
            **kwargs,
        )
        self._resolved: ResolvedSearch | None = None
        with self.argument_checks():
            self.reject_templates(min_image_sets=min_image_sets, quiet_period=quiet_period, open_ended=open_ended)
            self.min_image_sets = check_whole_number("min_image_sets", min_image_sets)
            self.quiet_period = (
                None if quiet_period is None else parse_duration("quiet_period", quiet_period, MAX_DELAY)
            )
            self.open_ended = parse_bool("open_ended", open_ended)
            if self.open_ended and time_field is None:
                raise InvalidArgumentError(
                    "open_ended=True needs a window. Set time_field to 'createdAt' or 'updatedAt'."
                )
            check_config_arguments(botocore_config, json_only=self.deferrable)

    @fail_without_retry
    def execute(self, context: Context) -> Any:  # what the base class returns
        """Poke until the image sets are there, in the way that the mode says."""
        self._resolved = None
        self.parse_request()
        self.parse_output()
        if self.open_ended and parse_edge(self.window_end, "window_end"):
            raise InvalidArgumentError("open_ended=True moves the window's end. Remove window_end.")
        return super().execute(context)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look for the image sets once; if they are there, search them, and hand on the result."""
        output = self.parse_output()
        resolved = self.resolve(context)
        self.unanswered = None
        try:
            if not self._is_ready(resolved.request):
                self.log.info("Not there yet: %s.", self._describe(resolved.request))
                return False
            self.log_window(resolved)
            delivery = self.search(context, resolved, output)
        except HealthImagingError as error:
            if not error.retryable:
                raise
            self.unanswered = str(error)
            self.log.warning("Poke failed with a retryable error; trying again: %s", error)
            return False
        found, changed, quiet_since = delivery.image_sets, delivery.stats.changed, self._quiet_since()
        if not confirms_ready(found, changed, min_image_sets=self.min_image_sets, quiet_since=quiet_since):
            described = self._describe(resolved.request)
            self.log.info("Image sets changed during the search; still waiting for %s.", described)
            return False
        return PokeReturnValue(is_done=True, xcom_value=publish_result(self, context, delivery))

    def restore(self, event: Mapping[str, Any]) -> None:
        """Go on with the search from before the deferral."""
        if kept := event.get("resolved_search"):
            self._resolved = ResolvedSearch.restore(kept)

    def resolve(self, context: Context, *, window_end: str | None = None) -> ResolvedSearch:
        """Return what to search for now: the search from before a deferral, or that of the arguments and the run."""
        if not self.open_ended:
            return self._resolved or super().resolve(context, window_end=window_end)
        resolved = self._resolved
        if resolved is None:
            resolved = super().resolve(context, window_end=OPEN_END)
            resolved = replace(resolved, rule=f"{resolved.rule}; open-ended")
        start = cast("TimeWindow", resolved.request.window).start
        request = resolved.request.with_window(window_ending_now(start, datetime.now(UTC)))
        return replace(resolved, request=request)

    def _is_ready(self, request: SearchRequest) -> bool:
        # The check reads as little as possible, so one worker does it, and MaxItems must not end it early.
        hits = self.hook.search(replace(request, max_workers=1, pagination_config={}))
        return is_ready(hits, min_image_sets=self.min_image_sets, quiet_since=self._quiet_since())

    def _quiet_since(self) -> datetime | None:
        return None if self.quiet_period is None else datetime.now(UTC) - self.quiet_period

    def describe_wait(self, context: Context) -> str:
        """Return what the sensor waits for."""
        return self._describe(self.resolve(context).request)

    def _describe(self, request: SearchRequest) -> str:
        quiet = "" if self.quiet_period is None else f", unchanged for {self.quiet_period}"
        window = request.window
        within = f" with {self.time_field} in [{', '.join(window.to_dict().values())})" if window else ""
        return f"{self.min_image_sets} image set(s){within}{quiet}, in data store {request.datastore_id}"

    def make_trigger(self, context: Context, deadline: datetime) -> HealthImagingImageSetTrigger:
        """Return the trigger that searches until the image sets are there."""
        resolved = self.resolve(context)
        request, window = resolved.request, resolved.request.window
        return HealthImagingImageSetTrigger(
            datastore_id=request.datastore_id,
            window_start=format_utc(window.start) if window else None,
            window_end=format_utc(window.end) if window and not self.open_ended else None,
            time_field=request.time_field,
            search_criteria=to_json(request.search_criteria),
            match=to_json(request.match),
            min_image_sets=self.min_image_sets,
            quiet_period=self.quiet_period,
            poke_interval=self.poke_interval,
            deadline=format_utc(deadline),
            started=self.started.isoformat(),
            exponential_backoff=self.exponential_backoff,
            max_wait=self.max_wait,
            resolved_search=resolved.keep(),
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            botocore_config=self.botocore_config,
        )
