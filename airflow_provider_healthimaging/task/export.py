"""Copies one image set to S3: what is not there yet, and the manifest last."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.exceptions import (
    HealthImagingError,
    ImageSetChangedError,
    ImageSetNotFoundError,
    IncompleteResponseError,
)
from airflow_provider_healthimaging.export.contents import parse_metadata, read_instances
from airflow_provider_healthimaging.export.manifest import (
    MANIFEST_FILE,
    Stored,
    build_manifest,
    covers,
    dump_manifest,
    kept_entries,
    parse_manifest,
)
from airflow_provider_healthimaging.export.plan import METADATA_NAME, PlannedObject, folder_of, plan_objects
from airflow_provider_healthimaging.export.request import CONTENTS, Content
from airflow_provider_healthimaging.task.export_progress import two_datastores_error

if TYPE_CHECKING:
    from airflow_provider_healthimaging.export.image_sets import ImageSetRef
    from airflow_provider_healthimaging.export.manifest import ExportManifest
    from airflow_provider_healthimaging.export.workers import Step
    from airflow_provider_healthimaging.task.copy_object import ObjectCopier
    from airflow_provider_healthimaging.task.export_progress import ExportProgress


class ImageSetExport:
    """The copy of one image set, a job of :class:`~airflow_provider_healthimaging.export.workers.Workers`.

    :param number: its place in the result of the task.
    """

    def __init__(self, number: int, ref: ImageSetRef, copier: ObjectCopier, progress: ExportProgress) -> None:
        """Prepare; :meth:`open` makes the first call."""
        self._number, self._ref = number, ref
        self._copier, self._progress = copier, progress
        self._store, self._request = copier.store, copier.request
        self._version = 0
        self._must_be_newest = False
        self._listed: Mapping[str, Stored] = {}
        self._is_over = False
        self._existing: Mapping[str, int] = {}
        self._content: tuple[Content, ...] = ()
        self._instances = 0
        self._metadata: Stored | None = None
        self._objects: list[PlannedObject] = []
        self._stored: list[Stored | None] = []

    @property
    def _folder(self) -> str:
        return self._request.prefix + folder_of(self._ref.image_set_id, self._version)

    def open(self) -> Sequence[Step]:
        """Find out what there is to copy, and return a step for each object."""
        try:
            return self._open()
        except ImageSetNotFoundError:
            if self._request.on_missing == "fail":
                raise
            return self._end_as_missing()

    def _open(self) -> Sequence[Step]:
        ref, hook = self._ref, self._copier.hook
        self._version = ref.version or hook.latest_version(ref.datastore_id, ref.image_set_id)
        if not self._progress.claim(self._folder, ref.datastore_id):
            self._is_over = True
            return ()
        text = self._store.read(self._folder + MANIFEST_FILE)
        manifest = parse_manifest(text) if text else None
        if manifest and manifest["datastore_id"] != ref.datastore_id:
            raise two_datastores_error(self._folder)
        if manifest and covers(manifest, self._request):
            self._is_over = True
            self._progress.add_complete(self._number, self._record(), objects=manifest["objects"])
            return ()
        if not self._add_to(manifest) and text is not None:
            self._store.delete(self._folder + MANIFEST_FILE)
        self._existing = self._store.sizes(self._folder)
        instances = read_instances(self._read_metadata())
        self._instances = len(instances)
        self._objects = list(plan_objects(instances, self._content))
        self._stored = [None] * len(self._objects)
        return [partial(self._copy, place) for place in range(len(self._objects))]

    def _add_to(self, manifest: ExportManifest | None) -> bool:
        """Keep what an earlier task copied, and return whether its manifest stays true meanwhile."""
        earlier = manifest["content"] if manifest else ()
        if manifest and "dicom" in earlier and "dicom" not in self._request.content:
            self._request = replace(self._request, transfer_syntax=manifest["transfer_syntax"])
            self._copier = replace(self._copier, request=self._request)
        self._content = tuple(name for name in CONTENTS if name in {*self._request.content, *earlier})
        listed = kept_entries(manifest, self._request) if manifest else None
        self._listed = listed or {}
        return listed is not None

    def _read_metadata(self) -> Mapping[str, Any]:
        """Return the metadata document, and write it to S3 if it is wanted there and is not there yet."""
        ref, key = self._ref, self._folder + METADATA_NAME
        blob = self._store.read(key) if METADATA_NAME in self._existing else None
        document = None
        try:
            document = parse_metadata(blob, ref.image_set_id) if blob else None
        except IncompleteResponseError:
            blob = None
        is_there = document is not None
        if document is None or blob is None:
            blob, document = self._copier.hook.read_metadata(ref.datastore_id, ref.image_set_id, self._version)
        if "metadata" in self._content:
            self._metadata = {"bytes": len(blob), "crc32": f"{zlib.crc32(blob):08x}"}
            if not is_there:
                self._store.put(key, blob, "application/gzip", {"crc32": self._metadata["crc32"]})
            self._progress.add_object(len(blob), copied=not is_there)
        return document

    def _copy(self, place: int) -> None:
        planned = self._objects[place]
        key = self._folder + planned.name
        size = self._existing.get(planned.name)
        stored = self._listed.get(planned.name)
        if stored is None or stored["bytes"] != size:
            # The version of a DICOM file is known only from the end of the task that read it.
            self._must_be_newest = self._must_be_newest or planned.frame is None
            stored = None if size is None else self._copier.accept(planned, key, size)
        is_there = stored is not None
        try:
            stored = stored or self._copier.copy(self._ref, planned, key)
        except ImageSetNotFoundError:
            if self._request.on_missing == "fail":
                raise
            self._progress.add_missing_object()
            return
        self._stored[place] = stored
        self._progress.add_object(stored["bytes"], copied=not is_there)

    def finish(self) -> None:
        """Write the manifest."""
        if self._is_over:
            return
        try:
            self._check_version()
        except ImageSetNotFoundError:
            if self._request.on_missing == "fail":
                raise
            self._end_as_missing()
            return
        manifest = build_manifest(
            self._request,
            self._content,
            datastore_id=self._ref.datastore_id,
            image_set_id=self._ref.image_set_id,
            version=self._version,
            instances=self._instances,
            metadata=self._metadata,
            objects=list(zip(self._objects, self._stored, strict=True)),
        )
        self._store.put(self._folder + MANIFEST_FILE, dump_manifest(manifest), "application/json", {})
        self._progress.add_copied(self._number, self._record())

    def _check_version(self) -> None:
        """Raise if DICOM files may be of a newer version: the service has no way to ask for a version of them.

        Versions only grow. So if the version is still the newest one now, it was when the files were read.
        """
        if not self._must_be_newest:
            return
        newest = self._copier.hook.latest_version(self._ref.datastore_id, self._ref.image_set_id)
        if newest != self._version:
            raise ImageSetChangedError(
                f"Image set {self._ref.image_set_id} has version {newest} now, and the record is of version "
                f"{self._version}. The service gives DICOM files of the newest version only. Search again, and copy "
                "the new version; or copy 'metadata' and 'frames', which it gives of any version."
            )

    def fail(self, error: Exception) -> None:
        """Note that the image set was not copied; another error than one about it ends the task."""
        if not isinstance(error, HealthImagingError):
            raise error
        self._progress.add_failed(self._ref.image_set_id, error)

    def _end_as_missing(self) -> Sequence[Step]:
        self._is_over = True
        self._progress.add_missing(self._ref.image_set_id)
        return ()

    def _record(self) -> dict[str, object]:
        uri = f"s3://{self._request.bucket}/{self._folder}"
        return {**self._ref.record, "version": self._version, "s3_uri": uri}
