"""What was found, handed on: to XCom as a list, to S3 as a dataset, and the summary that goes with either."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import conf

from airflow_provider_healthimaging.output.checkpoint import digest
from airflow_provider_healthimaging.search.criteria import filter_attributes, parse_criteria
from airflow_provider_healthimaging.aws.error_table import S3
from airflow_provider_healthimaging.exceptions import InvalidArgumentError, TooManyImageSetsError
from airflow_provider_healthimaging.output.file_formats import file_format
from airflow_provider_healthimaging.hooks.healthimaging import stays_in_place
from airflow_provider_healthimaging.search.image_set import chosen_tags, to_record
from airflow_provider_healthimaging.links.healthimaging import HealthImagingDatastoreLink
from airflow_provider_healthimaging.search.match import parse_match
from airflow_provider_healthimaging.output.dataset import S3Dataset, raise_what_was_not_deleted
from airflow_provider_healthimaging.search.pages import ScanStats
from airflow_provider_healthimaging.aws.errors import FAULTS, explaining

if TYPE_CHECKING:
    from airflow_provider_healthimaging.search.image_set import Record, Summary
    from airflow_provider_healthimaging.task.run_window import OwnedWindow
    from airflow_provider_healthimaging.window import TimeWindow

LEAST_READ_AHEAD = 500
"""Image sets for each worker that are read ahead of however small a part: fewer would cost calls."""


@dataclass(frozen=True)
class Delivery:
    """What was found.

    :param result: the task's: records, batches of them, or the dataset's summary.
    :param summary: what was searched, and counts.
    :param stats: what the reading says.
    """

    result: Any
    summary: dict[str, Any]
    stats: ScanStats

    @property
    def image_sets(self) -> int:
        """How many were found."""
        return int(self.summary["image_sets"])


def deliver(task: Any, context: Any, owned: OwnedWindow | None) -> Delivery:
    """Search for ``task``, and put what is found where its arguments say; :func:`announce` tells of it.

    :param task: an :class:`~airflow_provider_healthimaging.task.base.ImageSetSearchTask`, rendered.
    :param owned: the window to search, or ``None`` for the criteria alone.
    """
    window = owned.window if owned else None
    stats = ScanStats()
    started = time.monotonic()
    about = {
        "datastore_id": task.datastore_id,
        "time_field": task.time_field,
        "window": window.to_dict() if window else None,
    }
    tags = chosen_tags(task.dicom_tags)
    most_mapped = _most_mapped(task, context)
    if task.s3_uri and most_mapped:
        raise InvalidArgumentError(
            "A task is mapped over this one's result, which with s3_uri is no list but the dataset's summary. "
            "Leave s3_uri out, or give .output to a task without .expand(), which reads the dataset's manifest."
        )
    _keep_link(task, context)
    filters, fields = _attributes(task)
    _tell_search(task, filters, fields, tags)
    if task.s3_uri:
        result: Any = _to_s3(task, window, tags, about, stats)
        task.dataset = result
        found, output = result["image_sets"], result["s3_uri"]
    else:
        with closing(_search(task, window, stats)) as hits:
            result = _to_xcom(task, (to_record(each, task.datastore_id, tags) for each in hits))
        if most_mapped and len(result) > most_mapped:
            raise TooManyImageSetsError(
                f"{len(result)} items were found, and a task can be mapped over at most {most_mapped} ([core] "
                "max_map_length). Give batch_size to map over batches, s3_uri to write them to S3, or search a "
                "shorter window."
            )
        found, output = stats.image_sets, "XCom"
    summary = {
        **about,
        "rule": owned.rule if owned else None,
        "filters": filters,
        "match": fields,
        "read": stats.read,
        "image_sets": found,
        "pages": stats.pages,
        "calls": stats.calls,
        "seconds": round(time.monotonic() - started, 3),
        "output": output,
    }
    return Delivery(result, summary, stats)


def announce(task: Any, context: Any, delivery: Delivery) -> Any:
    """Push the summary to XCom and to the task's outlets, log it, and return the task's result."""
    summary, stats = delivery.summary, delivery.stats
    for outlet in task.outlets:
        context["outlet_events"][outlet].extra = dict(summary)
    if task.do_xcom_push:
        context["ti"].xcom_push(key="summary", value=summary)
        # Airflow 3.0 takes no null for an XCom.
        if stats.next_token is not None:
            context["ti"].xcom_push(key="next_token", value=stats.next_token)
    task.log.info(
        "Found %s image sets (read: %s, calls: %s, seconds: %s); handed on through %s.",
        *(summary[key] for key in ("image_sets", "read", "calls", "seconds", "output")),
    )
    return delivery.result


def _most_mapped(task: Any, context: Any) -> int | None:
    """Return over how many items tasks can be mapped, if any is mapped over this one's result."""
    mapped = task.has_dag() and next(task.iter_mapped_dependants(), None) and context["ti"].map_index < 0
    return conf.getint("core", "max_map_length", fallback=1024) if mapped else None


