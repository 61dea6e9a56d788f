"""The task that copies image sets to S3: its arguments, its run, its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_healthimaging.aws.client_config import DEFAULT_CLIENT_CONFIG, MAX_CONNECTIONS, ClientDefaults
from airflow_provider_healthimaging.exceptions import HealthImagingError, TooManyImageSetsError
from airflow_provider_healthimaging.export.decode import check_pixels_extra
from airflow_provider_healthimaging.export.image_sets import (
    DatasetAddress,
    ImageSetRef,
    parse_image_sets,
    parse_record,
    unique,
)
from airflow_provider_healthimaging.export.request import (
    MAX_WORKERS,
    ExportRequest,
    parse_check,
    parse_content,
    parse_on_missing,
)
from airflow_provider_healthimaging.export.workers import Workers
from airflow_provider_healthimaging.hooks.private_s3 import PrivateS3Hook
from airflow_provider_healthimaging.output.dataset_records import read_manifest, read_records
from airflow_provider_healthimaging.output.destination import parse_s3_arguments
from airflow_provider_healthimaging.output.object_store import ObjectStore
from airflow_provider_healthimaging.search.rendered import is_empty
from airflow_provider_healthimaging.search.validation import check_whole_number
from airflow_provider_healthimaging.task.copy_object import ObjectCopier
from airflow_provider_healthimaging.task.delivery import mapping_limit, publish_summary
from airflow_provider_healthimaging.task.export import ImageSetExport
from airflow_provider_healthimaging.task.export_progress import PROGRESS_LOG_SECONDS, ExportProgress
from airflow_provider_healthimaging.task.private_fields import MaskedField
from airflow_provider_healthimaging.task.service_task import ServiceTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_healthimaging.task.export_progress import ExportSummary


class ExportTask(ServiceTask):
    """The arguments are documented at the operator."""

    image_sets = MaskedField()
    private_fields: ClassVar[tuple[str, ...]] = ("image_sets", "s3_extra_args")

    def __init__(
        self,
        *,
        image_sets: Mapping[str, object] | Sequence[object] | str,
        s3_uri: str,
        content: Sequence[str],
        transfer_syntax: str | None,
        verify: str,
        max_workers: int,
        on_missing: str,
        **kwargs: Any,  # those of the base classes
    ) -> None:
        """Hold the template fields as they are, and check the other arguments."""
        super().__init__(s3_uri=s3_uri, **kwargs)
        self.image_sets = image_sets
        self.transfer_syntax = transfer_syntax
        self.copied: ExportSummary | None = None
        self._datastores: list[str] = []
        self._workers: Workers | None = None
        with self.argument_checks():
            self.reject_templates(content=content, verify=verify, max_workers=max_workers, on_missing=on_missing)
            self.content = parse_content(content)
            self.verify = parse_check(verify)
            self.max_workers = check_whole_number("max_workers", max_workers, MAX_WORKERS)
            self.on_missing = parse_on_missing(on_missing)

    def parse_request(self) -> ExportRequest:
        """Return what to copy and where; all template fields must be rendered."""
        self.check_private_fields_rendered()
        self.check_connection()
        return ExportRequest.parse(
            s3_uri=self.s3_uri,
            content=self.content,
            transfer_syntax=self.transfer_syntax,
            verify=self.verify,
            max_workers=self.max_workers,
            on_missing=self.on_missing,
        )

    def parse_input(self) -> list[ImageSetRef] | DatasetAddress:
        """Return the image sets, or where the dataset is that names them; all template fields must be rendered."""
        return parse_image_sets(self.image_sets.value)

    def s3_hook(self) -> PrivateS3Hook:
        """Return the hook for S3; all template fields must be rendered."""
        return PrivateS3Hook(
            aws_conn_id=self.s3_connection,
            extra_args=parse_s3_arguments(self.s3_extra_args.value),
            max_connections=self.max_workers,
        )

    @property
    def client_defaults(self) -> ClientDefaults:
        """The settings of the client, with a connection for each worker."""
        return {**DEFAULT_CLIENT_CONFIG, "max_pool_connections": max(MAX_CONNECTIONS, self.max_workers)}

    def export(self, context: Context) -> list[dict[str, object]]:
        """Copy the image sets, and return their records."""
        request, given, s3 = self.parse_request(), self.parse_input(), self.s3_hook()
        if request.verify == "checksum":
            check_pixels_extra()
        store = ObjectStore(s3, request.bucket)
        refs, total = self._image_sets(given, s3)
        self._check_total(total, context)
        if is_empty(self.image_sets.value):
            self.log.warning("image_sets is empty: the task that it comes from returned nothing. Nothing is copied.")
        progress = ExportProgress(request, total, self.log)
        self.log.info(
            "Copying %s image sets (%s) to %s with %s workers.",
            *(total, ", ".join(request.content), request.uri, request.max_workers),
        )
        if total:
            self._run(context, refs, store, request, progress)
        summary = self.copied = progress.summary()
        publish_summary(self, context, summary)
        self.log.info(
            "%s image sets are complete in %s (%s were before; %s missing, %s failed). Copied %s objects, %s bytes, in "
            "%s seconds; %s objects were there already.",
            *(summary["image_sets"], request.uri, summary["image_sets_skipped"], summary["image_sets_missing"]),
            *(summary["image_sets_failed"], summary["objects"], summary["bytes"], summary["seconds"]),
            summary["objects_skipped"],
        )
        progress.raise_if_failed()
        return progress.records()

    def _run(
        self,
        context: Context,
        refs: Iterator[ImageSetRef],
        store: ObjectStore,
        request: ExportRequest,
        progress: ExportProgress,
    ) -> None:
        first = next(refs, None)
        if first is None:
            raise HealthImagingError("The dataset has no records, but its manifest counts some. Write it again.")
        # Clients are made here, because boto3's sessions are not for several threads.
        self.keep_datastore_link(context, first.datastore_id)
        datastores = {first.datastore_id: None}

        def jobs() -> Iterator[ImageSetExport]:
            yield ImageSetExport(0, first, copier, progress)
            for number, ref in enumerate(refs, 1):
                datastores[ref.datastore_id] = None
                yield ImageSetExport(number, ref, copier, progress)

        workers = self._workers = Workers(jobs(), request.max_workers)
        copier = ObjectCopier(self.hook, store, request, workers.stopping)
        try:
            with self.hook.no_calls_after(workers.stopping):
                workers.run(every_seconds=PROGRESS_LOG_SECONDS, report=progress.log)
        finally:
            self._workers = None
            self._datastores = [*datastores]

    def on_kill(self) -> None:
        """End the copy: Airflow 3 calls this and goes on."""
        if self._workers:
            self._workers.stop()

    def _image_sets(
        self, given: list[ImageSetRef] | DatasetAddress, s3: PrivateS3Hook
    ) -> tuple[Iterator[ImageSetRef], int]:
        """Return an iterator of the image sets, and how many there are."""
        if isinstance(given, list):
            return iter(given), len(given)
        manifest = read_manifest(s3, given)
        refs = (parse_record(record, f", record {n}") for n, record in enumerate(read_records(s3, manifest), 1))
        return unique(refs), manifest["image_sets"]

    def _check_total(self, total: int, context: Context) -> None:
        """Raise if a record of each image set is more than XCom, or a task that is mapped over it, may take."""
        if self.do_xcom_push and total > self.max_xcom_items:
            raise TooManyImageSetsError(
                f"image_sets has {total} image sets, and the task returns a record of each: XCom is not made for more "
                f"than max_xcom_items={self.max_xcom_items}. Map the task over batches (batch_size of the search), set "
                "do_xcom_push=False, or raise max_xcom_items."
            )
        limit = mapping_limit(self, context)
        if limit and total > limit:
            raise TooManyImageSetsError(
                f"image_sets has {total} image sets, but a task can be mapped over at most {limit} ([core] "
                "max_map_length). Map this task over batches (batch_size of the search)."
            )

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:  # noqa: ARG002 - Airflow's
        """Return what was read and written; Airflow's OpenLineage provider asks for it."""
        from airflow_provider_healthimaging.output.lineage import export_lineage

        summary = self.copied
        written = (summary["output"], summary["image_sets"], summary["objects"], summary["bytes"]) if summary else None
        return export_lineage(self._datastores, self.hook.conn_region_name, written)
