"""What every task that searches has in common: its arguments, and their checks.

Airflow renders templates between the making of a task and its run. So arguments are checked twice: those that are
no templates when the DAG is parsed, and all of them when the task runs. Both come before any call.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from jinja2.exceptions import UndefinedError

from airflow_provider_healthimaging.search.validation import (
    check_datastore_id,
    check_pagination_config,
    check_timedelta,
    check_whole_number,
)
from airflow_provider_healthimaging.task.aws_base import aws_template_fields
from airflow_provider_healthimaging.search.criteria import check_room_for_window, check_time_field, combine, parse_criteria
from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.output.file_formats import check_can_be_written, check_file_format
from airflow_provider_healthimaging.search.image_set import chosen_tags, nearest_name, unknown_name
from airflow_provider_healthimaging.search.match import parse_match
from airflow_provider_healthimaging.task.private_fields import PrivateFields
from airflow_provider_healthimaging.task.run_window import OwnedWindow, parse_edge, resolve_window
from airflow_provider_healthimaging.output.dataset import parse_s3_uri
from airflow_provider_healthimaging.task.failure import HealthImagingTaskFailed
from airflow_provider_healthimaging.task.templates import is_template
from airflow_provider_healthimaging.window import TimeWindow


class ImageSetSearchTask(PrivateFields):
    """The arguments of a search; operator and sensor inherit them before amazon's base class.

    Their meaning is described where users read it: at the operator.
    """

    template_fields: Sequence[str] = aws_template_fields(
        "datastore_id",
        "dicom_tags",
        "match",
        "pagination_config",
        "s3_uri",
        "search_criteria",
        "window_end",
        "window_start",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "match": "json",
        "pagination_config": "json",
        "search_criteria": "json",
    }

    def __init__(
        self,
        *,
        datastore_id: str,
        time_field: str | None = "createdAt",
        window_start: datetime | str | None = None,
        window_end: datetime | str | None = None,
        lookback: timedelta = timedelta(0),
        search_criteria: dict[str, Any] | str | None = None,
        match: dict[str, Any] | str | None = None,
        max_workers: int = 4,
        pagination_config: dict[str, Any] | str | None = None,
        dicom_tags: Sequence[str] | str | None = None,
        batch_size: int | None = None,
        max_xcom_items: int = 1000,
        s3_uri: str | None = None,
        s3_conn_id: str | None = None,
        s3_extra_args: dict[str, Any] | None = None,
        file_format: str = "jsonl",
        rows_per_file: int = 50_000,
        **kwargs: Any,
    ) -> None:
        """Hold the arguments, and check those that are no templates; what was mapped over, the run checks.

        Airflow makes mapped tasks when they run: an error from here would take their retries.
        """
        self._check_names(kwargs)
        super().__init__(**kwargs)
        self.datastore_id = datastore_id
        self.time_field = time_field
        self.window_start = window_start
        self.window_end = window_end
        self.lookback = lookback
        self.search_criteria = search_criteria
        self.match = match
        self.max_workers = max_workers
        self.pagination_config = pagination_config
        self.dicom_tags = dicom_tags
        self.batch_size = batch_size
        self.max_xcom_items = max_xcom_items
        self.s3_uri = s3_uri
        self.s3_conn_id = s3_conn_id
        self.s3_extra_args = s3_extra_args
        self.file_format = file_format
        self.rows_per_file = rows_per_file
        self.dataset: dict[str, Any] | None = None
        if not getattr(self, "_BaseOperator__from_mapped", False):
            self.check_arguments(rendered=False)

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render as Airflow does, and say what to do about a name that is not there."""
        undefined = None
        try:
            super().render_template_fields(context, jinja_env)
        except UndefinedError as error:
            undefined = error.message
        if undefined:
            raise HealthImagingTaskFailed(
                f"A template of this task cannot be rendered: {undefined}. Correct the name; runs of assets and "
                "partitions have no data_interval_start, data_interval_end and logical_date in Airflow 3: leave "
                "window_start and window_end out, and the run's own window is searched."
            )

    def check_arguments(self, *, rendered: bool) -> None:
        """Raise :class:`InvalidArgumentError` for the first argument that cannot work.

        :param rendered: whether templates have become values.
        """
        for given, check in self._checks():
            if rendered or not is_template(given):
                check(given)
        if rendered and self.s3_uri:
            check_can_be_written(self.file_format)

    def _checks(self) -> Iterator[tuple[Any, Any]]:
        yield self.time_field, check_time_field
        yield self.datastore_id, check_datastore_id
        yield self.search_criteria.value, self._check_criteria
        yield self.match.value, parse_match
        yield self.pagination_config, check_pagination_config
        yield self.dicom_tags, chosen_tags
        yield (self.window_start, self.window_end), self._check_edges
        yield self.s3_uri, self._check_output
        yield 1 if self.batch_size is None else self.batch_size, partial(check_whole_number, "batch_size")
        yield self.lookback, partial(check_timedelta, "lookback")
        yield self.max_workers, partial(check_whole_number, "max_workers")
        yield self.file_format, check_file_format
        yield self.max_xcom_items, partial(check_whole_number, "max_xcom_items")
        yield self.rows_per_file, partial(check_whole_number, "rows_per_file")

    def _check_criteria(self, value: Any) -> None:
        criteria = parse_criteria(value)
        if self.time_field is None:
            combine(criteria, None, None)
        else:
            check_room_for_window(criteria, self.time_field)

    def _check_edges(self, edges: tuple[Any, Any]) -> None:
        start, end = parse_edge(edges[0], "window_start"), parse_edge(edges[1], "window_end")
        if self.time_field is None and (start or end):
            raise InvalidArgumentError(
                "window_start and window_end need a time_field: 'createdAt' or 'updatedAt', not None."
            )
        if start and end:
            TimeWindow(start, end)

    def _check_output(self, s3_uri: Any) -> None:
        if s3_uri:
            parse_s3_uri(s3_uri)
            if self.batch_size is not None:
                raise InvalidArgumentError("batch_size is for XCom, and s3_uri writes to S3. Give one of them.")

    def own_window(self, context: Any, *, window_end: str | None = None) -> OwnedWindow | None:
        """Return the window that this run searches, ``lookback`` included; ``None`` without a ``time_field``.

        :param window_end: an end in place of the one given or owned.
        """
        if self.time_field is None:
            return None
        owned = resolve_window(
            context,
            window_start=self.window_start,
            window_end=window_end or self.window_end,
            datastore_id=self.datastore_id,
        )
        return OwnedWindow(owned.window.lengthened(self.lookback), owned.rule)

    def tell_window(self, owned: OwnedWindow | None) -> None:
        """Log which window is searched, and by which rule."""
        if owned:
            self.log.info("Window [%s, %s), by %s.", *owned.window.to_dict().values(), owned.rule)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 - Airflow gives it
        """Tell OpenLineage what was read and written; its provider asks."""
        from airflow_provider_healthimaging.output.lineage import dataset_lineage

        return dataset_lineage(self, self.dataset)

    @classmethod
    def _check_names(cls, kwargs: dict[str, Any]) -> None:
        """Find misspelt arguments before Airflow does, whose message shows their values."""
        ours, airflows = set[str](), set[str]()
        for ancestor in cls.__mro__:
            names = ours if ancestor.__module__.startswith(__package__) else airflows
            names.update(_named_arguments(ancestor))
        for name in kwargs:
            if name not in ours | airflows and not name.startswith("_airflow"):
                known = ours if nearest_name(name, ours | airflows) in ours else ours | airflows
                raise unknown_name(f"argument of {cls.__name__}", name, known)


def _named_arguments(kind: type) -> set[str]:
    """Return what a class's own ``__init__`` takes by name; a logger's ``context`` in Airflow 2 is no argument."""
    taken = inspect.signature(vars(kind).get("__init__", object.__init__)).parameters.values()
    named = {each.name for each in taken if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}}
    return named - {"self", "context"}
