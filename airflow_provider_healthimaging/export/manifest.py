"""The manifest of one version of an image set. It is written last, so an image set that has one is complete.

It has ids, numbers, checksums and transfer syntaxes, but no UID, no name and no tag. The same content gives the same
bytes, however often the task was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict, cast

from airflow_provider_healthimaging.export.image_sets import MANIFEST_FILE
from airflow_provider_healthimaging.export.plan import METADATA_NAME, PlannedObject
from airflow_provider_healthimaging.export.request import CHECKS, CONTENTS, Check, Content, ExportRequest

__all__ = ["MANIFEST_FILE", "ExportManifest", "ManifestEntry", "Stored", "build_manifest", "covers", "parse_manifest"]


class Stored(TypedDict):
    """What is known of an object in S3: its bytes, the CRC32 of them as eight hexadecimal digits."""

    bytes: int
    crc32: str
    transfer_syntax: NotRequired[str]


class ManifestEntry(Stored):
    """One object. ``instance`` and ``frame`` count from 1, in the order of the image set."""

    key: str
    instance: NotRequired[int]
    frame: NotRequired[int]


class MissingEntry(TypedDict):
    """An object that the service does not have; ``on_missing="skip"`` left it out."""

    key: str
    instance: int
    frame: NotRequired[int]


class ExportManifest(TypedDict):
    """The content of ``_manifest.json``. Keys of objects are below the folder of the manifest."""

    datastore_id: str
    image_set_id: str
    version: int
    content: list[Content]
    transfer_syntax: str
    verify: Check
    instances: int
    objects: int
    bytes: int
    metadata: ManifestEntry | None
    dicom: list[ManifestEntry]
    frames: list[ManifestEntry]
    missing: list[MissingEntry]


def build_manifest(
    request: ExportRequest,
    content: Sequence[Content],
    *,
    datastore_id: str,
    image_set_id: str,
    version: int,
    instances: int,
    metadata: Stored | None,
    objects: Sequence[tuple[PlannedObject, Stored | None]],
) -> ExportManifest:
    """Return the manifest of an image set.

    :param content: what was copied, now or by an earlier task.
    :param metadata: the object with the metadata, if it was copied.
    :param objects: the planned objects, each with what is stored; ``None`` for one that the service does not have.
    """
    manifest: ExportManifest = {
        "datastore_id": datastore_id,
        "image_set_id": image_set_id,
        "version": version,
        "content": [*content],
        "transfer_syntax": request.transfer_syntax,
        "verify": request.verify,
        "instances": instances,
        "objects": 0,
        "bytes": 0,
        "metadata": cast("ManifestEntry", {"key": METADATA_NAME, **metadata}) if metadata else None,
        "dicom": [],
        "frames": [],
        "missing": [],
    }
    for planned, stored in objects:
        place: MissingEntry = {"key": planned.name, "instance": planned.instance.number}
        if planned.frame:
            place["frame"] = planned.frame.number
        if stored is None:
            manifest["missing"].append(place)
        else:
            manifest["frames" if planned.frame else "dicom"].append(cast("ManifestEntry", {**place, **stored}))
    entries = [*([manifest["metadata"]] if manifest["metadata"] else []), *manifest["dicom"], *manifest["frames"]]
    manifest["objects"], manifest["bytes"] = len(entries), sum(entry["bytes"] for entry in entries)
    return manifest


def dump_manifest(manifest: ExportManifest) -> bytes:
    """Return the bytes of a manifest."""
    return json.dumps(manifest, indent=1).encode()


def parse_manifest(text: bytes) -> ExportManifest | None:
    """Return the manifest, or ``None`` if it is not one, so that the image set is copied again."""
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(manifest, Mapping) or not ExportManifest.__required_keys__ <= manifest.keys():
        return None
    known = isinstance(manifest["content"], list) and all(name in CONTENTS for name in manifest["content"])
    entries = (manifest["dicom"], manifest["frames"])
    is_manifest = known and manifest["verify"] in CHECKS and all(map(_is_list_of_entries, entries))
    return cast("ExportManifest", manifest) if is_manifest else None


def _is_list_of_entries(given: object) -> bool:
    wanted = {"key": str, "bytes": int, "crc32": str, "instance": int}
    return isinstance(given, list) and all(
        isinstance(entry, Mapping) and all(isinstance(entry.get(name), kind) for name, kind in wanted.items())
        for entry in given
    )


def covers(manifest: ExportManifest, request: ExportRequest) -> bool:
    """Whether what the manifest lists is all that ``request`` wants."""
    return (
        set(request.content) <= set(manifest["content"])
        and ("dicom" not in request.content or manifest["transfer_syntax"] == request.transfer_syntax)
        and CHECKS.index(request.verify) <= CHECKS.index(manifest["verify"])
        and (request.on_missing == "skip" or not manifest["missing"])
    )


def kept_entries(manifest: ExportManifest, request: ExportRequest) -> dict[str, Stored] | None:
    """Return what is known of the objects of a manifest that stays true while more objects are copied, by key.

    ``None`` if ``request`` wants objects in another transfer syntax, or checked more closely.
    """
    if CHECKS.index(request.verify) > CHECKS.index(manifest["verify"]):
        return None
    if "dicom" in manifest["content"] and manifest["transfer_syntax"] != request.transfer_syntax:
        return None
    known = Stored.__annotations__
    return {
        entry["key"]: cast("Stored", {name: value for name, value in entry.items() if name in known})
        for entry in (*manifest["dicom"], *manifest["frames"])
    }
