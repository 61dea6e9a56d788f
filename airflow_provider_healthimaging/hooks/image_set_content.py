"""What the hook can read of an image set: metadata, frames, DICOM files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

from airflow_provider_healthimaging.aws.dicomweb import dicomweb_client
from airflow_provider_healthimaging.aws.image_set_content import (
    latest_version,
    open_frame,
    open_instance,
    open_metadata,
)
from airflow_provider_healthimaging.aws.rate_limit import install_rate_limiter
from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.export.contents import (
    FRAME_ID,
    Instance,
    InstanceUIDs,
    parse_metadata,
    read_instances,
)
from airflow_provider_healthimaging.export.image_sets import parse_record
from airflow_provider_healthimaging.export.request import MAX_UID_LENGTH, parse_transfer_syntax
from airflow_provider_healthimaging.hooks.connection import ServiceConnection
from airflow_provider_healthimaging.privacy.debug_log_filter import client_class_handler

if TYPE_CHECKING:
    from threading import Event

    from airflow_provider_healthimaging.aws.streams import ObjectStream

_UID = re.compile(r"[0-9.]+")


class ImageSetContentCalls(ServiceConnection):
    """The part of ``HealthImagingHook`` that reads image sets."""

    @overload
    def get_image_set_metadata(
        self, datastore_id: str, image_set_id: str, version_id: int | str | None = None, *, parsed: Literal[True] = True
    ) -> Mapping[str, Any]: ...
    @overload
    def get_image_set_metadata(
        self, datastore_id: str, image_set_id: str, version_id: int | str | None = None, *, parsed: Literal[False]
    ) -> bytes: ...
    def get_image_set_metadata(
        self, datastore_id: str, image_set_id: str, version_id: int | str | None = None, *, parsed: bool = True
    ) -> Mapping[str, Any] | bytes:
        """Return the DICOM attributes of an image set, by patient, study, series and instance. They are patient data.

        `GetImageSetMetadata
        <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_GetImageSetMetadata.html>`__ may be called 50
        times a second. If the service answers that the image set is not consistent yet, which is usual just after an
        import, the call is made again, for about 40 seconds.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param image_set_id: 32 characters of 0-9 and a-z.
        :param version_id: the version to read; ``None`` for the newest.
        :param parsed: return the document; otherwise the gzipped JSON as it came, after a check that it is whole.
        :raises ImageSetNotFoundError: if there is no such image set or version.
        :raises HealthImagingError: see :mod:`airflow_provider_healthimaging.exceptions`.
        """
        ref = parse_record({"datastoreId": datastore_id, "imageSetId": image_set_id, "version": version_id})
        blob, document = self.read_metadata(datastore_id, image_set_id, ref.version)
        return document if parsed else blob

    def read_metadata(
        self, datastore_id: str, image_set_id: str, version: int | None
    ) -> tuple[bytes, Mapping[str, Any]]:
        """Return the metadata as they came, and as a document; :meth:`get_image_set_metadata` says more."""
        client, location = self.client_for(datastore_id), self.location(datastore_id)
        with open_metadata(client, datastore_id, image_set_id, version, location) as stream:
            blob = stream.read()
        return blob, parse_metadata(blob, image_set_id)

    def get_image_frame(self, datastore_id: str, image_set_id: str, image_frame_id: str) -> ObjectStream:
        """Return an image frame as it is stored, to read in chunks or as a whole.

        `GetImageFrame <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_GetImageFrame.html>`__ may be
        called 1,000 times a second. A body that is truncated is read again.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param image_set_id: 32 characters of 0-9 and a-z.
        :param image_frame_id: the ``ID`` of the frame in the metadata.
        :return: an iterator of chunks with ``read()``, ``close()``, ``content_type`` and ``length``; also a context
            manager.
        :raises InvalidArgumentError: for an invalid id, before the call.
        :raises ImageSetNotFoundError: if there is no such image set or frame.
        """
        parse_record({"datastoreId": datastore_id, "imageSetId": image_set_id})
        if not isinstance(image_frame_id, str) or not FRAME_ID.fullmatch(image_frame_id):
            raise InvalidArgumentError(
                "image_frame_id is not the id of a frame: it has 32 characters of 0-9 and a-z. Take it from the "
                "metadata of the image set (ImageFrames, ID)."
            )
        client = self.client_for(datastore_id)
        return open_frame(client, datastore_id, image_set_id, image_frame_id, self.location(datastore_id))

    def iter_image_frames(
        self, datastore_id: str, image_set_id: str, version_id: int | str | None = None
    ) -> Iterator[tuple[Mapping[str, Any], ObjectStream]]:
        """Iterate over the frames of an image set, in the order of series, instance and frame number.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param image_set_id: 32 characters of 0-9 and a-z.
        :param version_id: the version to read; ``None`` for the newest.
        :return: for each frame, ``{"imageFrameId", "instance", "frame", "transferSyntax"}``, the two numbers counted
            from 1, and what :meth:`get_image_frame` returns. A frame is requested when it is its turn.
        :raises ImageSetNotFoundError: if there is no such image set or version; while iterating, no such frame.
        """
        document = self.get_image_set_metadata(datastore_id, image_set_id, version_id)
        return self._frames(datastore_id, image_set_id, read_instances(document))

    def _frames(
        self, datastore_id: str, image_set_id: str, instances: list[Instance]
    ) -> Iterator[tuple[Mapping[str, Any], ObjectStream]]:
        for instance in instances:
            for frame in instance.frames:
                place = {
                    "imageFrameId": frame.frame_id,
                    "instance": instance.number,
                    "frame": frame.number,
                    "transferSyntax": instance.transfer_syntax,
                }
                with self.get_image_frame(datastore_id, image_set_id, frame.frame_id) as stream:
                    yield place, stream

    def get_dicom_instance(
        self,
        datastore_id: str,
        image_set_id: str,
        *,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        transfer_syntax: str | None = None,
    ) -> ObjectStream:
        """Return an instance as a DICOM file, to read in chunks or as a whole.

        It is the DICOMweb operation GetDICOMInstance ("Getting DICOM instances" in the AWS HealthImaging developer
        guide), which may be called 50 times a second. It gives the newest version of the image set. A body that is
        truncated is read again.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param image_set_id: 32 characters of 0-9 and a-z.
        :param study_instance_uid: the UID of the study, which is patient data, as the two others are.
        :param series_instance_uid: the UID of the series.
        :param sop_instance_uid: the UID of the instance.
        :param transfer_syntax: the UID of a transfer syntax; ``None`` for the one in which it is stored.
        :return: an iterator of chunks with ``read()``, ``close()``, ``content_type`` and ``length``; also a context
            manager.
        :raises InvalidArgumentError: for an invalid id or UID, before the call.
        :raises ImageSetNotFoundError: if there is no such image set or instance.
        """
        parse_record({"datastoreId": datastore_id, "imageSetId": image_set_id})
        given = {
            "study_instance_uid": study_instance_uid,
            "series_instance_uid": series_instance_uid,
            "sop_instance_uid": sop_instance_uid,
        }
        for name, uid in given.items():
            if not isinstance(uid, str) or not _UID.fullmatch(uid) or len(uid) > MAX_UID_LENGTH:
                raise InvalidArgumentError(
                    f"{name} is not a DICOM UID, which has 1 to {MAX_UID_LENGTH} digits and dots. The value is not "
                    "shown, because it may be patient data."
                )
        uids = InstanceUIDs(study_instance_uid, series_instance_uid, sop_instance_uid)
        return self.open_instance(datastore_id, image_set_id, uids, parse_transfer_syntax(transfer_syntax))

    def open_instance(
        self, datastore_id: str, image_set_id: str, uids: InstanceUIDs, transfer_syntax: str
    ) -> ObjectStream:
        """Return an instance that the metadata name; :meth:`get_dicom_instance` says more."""
        return open_instance(
            self.dicomweb,
            datastore_id,
            image_set_id,
            uids,
            transfer_syntax=transfer_syntax,
            location=self.location(datastore_id),
        )

    def latest_version(self, datastore_id: str, image_set_id: str) -> int:
        """Return the number of the newest version of an image set."""
        return latest_version(self.client_for(datastore_id), datastore_id, image_set_id, self.location(datastore_id))

    @contextmanager
    def no_calls_after(self, ended: Event) -> Iterator[None]:
        """Let no call to the service begin in the block, and none be retried, once ``ended`` is set."""

        def refuse(**_: object) -> None:
            if ended.is_set():
                raise HealthImagingError("The task is ending, so no more calls are made.")

        events = [client.meta.events for client in (self.conn, self.dicomweb)]
        for each in events:
            each.register("before-send", refuse)
        try:
            yield
        finally:
            for each in events:
                each.unregister("before-send", refuse)

    @cached_property
    def dicomweb(self) -> Any:  # botocore makes its class
        """The client of the DICOMweb service, with the connection's credentials, region, endpoint and settings."""
        client = dicomweb_client(
            self.get_session(region_name=self.region_name),
            self.conn,
            config=self.config,
            verify=self.verify,
            on_class=client_class_handler(),
        )
        install_rate_limiter(client)
        return client
