"""What every task that searches has in common: its arguments, its checks, its window, and its result.

Template fields are checked when the task runs, because Airflow renders them then. All other arguments are checked when
the DAG is parsed. Both checks come before the first call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.output.destination import OutputRequest
from airflow_provider_healthimaging.search.image_set import parse_dicom_tags
from airflow_provider_healthimaging.search.request import SearchRequest
from airflow_provider_healthimaging.search.validation import check_time_field, check_whole_number, parse_duration
from airflow_provider_healthimaging.task.delivery import Delivery, deliver
from airflow_provider_healthimaging.task.private_fields import MaskedField
from airflow_provider_healthimaging.task.record_task import RecordTask
from airflow_provider_healthimaging.task.resolved_search import ResolvedSearch
from airflow_provider_healthimaging.task.run_window import parse_edge, resolve_run_window

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments
    from airflow_provider_healthimaging.output.dataset import DatasetSummary


class SearchTask(RecordTask):
    """The arguments that operator and sensor share. Their meaning is documented at the operator."""

    search_criteria = MaskedField()
    match = MaskedField()
    skip_repeated_events = False
    private_fields = ("search_criteria", "match", "s3_extra_args")
    undefined_name_advice = (
        "In Airflow 3, runs of assets and partitions, and runs that were started without a date, have no "
        "data_interval_start, data_interval_end and logical_date: leave window_start and window_end out, and the task "
        "searches the run's own window."
    )
    template_fields: Sequence[str] = (
        "aws_conn_id",
        "datastore_id",
        "dicom_tags",
        "match",
        "pagination_config",
        "region_name",
        "s3_conn_id",
        "s3_extra_args",
        "s3_uri",
        "search_criteria",
        "verify",
        "window_end",
        "window_start",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "match": "json",
        "pagination_config": "json",
        "s3_extra_args": "json",
        "search_criteria": "json",
    }

    def __init__(
        self,
        *,
        datastore_id: str,
        time_field: str | None,
        window_start: datetime | str | None,
        window_end: datetime | str | None,
        lookback: timedelta | float,
        search_criteria: Mapping[str, object] | str | None,
        match: Mapping[str, object] | str | None,
        max_workers: int,
        pagination_config: Mapping[str, object] | str | None,
        dicom_tags: Sequence[str] | str | None,
        batch_size: int | None,
        max_xcom_items: int,
        s3_uri: str | None,
        s3_conn_id: str | None,
        s3_extra_args: Mapping[str, object] | str | None,
        file_format: str,
        rows_per_file: int,
        aws_conn_id: str | None,
        region_name: str | None,
        verify: bool | str | None,
        botocore_config: ConfigArguments | None,
        **kwargs: Any,  # the arguments of Airflow's base class
    ) -> None:
        """Hold the template fields as they are, and check the other arguments."""
        super().__init__(
            datastore_id=datastore_id,
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
        self.window_start = window_start
        self.window_end = window_end
        self.search_criteria = search_criteria
        self.match = match
        self.pagination_config = pagination_config
        self.dicom_tags = dicom_tags
        self.dataset: DatasetSummary | None = None
        with self.argument_checks():
            self.reject_templates(
                time_field=time_field,
                lookback=lookback,
                max_workers=max_workers,
            )
            self.time_field = check_time_field(time_field)
            self.lookback = parse_duration("lookback", lookback)
            self.max_workers = check_whole_number("max_workers", max_workers)

    def parse_request(self) -> SearchRequest:
        """Return what to search for, without the window; all template fields must be rendered."""
        self.check_private_fields_rendered()
        self.check_connection()
        edges = parse_edge(self.window_start, "window_start"), parse_edge(self.window_end, "window_end")
        if self.time_field is None and any(edges):
            raise InvalidArgumentError(
                "window_start and window_end need a time_field: 'createdAt' or 'updatedAt', not None."
            )
        return SearchRequest.parse(
            self.datastore_id,
            time_field=self.time_field,
            search_criteria=self.search_criteria.value,
            match=self.match.value,
            pagination_config=self.pagination_config,
            max_workers=self.max_workers,
        )

    def parse_output(self) -> OutputRequest:
        """Return where the result goes; all template fields must be rendered."""
        return self.parse_output_arguments(dicom_tags=self.dicom_tags)

    def resolve(self, context: Context, *, window_end: str | None = None) -> ResolvedSearch:
        """Return what this run searches for; all template fields must be rendered.

        :param window_end: an end to use instead of the one given or owned.
        """
        request = self.parse_request()
        if self.time_field is None:
            return ResolvedSearch(request, rule=None)
        resolved = resolve_run_window(
            context,
            window_start=self.window_start,
            window_end=window_end or self.window_end,
            datastore_id=self.datastore_id,
            skip_repeated_events=self.skip_repeated_events,
        )
        return ResolvedSearch(request.with_window(resolved.window.extended_back(self.lookback)), resolved.rule)

    def log_window(self, resolved: ResolvedSearch) -> None:
        """Log which window is searched, and by which rule."""
        if window := resolved.request.window:
            self.log.info("Window [%s, %s), by %s.", *window.to_dict().values(), resolved.rule)

    def search(self, context: Context, resolved: ResolvedSearch, output: OutputRequest) -> Delivery:
        """Search, and put the result where ``output`` says."""
        limit = self.mapping_limit(context, output)
        self.persist_datastore_link(context)
        delivery = deliver(self.hook, resolved.request, output, rule=resolved.rule, limit=limit, log=self.log)
        self.dataset = delivery.dataset
        return delivery

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:  # noqa: ARG002 - Airflow's
        """Return what was read and written; Airflow's OpenLineage provider asks for it."""
        from airflow_provider_healthimaging.output.lineage import dataset_lineage

        tags = parse_dicom_tags(self.dicom_tags)
        return dataset_lineage(self.datastore_id, self.hook.conn_region_name, self.dataset, tags)
