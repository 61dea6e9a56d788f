"""The DICOM loader, with the sample files of pydicom, and with broken files."""

from __future__ import annotations

import logging
import shutil
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from airflow_provider_healthimaging.local.dicom import load_dicom, pydicom_sample_files

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def load(local, datastore_id):
    def run(*paths, at=NOON):
        return load_dicom(paths, datastore_id, backend=local, created_at=at)

    return run


@pytest.fixture
def hits(client, datastore_id):
    """Searches the data store over HTTP, and returns all search hits by series."""

    def read():
        pages = client.get_paginator("search_image_sets").paginate(datastoreId=datastore_id)
        return {
            hit["DICOMTags"]["DICOMSeriesInstanceUID"]: hit
            for page in pages
            for hit in page["imageSetsMetadataSummaries"]
        }

    return read


@pytest.fixture
def write(tmp_path):
    """Writes a DICOM file with attributes by keyword. Attributes with the value ``None`` are left out."""

    def make(name, **attributes):
        dataset = Dataset()
        uids = {"StudyInstanceUID": "1.1", "SeriesInstanceUID": "1.1.1", "SOPInstanceUID": f"1.1.1.{len(name)}"}
        for keyword, value in {**uids, **attributes}.items():
            if value is not None:
                setattr(dataset, keyword, value)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        dataset.file_meta.MediaStorageSOPInstanceUID = "1.2"
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return make


def test_the_sample_files_of_pydicom_are_36_series_in_29_studies(load, hits):
    files = pydicom_sample_files()
    report = load(*files)
    assert report.files_read == 145
    assert len(report.created) == 36
    assert report.updated == ()
    assert report.files_read + len(report.skipped) == len(files)
    found = hits()
    assert len(found) == 36
    assert len({hit["DICOMTags"]["DICOMStudyInstanceUID"] for hit in found.values()}) == 29
    assert {hit["createdAt"] for hit in found.values()} == {NOON}
    assert {hit["version"] for hit in found.values()} == {1}


def test_the_sample_files_are_all_inside_the_installed_package():
    package = Path(pydicom.__file__).parent
    files = pydicom_sample_files()
    assert len(files) > 145
    assert all(path.is_relative_to(package) for path in files)


def test_loading_the_same_files_again_overwrites_them_in_one_new_version(load, hits):
    load(*pydicom_sample_files())
    report = load(*pydicom_sample_files(), at=NOON + HOUR)
    assert (report.created, len(report.updated), report.files_read) == ((), 36, 145)
    assert {(hit["version"], hit["createdAt"], hit["updatedAt"]) for hit in hits().values()} == {(2, NOON, NOON + HOUR)}


def test_every_tag_is_taken_from_its_attribute(load, hits, write):
    load(
        write(
            "a.dcm",
            PatientID="P-1",
            PatientName="Doe^Jane",
            PatientBirthDate="19700101",
            PatientSex="F",
            StudyID="S-1",
            StudyDescription="Head",
            AccessionNumber="A-1",
            Modality="CT",
            BodyPartExamined="HEAD",
            SeriesNumber=-3,
            StudyDate="20240229",
            StudyTime="101530.5",
        )
    )
    assert hits()["1.1.1"]["DICOMTags"] == {
        "DICOMPatientId": "P-1",
        "DICOMPatientName": "Doe^Jane",
        "DICOMPatientBirthDate": "19700101",
        "DICOMPatientSex": "F",
        "DICOMStudyInstanceUID": "1.1",
        "DICOMStudyId": "S-1",
        "DICOMStudyDescription": "Head",
        "DICOMNumberOfStudyRelatedSeries": 1,
        "DICOMNumberOfStudyRelatedInstances": 1,
        "DICOMAccessionNumber": "A-1",
        "DICOMSeriesInstanceUID": "1.1.1",
        "DICOMSeriesModality": "CT",
        "DICOMSeriesBodyPart": "HEAD",
        "DICOMSeriesNumber": -3,
        "DICOMStudyDate": "20240229",
        "DICOMStudyTime": "101530.5",
    }


def test_a_missing_or_empty_attribute_is_null(load, write, post):
    load(write("a.dcm", PatientID="", StudyDate=None))
    (hit,) = post().body["imageSetsMetadataSummaries"]
    known = {name for name, value in hit["DICOMTags"].items() if value is not None}
    assert known == {
        "DICOMStudyInstanceUID",
        "DICOMSeriesInstanceUID",
        "DICOMNumberOfStudyRelatedSeries",
        "DICOMNumberOfStudyRelatedInstances",
    }


def test_a_tag_is_taken_from_the_first_file_that_has_it(load, hits, write):
    load(write("a", Modality="MR"), write("bb", StudyID="S"))
    load(write("ccc", SeriesNumber=7))
    tags = hits()["1.1.1"]["DICOMTags"]
    assert (tags["DICOMSeriesModality"], tags["DICOMStudyId"], tags["DICOMSeriesNumber"]) == ("MR", "S", 7)


def test_each_load_with_new_files_makes_one_version(load, hits, write):
    load(write("a"), write("bb"))
    report = load(write("ccc"), write("dddd"), at=NOON + HOUR)
    assert (report.created, len(report.updated)) == ((), 1)
    (hit,) = hits().values()
    assert (hit["version"], hit["createdAt"], hit["updatedAt"]) == (2, NOON, NOON + HOUR)
    assert hit["imageSetId"] == report.updated[0]
    assert hit["DICOMTags"]["DICOMNumberOfStudyRelatedInstances"] == 4