def _search(task: Any, window: TimeWindow | None, stats: ScanStats) -> Generator[Summary]:
    found: Generator[Summary] = task.hook.search_image_sets(
        task.datastore_id,
        window=window,
        time_field=task.time_field,
        search_criteria=task.search_criteria.value,
        match=task.match.value,
        max_workers=task.max_workers,
        # What is read ahead of a part is lost with the task, so it should not be much more than a part.
        read_ahead=max(task.rows_per_file, LEAST_READ_AHEAD) if task.s3_uri else None,
        pagination_config=task.pagination_config,
        stats=stats,
    )
    return found


def _keep_link(task: Any, context: Any) -> None:
    task.hook.client_for(task.datastore_id)
    HealthImagingDatastoreLink.persist(
        context,
        task,
        region_name=task.hook.conn_region_name,
        aws_partition=task.hook.conn_partition,
        datastore_id=task.datastore_id,
    )


def _attributes(task: Any) -> tuple[list[str], list[str]]:
    """Return what the service filters on and what is matched here: attributes, never values."""
    return filter_attributes(parse_criteria(task.search_criteria.value)), list(parse_match(task.match.value))


def _tell_search(task: Any, filters: list[str], fields: list[str], tags: tuple[str, ...]) -> None:
    task.log.info(
        "Searching data store %s by %s; filters on %s; match on %s.",
        task.datastore_id,
        task.time_field or "its criteria alone",
        ", ".join(filters) or "nothing",
        ", ".join(fields) or "nothing",
    )
    if tags:
        task.log.info(
            "DICOM tags asked for, which may be patient data, will be kept in %s: %s.",
            task.s3_uri or "XCom, where Airflow's database, UI and REST API show them",
            ", ".join(tags),
        )


def _to_xcom(task: Any, records: Iterator[Record]) -> list[Any]:
    most = task.max_xcom_items
    kept = list(itertools.islice(records, most))
    if next(records, None) is not None:
        raise TooManyImageSetsError(
            f"More than max_xcom_items={most} image sets were found, and XCom is not made for that. Give s3_uri to "
            "write them to S3, search a shorter window, or raise max_xcom_items (mapped tasks: at most "
            "[core] max_map_length, 1024 unless raised)."
        )
    size = task.batch_size
    return kept if size is None else [kept[i : i + size] for i in range(0, len(kept), size)]


def _to_s3(
    task: Any, window: TimeWindow | None, tags: tuple[str, ...], about: Mapping[str, Any], stats: ScanStats
) -> dict[str, Any]:
    where = f"{task.s3_uri}, connection {task.s3_conn_id or task.aws_conn_id!r}"
    return explaining(lambda: _write(task, window, tags, about, stats), where, S3, FAULTS)


def _write(
    task: Any, window: TimeWindow | None, tags: tuple[str, ...], about: Mapping[str, Any], stats: ScanStats
) -> dict[str, Any]:
    hook = S3Hook(
        aws_conn_id=task.s3_conn_id or task.aws_conn_id,
        extra_args=task.s3_extra_args,
        verify=task.verify,
    )
    raise_what_was_not_deleted(hook)
    dataset = S3Dataset(hook, task.s3_uri, window, task.rows_per_file, file_format(task.file_format, tags))
    checkpoint = dataset.checkpoint(_search_digest(task, window, tags), task.time_field)
    if checkpoint.parts:
        task.log.info(
            "An earlier attempt finished %s parts; what is read now is the rest of the window.", checkpoint.parts
        )
    rest = checkpoint.rest_of(window) if window else None
    with closing(_search(task, rest, stats)) as hits:
        records = (to_record(each, task.datastore_id, tags) for each in checkpoint.follow(hits))
        return dataset.write(records, about, checkpoint)


def _search_digest(task: Any, window: TimeWindow | None, tags: tuple[str, ...]) -> str | None:
    """Return what a retry knows the same search by, or ``None`` where it could not go on from a place in time."""
    if window is None or task.pagination_config or not stays_in_place(task.time_field, window):
        return None
    search = {
        "region": task.hook.conn_region_name,
        "datastore_id": task.datastore_id,
        "time_field": task.time_field,
        "window": window.to_dict(),
        "dicom_tags": tags,
        "file_format": task.file_format,
        "rows_per_file": task.rows_per_file,
    }
    private = {"search_criteria": parse_criteria(task.search_criteria.value), "match": parse_match(task.match.value)}
    return digest(search, private)
