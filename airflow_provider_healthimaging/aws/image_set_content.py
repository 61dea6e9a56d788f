"""The calls that read one image set: GetImageSet, GetImageSetMetadata, GetImageFrame, GetDICOMInstance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.aws.client_config import retry_settings
from airflow_provider_healthimaging.aws.errors import incomplete_response_error, translate_errors
from airflow_provider_healthimaging.aws.streams import ObjectStream, retry_conflicts

if TYPE_CHECKING:
    from types_boto3_medical_imaging import HealthImagingClient

    from airflow_provider_healthimaging.export.contents import InstanceUIDs


def open_metadata(
    client: HealthImagingClient, datastore_id: str, image_set_id: str, version: int | None, location: str
) -> ObjectStream:
    """Return the gzipped metadata document of a version of an image set, of the newest one if none is given."""
    pinned: Any = {} if version is None else {"versionId": str(version)}

    def call() -> Any:
        return client.get_image_set_metadata(datastoreId=datastore_id, imageSetId=image_set_id, **pinned)

    where = f"image set {image_set_id}, {location}"
    return _stream(client, call, "imageSetMetadataBlob", where, f"The metadata of image set {image_set_id}")


def open_frame(
    client: HealthImagingClient, datastore_id: str, image_set_id: str, frame_id: str, location: str
) -> ObjectStream:
    """Return an image frame as it is stored."""

    def call() -> Any:
        return client.get_image_frame(
            datastoreId=datastore_id, imageSetId=image_set_id, imageFrameInformation={"imageFrameId": frame_id}
        )

    described = f"Frame {frame_id} of image set {image_set_id}"
    return _stream(client, call, "imageFrameBlob", f"image set {image_set_id}, {location}", described)


def open_instance(
    client: Any, datastore_id: str, image_set_id: str, uids: InstanceUIDs, *, transfer_syntax: str, location: str
) -> ObjectStream:
    """Return an instance as a DICOM file.

    :param client: the client of :func:`~airflow_provider_healthimaging.aws.dicomweb.dicomweb_client`.
    :param transfer_syntax: a UID, or ``"*"`` for the transfer syntax in which it is stored.
    """

    def call() -> Any:
        return client.get_dicom_instance(
            datastoreId=datastore_id,
            studyInstanceUID=uids.study,
            seriesInstanceUID=uids.series,
            sopInstanceUID=uids.sop,
            imageSetId=image_set_id,
            accept=f"application/dicom; transfer-syntax={transfer_syntax}",
        )

    described = f"An instance of image set {image_set_id}"
    return _stream(client, call, "instanceBlob", f"image set {image_set_id}, {location}", described)


def latest_version(client: HealthImagingClient, datastore_id: str, image_set_id: str, location: str) -> int:
    """Return the number of the newest version of an image set."""
    where = f"image set {image_set_id}, {location}"

    def call() -> Any:
        return translate_errors(lambda: client.get_image_set(datastoreId=datastore_id, imageSetId=image_set_id), where)

    version = str(retry_conflicts(call).get("versionId", ""))
    if not version.isdecimal():
        raise incomplete_response_error("GetImageSet", where)
    return int(version)


def _stream(client: Any, call: Any, member: str, location: str, described: str) -> ObjectStream:
    attempts = retry_settings(client)["total_max_attempts"]
    return retry_conflicts(
        lambda: ObjectStream(call, member, attempts=attempts, location=location, described=described)
    )
