"""The objects of one image set in S3, and their keys.

{prefix}{imageSetId}/v{version}/metadata.json.gz
                                dicom/00001.dcm
                                frames/{frameId}.jph
                                _manifest.json
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_provider_healthimaging.export.contents import FRAME_EXTENSIONS, Frame, Instance
from airflow_provider_healthimaging.export.request import Content

METADATA_NAME = "metadata.json.gz"


def folder_of(image_set_id: str, version: int) -> str:
    """Return the name of the folder of one version of an image set; it ends with ``/``."""
    return f"{image_set_id}/v{version}/"


def instance_name(number: int) -> str:
    """Return the name of an instance as a DICOM file.

    :param number: its place in the image set; the first is 1.
    """
    return f"dicom/{number:05d}.dcm"


def frame_name(instance: Instance, index: int) -> str:
    """Return the name of a frame.

    :param index: its place in the instance; the first is 0.
    """
    extension = FRAME_EXTENSIONS.get(instance.transfer_syntax, "dcmraw")
    return f"frames/{instance.frames[index].frame_id}.{extension}"


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """One object to copy: an instance as a DICOM file, or a frame of it.

    :param name: the key below the folder of the image set.
    :param frame: ``None`` for the whole instance.
    """

    name: str
    instance: Instance
    frame: Frame | None

    @property
    def described(self) -> str:
        """What it is, for messages. It shows no UID."""
        if self.frame is None:
            return f"instance {self.instance.number}"
        return f"frame {self.frame.number} of instance {self.instance.number}"


def plan_objects(instances: Iterable[Instance], content: Iterable[Content]) -> Iterator[PlannedObject]:
    """Yield the objects of an image set in the order of the manifest. The metadata are not among them.

    A frame that several instances refer to is one object.
    """
    wanted = set(content)
    known = list(instances)
    if "dicom" in wanted:
        for instance in known:
            yield PlannedObject(instance_name(instance.number), instance, None)
    if "frames" in wanted:
        seen = set()
        for instance in known:
            for index, frame in enumerate(instance.frames):
                if frame.frame_id not in seen:
                    seen.add(frame.frame_id)
                    yield PlannedObject(frame_name(instance, index), instance, frame)