def test_a_known_instance_is_overwritten_and_counted_once(load, hits, write, local, datastore_id):
    load(write("a"))
    shutil.copy(write("a"), write("a").with_name("copy"))
    report = load(write("a").with_name("copy"), at=NOON + HOUR)
    assert (report.created, len(report.updated), report.files_read) == ((), 1, 1)
    (hit,) = hits().values()
    assert (hit["version"], hit["updatedAt"]) == (2, NOON + HOUR)
    assert hit["DICOMTags"]["DICOMNumberOfStudyRelatedInstances"] == 1
    (image_set,) = local.image_sets(datastore_id)
    assert [instance.content.name for instance in image_set.instances.values()] == ["copy"]


def test_the_counts_of_a_study_are_right_on_all_its_image_sets_without_a_version(load, hits, write):
    load(write("a"), write("other", StudyInstanceUID="2", SeriesInstanceUID="2.1"))
    load(write("bb", SeriesInstanceUID="1.1.2"), write("ccc", SeriesInstanceUID="1.1.2"), at=NOON + HOUR)
    found = hits()
    for series in ("1.1.1", "1.1.2"):
        tags = found[series]["DICOMTags"]
        assert tags["DICOMNumberOfStudyRelatedSeries"] == 2
        assert tags["DICOMNumberOfStudyRelatedInstances"] == 3
    assert found["2.1"]["DICOMTags"]["DICOMNumberOfStudyRelatedSeries"] == 1
    assert (found["1.1.1"]["version"], found["1.1.1"]["updatedAt"]) == (1, NOON)


def test_one_series_uid_in_two_studies_is_two_image_sets(load, local, datastore_id, write):
    load(write("a", StudyInstanceUID="1"), write("bb", StudyInstanceUID="2"))
    assert len(local.image_sets(datastore_id)) == 2


def test_unusable_files_are_reported_with_a_reason_and_the_others_are_loaded(load, hits, write, tmp_path):
    good = write("good.dcm")
    whole = good.read_bytes()
    broken = {
        "cut.dcm": (whole[:-20], None),
        "empty.dcm": (b"", "not a DICOM file"),
        "letter.txt": (b"Dear colleague, CANARY", "not a DICOM file"),
        "head.dcm": (whole[:132], None),
        "noise.dcm": (whole[:132] + b"CANARY" * 100, None),
    }
    for name, (content, _) in broken.items():
        (tmp_path / name).write_bytes(content)
    write("seriesless.dcm", SeriesInstanceUID=None)
    write("instanceless.dcm", SOPInstanceUID=None)
    report = load(tmp_path)
    assert (report.files_read, len(report.created), list(hits())) == (1, 1, ["1.1.1"])
    reasons = {path.name: reason for path, reason in report.skipped}
    assert reasons.keys() == {*broken, "seriesless.dcm", "instanceless.dcm"}
    for name, (_, reason) in broken.items():
        assert reason in {None, reasons[name]}
    assert reasons["head.dcm"].endswith("SeriesInstanceUID, SOPInstanceUID, TransferSyntaxUID do not exist")
    assert reasons["seriesless.dcm"] == "DICOM attribute SeriesInstanceUID does not exist"
    assert reasons["instanceless.dcm"] == "DICOM attribute SOPInstanceUID does not exist"
    assert "CANARY" not in str(report)


def test_a_reason_never_quotes_the_file(load, write, monkeypatch):
    def fail(*_, **__):
        raise ValueError("CANARY")

    monkeypatch.setattr(pydicom.filereader, "read_partial", fail)
    ((_, reason),) = load(write("a")).skipped
    assert reason == "unreadable (ValueError)"


def test_a_file_that_is_truncated_inside_its_pixels_is_loaded(load, hits, tmp_path):
    whole = next(path for path in pydicom_sample_files() if path.name == "CT_small.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    report = load(tmp_path)
    assert (report.files_read, report.skipped) == (1, ())


def test_a_tag_that_cannot_be_read_is_null_and_its_file_is_loaded(load, hits, write):
    path = write("a.dcm", SeriesNumber="12345", PatientID="P")
    path.write_bytes(path.read_bytes().replace(b"12345", b"x2345"))
    assert load(path).files_read == 1
    tags = hits()["1.1.1"]["DICOMTags"]
    assert tags["DICOMPatientId"] == "P"
    assert "DICOMSeriesNumber" not in tags


def test_several_values_are_joined_with_a_backslash_as_in_dicom(load, hits, write):
    load(write("a.dcm", PatientID="P", StudyDescription="x", Modality=["CT", "MR"]))
    assert hits()["1.1.1"]["DICOMTags"]["DICOMSeriesModality"] == "CT\\MR"


def test_names_in_other_character_sets_are_decoded(load, hits):
    load(Path(pydicom.__file__).with_name("data") / "charset_files")
    names = {hit["DICOMTags"]["DICOMPatientName"] for hit in hits().values()}
    assert any("Yamada^Tarou=山田^太郎=やまだ^たろう" in name for name in names)
    assert any("Buc^Jérôme" in name for name in names)


def test_a_path_that_does_not_exist_is_an_error_before_anything_is_loaded(load, hits, write, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        load(write("a"), tmp_path / "gone")
    assert hits() == {}


def test_unusual_files_cause_no_warnings_and_no_log_lines(load, caplog, capfd):
    level = logging.getLogger("pydicom").level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(*pydicom_sample_files())
    assert caught == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("pydicom").level == level


def test_the_default_time_of_a_load_is_now(local, datastore_id, write):
    before = datetime.now(UTC)
    load_dicom([write("a")], datastore_id, backend=local)
    (image_set,) = local.image_sets(datastore_id)
    assert before <= image_set.created_at == image_set.updated_at <= datetime.now(UTC)
