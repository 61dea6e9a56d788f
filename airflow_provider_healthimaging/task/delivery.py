"""Runs a search, and hands on what it finds: to XCom as a list, or to S3 as a dataset, and a summary with both."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import conf

from airflow_provider_healthimaging.aws.error_table import S3
from airflow_provider_healthimaging.aws.errors import BOTOCORE_ERRORS, translate_errors
from airflow_provider_healthimaging.exceptions import TooManyImageSetsError
from airflow_provider_healthimaging.hooks.clients import translate_client_errors
from airflow_provider_healthimaging.output.dataset import DatasetSummary, ManifestMetadata, write_search
from airflow_provider_healthimaging.output.records import Record, to_records
from airflow_provider_healthimaging.search.pages import Log, ScanStats

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context
    from pydantic import JsonValue

    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
    from airflow_provider_healthimaging.output.destination import OutputRequest, S3Destination
    from airflow_provider_healthimaging.search.image_set import SearchHit
    from airflow_provider_healthimaging.search.request import SearchRequest

Result = list[Record] | list[list[Record]] | DatasetSummary
"""What a task returns."""

MIN_READ_AHEAD = 500
"""Image sets that each worker may read ahead even if a part is smaller. Fewer would cost more calls."""


class SearchSummary(ManifestMetadata):
    """The XCom ``summary``: what was searched, counts, and where the result is. It holds no search value."""

    rule: str | None
    filters: list[str]
    match: list[str]
    read: int
    image_sets: int
    pages: int
    calls: int
    seconds: float
    output: str


@dataclass(frozen=True)
class Delivery:
    """What was found, and where it is.

    :param result: the task's result.
    :param summary: for XCom and for the task's outlets.
    :param stats: the counts of the search.
    :param dataset: the dataset that was written, if one was.
    """

    result: Result
    summary: SearchSummary
    stats: ScanStats
    dataset: DatasetSummary | None

    @property
    def image_sets(self) -> int:
        """How many image sets were found."""
        return self.summary["image_sets"]


def deliver(
    hook: HealthImagingHook,
    request: SearchRequest,
    output: OutputRequest,
    *,
    rule: str | None,
    limit: int | None,
    log: Log,
) -> Delivery:
    """Run the search, and put its result where ``output`` says; :func:`publish_result` then pushes the summary.

    :param rule: the rule that gave the window, for the summary.
    :param limit: the most items that a task can be mapped over, if one is mapped over the result.
    """
    stats = ScanStats()
    started = time.monotonic()
    metadata: ManifestMetadata = {
        "datastore_id": request.datastore_id,
        "time_field": request.time_field,
        "window": request.window.to_dict() if request.window else None,
    }
    _log_search(request, output, log)
    result: Result
    dataset: DatasetSummary | None = None
    if output.s3:
        result = dataset = _write_to_s3(hook, request, output.s3, metadata, stats, tags=output.dicom_tags, log=log)
        image_sets, place = dataset["image_sets"], dataset["s3_uri"]
    else:
        with closing(hook.search(request, stats=stats)) as hits:
            records = to_records(hits, request.datastore_id, output.dicom_tags, log)
            result = collect_for_xcom(records, output, limit, fewer="search a shorter window")
        image_sets, place = stats.image_sets, "XCom"
    summary: SearchSummary = {
        **metadata,
        "rule": rule,
        "filters": request.filtered_attributes,
        "match": request.matched_fields,
        "read": stats.read,
        "image_sets": image_sets,
        "pages": stats.pages,
        "calls": stats.calls,
        "seconds": round(time.monotonic() - started, 3),
        "output": place,
    }
    return Delivery(result, summary, stats, dataset)


def publish_result(task: BaseOperator, context: Context, delivery: Delivery) -> Result:
    """Push the summary to XCom and to the task's outlets, log it, and return the task's result."""
    summary, stats = delivery.summary, delivery.stats
    publish_summary(task, context, summary)
    # Airflow 3.0 rejects an XCom of None.
    if task.do_xcom_push and stats.next_token is not None:
        context["ti"].xcom_push(key="next_token", value=stats.next_token)
    task.log.info(
        "Found %s image sets (read: %s, calls: %s, seconds: %s). Result: %s.",
        *(summary["image_sets"], summary["read"], summary["calls"], summary["seconds"], summary["output"]),
    )
    return delivery.result


def publish_summary(task: BaseOperator, context: Context, summary: Mapping[str, Any]) -> None:
    """Push a summary to XCom and to the task's outlets."""
    for outlet in task.outlets:
        _tell_outlet(task, context, outlet, summary)
    if task.do_xcom_push:
        context["ti"].xcom_push(key="summary", value=dict(summary))


