"""The operator: search for the image sets of a DAG run's window."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException, conf

from airflow_provider_healthimaging.search.validation import LONGEST_WAIT, check_timedelta
from airflow_provider_healthimaging.task.aws_base import AwsBaseOperator
from airflow_provider_healthimaging.task.delivery import announce, deliver
from airflow_provider_healthimaging.exceptions import InvalidArgumentError, NoImageSetsError
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.search.image_set import unknown_name
from airflow_provider_healthimaging.links.healthimaging import HealthImagingDatastoreLink
from airflow_provider_healthimaging.task.base import ImageSetSearchTask
from airflow_provider_healthimaging.task.failure import failing_at_once
from airflow_provider_healthimaging.window import TimeWindow, isoformat

try:
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger
except ImportError:
    # Airflow 2
    from airflow.triggers.temporal import DateTimeTrigger  # type: ignore[import-not-found,no-redef]

ON_EMPTY = ("succeed", "skip", "fail")


class HealthImagingSearchImageSetsOperator(ImageSetSearchTask, AwsBaseOperator[HealthImagingHook]):
    """Find the image sets that a DAG run owns in an AWS HealthImaging data store, each exactly once.

    .. seealso::
        - `SearchImageSets <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_SearchImageSets.html>`__

    The window is ``[start, end)`` in UTC and comes from the run: its data interval, or what the schedule's last
    complete period is where Airflow gives an interval of no length. Two runs never share an image set, and none
    falls between them.

    :param datastore_id: the data store's id, 32 characters of 0-9 and a-z. (templated)
    :param time_field: the timestamp that the window is about: ``"createdAt"`` for new image sets, ``"updatedAt"``
        for new and changed ones, ``None`` for no window.
    :param window_start: start of the window, in place of the run's own: aware datetime or ISO 8601 string with an
        offset; an empty string means not given. (templated)
    :param window_end: end of the window, which does not belong to it; as ``window_start``. (templated)
    :param lookback: moves the window's start back, for image sets that became searchable late. It overlaps the
        previous run's window, so what comes after must be idempotent.
    :param delay: how long after the window's end the search may first run, since nothing promises that a new image
        set can be searched at once. The task sleeps, or defers, until then, a year at most.
    :param deferrable: defer instead of sleeping; default ``[operators] default_deferrable``.
    :param search_criteria: AWS's ``searchCriteria`` structure, or its JSON text; beside a window at most one filter,
        not on time. Shown with ``***`` for its values. (templated)
    :param match: what each hit must have, decided here and not by the service, as
        ``{"DICOMSeriesModality": ["CT", "MR"]}``. Shown with ``***`` for its values. (templated)
    :param max_workers: the most calls at a time, once the first page has shown that there is more. Several tasks share
        the account's quota, 25 calls a second unless raised: see docs/scaling.md.
    :param pagination_config: boto3's ``MaxItems``, ``PageSize`` (1 to 50) and ``StartingToken``. The token to resume
        from is pushed to XCom as ``next_token``. (templated)
    :param dicom_tags: names of the DICOM tags to keep in each record, or ``"all"``. None by default: most are patient
        data, and XCom, the UI, the REST API and S3 keep what they are given. (templated)
    :param batch_size: hand on lists of this many records, for mapping over batches.
    :param max_xcom_items: more image sets than this are an error, never cut off.
    :param s3_uri: write a dataset under this ``s3://bucket/prefix/`` and return its summary. (templated)
    :param s3_conn_id: AWS connection for S3; default ``aws_conn_id``.
    :param s3_extra_args: arguments for each object, as ``{"ServerSideEncryption": "aws:kms"}``; see amazon's
        ``S3Hook``.
    :param file_format: ``"jsonl"`` (gzipped JSON Lines), or ``"parquet"``, which needs the extra of that name.
    :param rows_per_file: records in each part of the dataset.
    :param on_empty: ``"succeed"``, ``"skip"`` or ``"fail"`` when nothing is found.
    :param aws_conn_id: the Airflow connection used for AWS credentials.
    :param region_name: AWS region; default that of the connection.
    :param verify: whether to verify SSL certificates.
    :param botocore_config: settings for botocore's client, merged with the connection's ``config_kwargs``.

    :return: records ``{"datastoreId", "imageSetId", "version", "createdAt", "updatedAt", "isPrimary"}``, with
        ``DICOMTags`` where asked for; or the dataset's ``{"s3_uri", "manifest", "image_sets", "parts"}``. The XCom
        ``summary`` has the window, the rule that gave it, counts and calls.
    :raises InvalidArgumentError: when the DAG is parsed, for arguments that cannot work.
    :raises HealthImagingTaskFailed: when run, for what no retry will cure.
    """

    aws_hook_class = HealthImagingHook
    operator_extra_links = (HealthImagingDatastoreLink(),)
    ui_color = "#d5e8e4"

    def __init__(
        self,
        *,
        delay: timedelta = timedelta(seconds=60),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        on_empty: str = "succeed",
        **kwargs: Any,
    ) -> None:
        """Hold the arguments, and check those that are no templates."""
        super().__init__(**kwargs)
        self.delay = check_timedelta("delay", delay, LONGEST_WAIT)
        self.deferrable = deferrable
        if on_empty not in ON_EMPTY:
            raise unknown_name("on_empty", on_empty, ON_EMPTY)
        self.on_empty = on_empty

    @failing_at_once
    def execute(self, context: Any) -> Any:
        """Wait until the window may be searched, search it, and hand on what was found."""
        self.check_arguments(rendered=True)
        owned = self.own_window(context)
        self.tell_window(owned)
        if owned:
            self._wait_until_over(owned.window)
        delivery = deliver(self, context, owned)
        result = announce(self, context, delivery)
        if not delivery.image_sets:
            self._on_empty()
        return result

    def execute_complete(self, context: Any, event: Any = None) -> Any:  # noqa: ARG002 - Airflow gives it
        """Go on after the delay was waited out by the triggerer."""
        return self.execute(context)

    def _wait_until_over(self, window: TimeWindow) -> None:
        now = datetime.now(UTC)
        if window.end - now > LONGEST_WAIT:
            raise InvalidArgumentError(
                f"The window {window} ends more than a year from now, and is searched after its end. Give an earlier "
                "window_end, or use HealthImagingImageSetSensor with open_ended=True, whose window ends now."
            )
        ready = window.end + self.delay
        left = (ready - now).total_seconds()
        if left <= 0:
            return
        self.log.info("Waiting until %s: the window's end and a delay of %s.", isoformat(ready), self.delay)
        if self.deferrable:
            self.defer(trigger=DateTimeTrigger(moment=ready), method_name="execute_complete")
        time.sleep(left)

    def _on_empty(self) -> None:
        if self.on_empty == "skip":
            raise AirflowSkipException("No image set was found, and on_empty='skip'.")
        if self.on_empty == "fail":
            raise NoImageSetsError(
                "No image set was found, and on_empty='fail'. Check the window in the log above and the filters; "
                "a retry searches the same window again."
            )
