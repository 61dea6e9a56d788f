"""Real metadata: one image set for each series of the NCI Imaging Data Commons, from the package ``idc-index-data``.

The package has the metadata as it was published: modalities, body parts, dates, UIDs, and many missing values. It has
no times of arrival, so this module invents ``createdAt``: at equal intervals, or in one of several kinds of bursts. All
random values come from a seed, so two runs search the same data.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
END = START + DAY
"""All image sets of a data store arrive in this one day, in every layout."""

_TEXT = {
    "PatientID": "DICOMPatientId",
    "PatientSex": "DICOMPatientSex",
    "StudyInstanceUID": "DICOMStudyInstanceUID",
    "SeriesInstanceUID": "DICOMSeriesInstanceUID",
    "StudyDescription": "DICOMStudyDescription",
    "Modality": "DICOMSeriesModality",
    "BodyPartExamined": "DICOMSeriesBodyPart",
}
_OTHERS = ("StudyDate", "SeriesNumber", "instanceCount")


class Study(NamedTuple):
    """The place of a study in the table of all series."""

    first: int
    series: int


def image_sets(count: int, layout: str, seed: int) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Yield ``createdAt`` and DICOM tags of ``count`` image sets. The studies are complete, and in a random order.

    :param layout: a name in ``LAYOUTS``.
    :param seed: the seed of the layout. The studies are the same for every seed.
    """
    columns = _columns()
    studies = list(_studies(count))
    moments = LAYOUTS[layout]([study.series for study in studies], random.Random(seed))
    for study in studies:
        places = range(study.first, study.first + study.series)
        counts = {
            "DICOMNumberOfStudyRelatedSeries": study.series,
            "DICOMNumberOfStudyRelatedInstances": sum(columns["instanceCount"][place] for place in places),
        }
        for place in places:
            tags = {tag: columns[column][place] for column, tag in _TEXT.items()}
            date, number = columns["StudyDate"][place], columns["SeriesNumber"][place]
            tags["DICOMStudyDate"] = date and date.replace("-", "")
            tags["DICOMSeriesNumber"] = int(number) if number and number.isdecimal() else None
            yield START + timedelta(milliseconds=round(next(moments) * DAY.total_seconds() * 1000)), {**tags, **counts}


def _studies(count: int) -> Iterator[Study]:
    """Yield studies until they have ``count`` series. The last one may be incomplete."""
    left = count
    for study in _all_studies():
        yield Study(study.first, min(study.series, left))
        left -= study.series
        if left <= 0:
            return
    raise ValueError(f"idc-index-data has {count - left} series, not {count}")


@cache
def _all_studies() -> list[Study]:
    found, first = [], 0
    for _, members in groupby(_columns()["StudyInstanceUID"]):
        size = len(list(members))
        found.append(Study(first, size))
        first += size
    random.Random(0).shuffle(found)
    return found


@cache
def _columns() -> dict[str, list[Any]]:
    import idc_index_data
    from pyarrow import parquet

    table = parquet.read_table(idc_index_data.IDC_INDEX_PARQUET_FILEPATH, columns=[*_TEXT, *_OTHERS])
    table = table.sort_by("StudyInstanceUID")
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _uniform(sizes: Sequence[int], _: random.Random) -> Iterator[float]:
    """One after the other, at equal intervals."""
    total = sum(sizes)
    return ((number + 0.5) / total for number in range(total))


def _studies_at_once(sizes: Sequence[int], draw: random.Random) -> Iterator[float]:
    """Each study at its own moment, and its series within one second."""
    return (moment for size in sizes for moment in _burst(draw.random(), size, 1.0, draw))


def _working_hours(sizes: Sequence[int], draw: random.Random) -> Iterator[float]:
    """Like studies, but nine of ten between 8:00 and 18:00."""
    for size in sizes:
        moment = draw.uniform(8 / 24, 18 / 24) if draw.randrange(10) else draw.random()
        yield from _burst(moment, size, 1.0, draw)


def _import_jobs(sizes: Sequence[int], draw: random.Random) -> Iterator[float]:
    """Import jobs of very different sizes, at random moments. A job brings one study per second."""
    rest = list(sizes)
    while rest:
        job, moment = rest[: round(draw.lognormvariate(3, 1.5)) + 1], draw.random()
        rest = rest[len(job) :]
        for second, size in enumerate(job):
            yield from _burst(moment + second / DAY.total_seconds(), size, 1.0, draw)


def _migration(sizes: Sequence[int], draw: random.Random) -> Iterator[float]:
    """Half of the image sets in one migration of ten minutes, the rest like studies, throughout the day."""
    began = draw.random()
    for size in sizes:
        moment = began + draw.random() / 144 if draw.getrandbits(1) else draw.random()
        yield from _burst(moment, size, 1.0, draw)


def _burst(moment: float, size: int, seconds: float, draw: random.Random) -> list[float]:
    ends = moment + seconds / DAY.total_seconds()
    # An image set that would arrive after midnight arrives just before.
    return [min(draw.uniform(moment, ends), 1 - 1e-6) for _ in range(size)]


LAYOUTS: dict[str, Callable[[Sequence[int], random.Random], Iterator[float]]] = {
    "uniform": _uniform,
    "studies": _studies_at_once,
    "working hours": _working_hours,
    "import jobs": _import_jobs,
    "migration": _migration,
}


def what(layout: str) -> str:
    """Return the description of a layout, in a sentence."""
    return str(LAYOUTS[layout].__doc__)


def dicom_files(frames: int, instances: int, seed: int = 0) -> Iterator[bytes]:
    """Yield the DICOM files of one series, each with so many frames of 16 by 16 random samples."""
    import numpy as np

    samples = np.random.default_rng(seed)
    for number in range(1, instances + 1):
        dataset = _dicom_dataset(number, seed)
        dataset.Rows = dataset.Columns = 16
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.NumberOfFrames = frames
        dataset.PixelData = samples.integers(0, 2**16, frames * 256, np.uint16).tobytes()
        yield _dicom_bytes(dataset)


def large_dicom_file(size: int) -> bytes:
    """Return a DICOM file with a document of so many bytes."""
    dataset = _dicom_dataset(1, 0)
    dataset.EncapsulatedDocument = bytes(size)
    return _dicom_bytes(dataset)


def _dicom_dataset(number: int, seed: int) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"2.25.{seed + 1}", f"2.25.{seed + 1}.1"
    dataset.SOPInstanceUID = f"2.25.{seed + 1}.1.{number}"
    dataset.PatientID, dataset.Modality, dataset.InstanceNumber = "P1", "OT", number
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _dicom_bytes(dataset: Any) -> bytes:
    import io

    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()