def _tell_outlet(task: BaseOperator, context: Context, outlet: Any, summary: Mapping[str, Any]) -> None:
    """Put the summary into the event of an outlet. The result is there already, so a failure here is only logged."""
    try:
        context["outlet_events"][outlet].extra = cast("dict[str, JsonValue]", dict(summary))
    except Exception as error:  # noqa: BLE001 - Airflow takes outlets of any type, and resolves references with a call
        # Of an outlet that is no asset, such as a lineage entity, Airflow keeps no events.
        task.log.info("The outlet of type %s gets no summary (%s).", type(outlet).__name__, type(error).__name__)


def mapping_limit(task: BaseOperator, context: Context) -> int | None:
    """Return over how many items a task can be mapped, or ``None`` if no task is mapped over the result of this one."""
    map_index: int | None = context["ti"].map_index if _is_mapped_over(task) else None
    is_single = map_index is not None and map_index < 0
    return conf.getint("core", "max_map_length", fallback=1024) if is_single else None


def _is_mapped_over(task: BaseOperator) -> bool:
    has_dag: bool = task.has_dag()  # type: ignore[no-untyped-call]
    return has_dag and next(iter(task.iter_mapped_dependants()), None) is not None


def _log_search(request: SearchRequest, output: OutputRequest, log: Log) -> None:
    log.info(
        "Searching data store %s by %s; filters on %s; match on %s.",
        request.datastore_id,
        request.time_field or "its criteria alone",
        ", ".join(request.filtered_attributes) or "nothing",
        ", ".join(request.matched_fields) or "nothing",
    )
    if output.dicom_tags:
        log.info(
            "DICOM tags were asked for. They may be patient data, and will be kept in %s: %s.",
            output.s3.uri if output.s3 else "XCom, where Airflow's database, UI and REST API show them",
            ", ".join(output.dicom_tags),
        )


def collect_for_xcom(
    records: Iterator[Record], output: OutputRequest, limit: int | None, *, fewer: str
) -> list[Record] | list[list[Record]]:
    """Return the records as a list, or in batches.

    :param limit: the most items that a task can be mapped over, if one is mapped over the result.
    :param fewer: how to get fewer image sets, for the error.
    :raises TooManyImageSetsError: if there are more than XCom or the mapped task may take.
    """
    maximum, size = output.max_xcom_items, output.batch_size
    collected = list(itertools.islice(records, maximum))
    if next(records, None) is not None:
        raise TooManyImageSetsError(
            f"More than max_xcom_items={maximum} image sets were found, and XCom is not made for that. Set s3_uri to "
            f"write them to S3, or {fewer}, or raise max_xcom_items (mapped tasks: at most "
            "[core] max_map_length, 1024 unless raised)."
        )
    result = collected if size is None else [collected[i : i + size] for i in range(0, len(collected), size)]
    if limit and len(result) > limit:
        raise TooManyImageSetsError(
            f"{len(result)} items were found, but a task can be mapped over at most {limit} ([core] "
            f"max_map_length). Set batch_size to map over batches, or s3_uri to write them to S3, or {fewer}."
        )
    return result


def _write_to_s3(
    hook: HealthImagingHook,
    request: SearchRequest,
    destination: S3Destination,
    metadata: ManifestMetadata,
    stats: ScanStats,
    *,
    tags: tuple[str, ...],
    log: Log,
) -> DatasetSummary:
    def search(rest: SearchRequest) -> Generator[SearchHit]:
        # A worker that dies loses what it read ahead, so that should not be much more than a part.
        return hook.search(rest, read_ahead=max(destination.rows_per_file, MIN_READ_AHEAD), stats=stats)

    region = hook.conn_region_name

    def write(s3_hook: S3Hook) -> DatasetSummary:
        return write_search(
            s3_hook, request, destination, tags=tags, metadata=metadata, search=search, region=region, log=log
        )

    return write_dataset(destination, write)


def write_dataset(destination: S3Destination, write: Callable[[S3Hook], DatasetSummary]) -> DatasetSummary:
    """Write a dataset with a hook for its destination. Errors of S3 name ``s3_uri``."""
    hook = S3Hook(aws_conn_id=destination.conn_id, extra_args=dict(destination.extra_args), verify=destination.verify)
    location = f"s3_uri {destination.uri}, connection {destination.conn_id!r}"
    translate_client_errors(hook.get_conn, location, S3)
    return translate_errors(lambda: write(hook), location, S3, BOTOCORE_ERRORS)
