"""Decides which image set each imported instance belongs to, as an import job does.

Source: "Understanding import jobs" of the AWS HealthImaging Developer Guide. The instances of a series are in one
primary image set. An instance that is imported again overwrites the older one. If the values of an instance conflict
with those of the primary image sets, it goes to a new image set that is not primary.

AWS does not document which values conflict. Here, these are different values of a tag of the patient or the study, in
one study, and of the series, in one series. A missing value never conflicts. This module changes no data store.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .dicom_file import DicomFile
from .image_sets import ImageSet, Instance, TagValue

_STUDY_TAGS = (
    "DICOMPatientId",
    "DICOMPatientName",
    "DICOMPatientBirthDate",
    "DICOMPatientSex",
    "DICOMStudyId",
    "DICOMStudyDescription",
    "DICOMAccessionNumber",
    "DICOMStudyDate",
    "DICOMStudyTime",
)
_SERIES_TAGS = ("DICOMSeriesModality", "DICOMSeriesBodyPart", "DICOMSeriesNumber")

_Tags = Mapping[str, TagValue]


@dataclass
class ImageSetChange:
    """A new image set, or a new version of ``base``, with what it gets from the imported files."""

    base: ImageSet | None
    is_primary: bool
    tags: dict[str, TagValue]
    instances: dict[str, Instance] = field(default_factory=dict)

    def add(self, file: DicomFile) -> None:
        """Add a file. The value of a tag comes from the first file that has it, an instance from the last one."""
        _fill(self.tags, file.tags)
        self.instances[file.instance.sop_instance_uid] = file.instance


def organize(files: Iterable[DicomFile], known: Iterable[ImageSet]) -> list[ImageSetChange]:
    """Return for each file the change that it belongs to. Several files can share a change.

    :param known: the image sets of the data store.
    """
    primary: dict[tuple[str, str], ImageSetChange] = {}
    others: dict[tuple[str, str], list[ImageSetChange]] = defaultdict(list)
    studies: dict[str, dict[str, TagValue]] = defaultdict(dict)
    for image_set in known:
        if image_set.is_primary:
            tags = dict(image_set.dicom_tags)
            primary[series_key(tags)] = ImageSetChange(image_set, is_primary=True, tags=tags)
            _fill(studies[study_key(tags)], tags)
    changes = []
    for file in files:
        key, study = series_key(file.tags), studies[study_key(file.tags)]
        change = primary.get(key)
        if _conflict(study, file.tags, _STUDY_TAGS) or (change and _conflict(change.tags, file.tags, _SERIES_TAGS)):
            fitting = (each for each in others[key] if not _conflict(each.tags, file.tags, _STUDY_TAGS + _SERIES_TAGS))
            change = next(fitting, None)
            if change is None:
                change = ImageSetChange(None, is_primary=False, tags={})
                others[key].append(change)
        else:
            if change is None:
                change = primary[key] = ImageSetChange(None, is_primary=True, tags={})
            _fill(study, file.tags)
        change.add(file)
        changes.append(change)
    return changes


def study_key(tags: _Tags) -> str:
    """Return the UID of the study."""
    return str(tags.get("DICOMStudyInstanceUID"))


def series_key(tags: _Tags) -> tuple[str, str]:
    """Return the UIDs of the study and the series. A series UID may occur in several studies."""
    return study_key(tags), str(tags.get("DICOMSeriesInstanceUID"))


def _conflict(known: _Tags, new: _Tags, names: Iterable[str]) -> bool:
    return any(None not in {known.get(name), new.get(name)} and known[name] != new[name] for name in names)


def _fill(tags: dict[str, TagValue], more: _Tags) -> None:
    for name, value in more.items():
        if tags.get(name) is None:
            tags[name] = value
