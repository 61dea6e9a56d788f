"""What an import job does to the data store, and what its output files say about each input file."""

from __future__ import annotations

import gzip
import json
import struct
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.core.base_backend import BackendDict
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG2MPML, JPEGBaseline8Bit

from airflow_provider_healthimaging.local import backend
from airflow_provider_healthimaging.local.dicom import pydicom_sample_files

from .importing import DATASTORE_ID, FAILURE, MANIFEST, SUCCESS, WARNING, dicom_file

IMAGE = {"Rows": 2, "Columns": 2, "SamplesPerPixel": 1, "BitsAllocated": 8, "PhotometricInterpretation": "MONOCHROME2"}


def image_set_of(output, key):
    (line,) = [line for line in output[SUCCESS] if line["inputFile"] == key]
    return line["importResponse"]


def contents(image_set):
    return {uid: instance.open().read() for uid, instance in image_set.instances.items()}


def test_a_prefix_is_no_folder_and_everything_under_it_is_input(imports):
    keys = ["scans/1/a.dcm", "scans/1/deep/er/b.dcm", "scans/10/c.dcm", "scans/1", "scans/2/d.dcm", "other/e.dcm"]
    _, output = imports.run(dict.fromkeys(keys, dicom_file()), inputS3Uri="s3://input/scans/1")
    assert [line["inputFile"] for line in output[SUCCESS]] == [
        "scans/1", "scans/1/a.dcm", "scans/1/deep/er/b.dcm", "scans/10/c.dcm"
    ]  # fmt: skip
    _, whole = imports.run(inputS3Uri="s3://input")
    assert whole[MANIFEST]["numberOfScannedFiles"] == len(keys)


def test_a_deleted_object_and_an_old_version_are_no_input(imports):
    imports.s3.put_bucket_versioning(Bucket="input", VersioningConfiguration={"Status": "Enabled"})
    imports.upload({"scans/a": b"old", "scans/b": b"deleted"})
    imports.s3.delete_object(Bucket="input", Key="scans/b")
    _, output = imports.run({"scans/a": dicom_file()})
    assert (len(output[SUCCESS]), output[FAILURE]) == (1, [])


def test_a_job_without_files_completes_with_counts_of_zero(imports):
    job, output = imports.run()
    assert job["jobStatus"] == "COMPLETED"
    assert output[MANIFEST]["numberOfScannedFiles"] == output[MANIFEST]["numberOfGeneratedImageSets"] == 0
    assert output[MANIFEST]["imageSetsSummary"] == output[SUCCESS] == output[FAILURE] == output[WARNING] == []


def test_real_files_become_one_image_set_for_each_series_and_each_file_is_in_one_list(imports, local):
    files = {f"scans/{number:03}-{path.name}": path.read_bytes() for number, path in enumerate(pydicom_sample_files())}
    _, output = imports.run(files)
    summary, failed = output[MANIFEST], output[FAILURE]
    assert len(local.image_sets(DATASTORE_ID)) == summary["numberOfGeneratedImageSets"] == 36
    assert {each["isPrimary"] for each in summary["imageSetsSummary"]} == {True}
    assert (summary["numberOfScannedFiles"], summary["numberOfImportedFiles"], len(failed)) == (163, 145, 18)
    assert {line["inputFile"] for line in output[SUCCESS] + failed} == set(files)
    assert {line["inputFile"].partition("-")[2] for line in output[WARNING]} == {"MR_truncated.dcm", "badVR.dcm"}
    assert all(line["exception"]["message"].startswith("DICOM attributes StudyInstanceUID") for line in failed)


def test_the_manifest_has_the_documented_members(imports):
    job, output = imports.run({"scans/a": dicom_file(), "scans/b": dicom_file(SOPInstanceUID="2"), "scans/c": b"text"})
    folder = job["outputS3Uri"]
    image_set_id = image_set_of(output, "scans/a")["imageSetId"]
    assert output[MANIFEST] == {
        "jobId": job["jobId"],
        "datastoreId": DATASTORE_ID,
        "inputS3Uri": "s3://input/scans/",
        "outputS3Uri": folder,
        "successOutputS3Uri": f"{folder}SUCCESS/",
        "failureOutputS3Uri": f"{folder}FAILURE/",
        "warningsOutputS3Uri": f"{folder}WARNING/",
        "numberOfScannedFiles": 3,
        "numberOfImportedFiles": 2,
        "numberOfFilesWithCustomerError": 1,
        "numberOfFilesWithServerError": 0,
        "numberOfGeneratedImageSets": 1,
        "imageSetsSummary": [
            {"imageSetId": image_set_id, "imageSetVersion": 1, "isPrimary": True, "numberOfMatchedSOPInstances": 2}
        ],
    }


def test_the_bytes_of_each_instance_are_kept_in_order_although_the_objects_are_deleted(imports, local):
    files = {f"scans/{number}": dicom_file(SOPInstanceUID=f"1.{9 - number}") for number in range(3)}
    imports.run(files)
    for key in files:
        imports.s3.delete_object(Bucket="input", Key=key)
    (image_set,) = local.image_sets(DATASTORE_ID)
    assert [*contents(image_set).items()] == [*zip(("1.9", "1.8", "1.7"), files.values(), strict=True)]


def test_new_instances_of_a_known_series_raise_the_version_and_updated_at_and_keep_created_at(imports, client, clock):
    imports.run({"scans/a": dicom_file()})
    clock.advance(60)
    _, output = imports.run({"more/b": dicom_file(SOPInstanceUID="2")}, inputS3Uri="s3://input/more/")
    (hit,) = client.search_image_sets(datastoreId=DATASTORE_ID)["imageSetsMetadataSummaries"]
    assert (hit["version"], (hit["updatedAt"] - hit["createdAt"]).total_seconds()) == (2, 60)
    assert hit["DICOMTags"]["DICOMNumberOfStudyRelatedInstances"] == 2
    assert image_set_of(output, "more/b") == {
        "imageSetId": hit["imageSetId"], "imageSetVersion": 2, "isPrimary": True
    }  # fmt: skip
    assert output[MANIFEST]["imageSetsSummary"][0]["numberOfMatchedSOPInstances"] == 1


def test_a_known_instance_is_overwritten_in_a_new_version_and_the_old_version_keeps_its_bytes(imports, local):
    first, second = dicom_file(StudyTime="10"), dicom_file(SeriesNumber=7, StudyTime="10")
    imports.run({"scans/a": first})
    _, output = imports.run({"scans/a": second})
    image_set_id = image_set_of(output, "scans/a")["imageSetId"]
    assert [
        contents(local.get_image_set(DATASTORE_ID, image_set_id, version))["1.1.1.1"] for version in ("1", "2")
    ] == [first, second]


def test_the_last_file_of_a_job_with_the_same_instance_wins_and_both_are_imported(imports, local):
    last = dicom_file(StudyID="7")
    _, output = imports.run({"scans/a": dicom_file(), "scans/b": last})
    (image_set,) = local.image_sets(DATASTORE_ID)
    assert contents(image_set) == {"1.1.1.1": last}
    assert (len(output[SUCCESS]), output[MANIFEST]["imageSetsSummary"][0]["numberOfMatchedSOPInstances"]) == (2, 1)


@pytest.mark.parametrize(
    ("known", "new"),
    [
        ({"PatientID": "P-1"}, {"PatientID": "P-2"}),
        ({"StudyDate": "20260101"}, {"StudyDate": "20260102", "SeriesInstanceUID": "1.1.2"}),
        ({"Modality": "CT"}, {"Modality": "MR"}),
    ],
    ids=["patient", "study, in another series", "series"],
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_values_that_conflict_make_an_image_set_that_is_not_primary(imports, client, known, new, jobs):
    old, conflicting = dicom_file(**known), dicom_file(SOPInstanceUID="2", **new)
    if jobs == 2:
        imports.run({"scans/a": old})
    _, output = imports.run({"scans/a": old, "scans/b": conflicting})
    expected = {"scans/a": (jobs, True), "scans/b": (1, False)}
    found = {key: image_set_of(output, key) for key in expected}
    assert {key: (each["imageSetVersion"], each["isPrimary"]) for key, each in found.items()} == expected
    hits = client.search_image_sets(datastoreId=DATASTORE_ID)["imageSetsMetadataSummaries"]
    assert {hit["imageSetId"]: hit["isPrimary"] for hit in hits} == {
        found["scans/a"]["imageSetId"]: True,
        found["scans/b"]["imageSetId"]: False,
    }
    assert {hit["DICOMTags"]["DICOMNumberOfStudyRelatedInstances"] for hit in hits} == {1}


def test_a_missing_value_and_a_value_of_the_other_level_do_not_conflict(imports, local):
    imports.run(
        {
            "scans/a": dicom_file(PatientID="P", Modality="CT"),
            "scans/b": dicom_file(SOPInstanceUID="2", PatientID=""),
            "scans/c": dicom_file(SeriesInstanceUID="1.1.2", Modality="MR"),
            "scans/d": dicom_file(StudyInstanceUID="2", PatientID="Q"),
        }
    )
    assert Counter(each.is_primary for each in local.image_sets(DATASTORE_ID)) == {True: 3}


def test_each_job_makes_its_own_image_sets_of_conflicting_files(imports, local):
    imports.run({"scans/a": dicom_file(PatientID="P")})
    conflicting = {
        "more/b": dicom_file(PatientID="Q"),
        "more/c": dicom_file(PatientID="Q", SOPInstanceUID="2"),
        "more/d": dicom_file(PatientID="R"),
    }
    for _ in range(2):
        _, output = imports.run(conflicting, inputS3Uri="s3://input/more/")
        ids = [image_set_of(output, key)["imageSetId"] for key in conflicting]
        assert ids[0] == ids[1] != ids[2]
    assert Counter(each.is_primary for each in local.image_sets(DATASTORE_ID)) == {True: 1, False: 4}


def test_an_instance_that_does_not_conflict_goes_to_the_primary_image_set_although_there_are_others(imports):
    files = {"scans/a": dicom_file(Modality="CT"), "scans/b": dicom_file(Modality="MR", SOPInstanceUID="2")}
    _, first = imports.run(files)
    _, second = imports.run({"more/c": dicom_file(Modality="CT", SOPInstanceUID="3")}, inputS3Uri="s3://input/more/")
    primary = image_set_of(first, "scans/a")
    assert image_set_of(second, "more/c") == {**primary, "imageSetVersion": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a DICOM file"),
        (b"Dear colleague", "not a DICOM file"),
        (dicom_file()[:-3], "truncated"),
        (dicom_file(SOPInstanceUID=None), "DICOM attribute SOPInstanceUID does not exist"),
        (dicom_file(StudyInstanceUID=""), "DICOM attribute StudyInstanceUID does not exist"),
        (dicom_file(SeriesInstanceUID="1.9.9").replace(b"1.9.9", b"Doe^J"), "SeriesInstanceUID is not valid: Doe^J"),
    ],
    ids=["empty", "text", "truncated", "no instance", "no study", "no UID"],
)
def test_a_file_that_cannot_be_imported_is_a_failure_and_the_others_are_imported(imports, content, message):
    job, output = imports.run({"scans/bad": content, "scans/good": dicom_file()})
    assert job["jobStatus"] == "COMPLETED"
    (failed,) = output[FAILURE]
    assert (failed["inputFile"], failed["exception"]["exceptionType"]) == ("scans/bad", "ValidationException")
    assert message in failed["exception"]["message"]
    assert [line["inputFile"] for line in output[SUCCESS]] == ["scans/good"]


def test_a_job_of_nothing_but_text_completes(imports):
    job, output = imports.run({"scans/a.txt": b"text"})
    assert (job["jobStatus"], len(output[FAILURE]), output[SUCCESS]) == ("COMPLETED", 1, [])


# The offsets of the two fragments: the second one is after the eight bytes of a header and two of content.
OFFSETS = struct.pack("<LL", 0, 10)


def pixels(*fragments, frames=1, syntax=JPEGBaseline8Bit, has_bot=True):
    data = encapsulate([*fragments], has_bot=has_bot)
    return dicom_file(**IMAGE, syntax=syntax, NumberOfFrames=frames, PixelData=data)


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (dicom_file(**IMAGE, PixelData=b"\1\2\3\4"), None),
        (dicom_file(**IMAGE, NumberOfFrames=2, PixelData=b"\1\2\3\4"), (45328, "FramesExtractionFailure")),
        (dicom_file(**IMAGE, PixelData=b"\1\2\3\4")[:-2], (45328, "FramesExtractionFailure")),
        (dicom_file(BitsAllocated=8, PixelData=b"\1\2\3\4"), (45328, "FramesExtractionFailure")),
        (pixels(b"\1\2", b"\3\4", frames=2), None),
        (pixels(b"\1\2", b"\3\4", frames=2, has_bot=False), None),
        (pixels(b"\1\2", frames=9, syntax=MPEG2MPML), None),
        (pixels(b"\1\2", b"\3\4", frames=3), (45329, "FrameNumberMismatch")),
        (pixels(b"\1\2", b"\3\4", frames=1), (45330, "InvalidOffsetTable")),
        (pixels(b"\1\2", b"\3\4", frames=2).replace(OFFSETS, OFFSETS[:4] + b"\7\0\0\0"), (45330, "InvalidOffsetTable")),
        (pixels(b"\1\2", b"\3\4", frames=2)[:-9], (45328, "FramesExtractionFailure")),
        (dicom_file(syntax="1.2.3.4"), (45344, "UnsupportedTransferSyntax")),
        (dicom_file(SOPInstanceUID="1.2..3"), (45570, "InvalidUidFormat")),
        (dicom_file(SOPInstanceUID="1.02"), (45570, "InvalidUidFormat")),
        (dicom_file(PatientID="P" * 513), (45571, "InvalidDicomValueLength")),
        (dicom_file(SeriesNumber="12345").replace(b"12345", b"x2345"), (45062, "ElementsDiscarded")),
    ],
)
def test_a_file_with_a_problem_is_imported_with_a_warning(imports, content, warning):
    _, output = imports.run({"scans/a": content})
    response = image_set_of(output, "scans/a")
    if warning is None:
        assert output[WARNING] == []
        return
    code, name = warning
    (line,) = output[WARNING]
    assert line["inputFile"] == "scans/a"
    (found,) = line["importResponse"].pop("warnings")
    assert (found["warning_reason_code"], found["type"]) == (code, name)
    assert found["message"]
    assert line["importResponse"] == response


def test_metadata_list_the_imported_instances(imports, client):
    _, output = imports.run({"scans/a": dicom_file(SOPInstanceUID="9"), "scans/b": dicom_file(SOPInstanceUID="8")})
    image_set_id = image_set_of(output, "scans/a")["imageSetId"]
    blob = client.get_image_set_metadata(datastoreId=DATASTORE_ID, imageSetId=image_set_id)["imageSetMetadataBlob"]
    (series,) = json.loads(gzip.decompress(blob.read()))["Study"]["Series"].values()
    assert [*series["Instances"]] == ["9", "8"]


FILES = st.tuples(
    st.sampled_from(["good", "good", "good", "cut", "text", "bad UID", "long value"]),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 3),
    st.sampled_from(["", "P", "Q"]),
)


def content_of(kind, study, series, instance, patient):
    uids = {"StudyInstanceUID": str(study), "SeriesInstanceUID": f"{study}.{series}", "SOPInstanceUID": f"3.{instance}"}
    if kind == "long value":
        return dicom_file(**uids, PatientID=patient, AccessionNumber="A" * 600)
    whole = dicom_file(**uids, PatientID=patient)
    return {"cut": whole[:-3], "text": b"text", "bad UID": whole.replace(b"3.", b"3x")}.get(kind, whole)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.lists(FILES, max_size=8), min_size=1, max_size=3))
def test_after_any_jobs_each_file_is_counted_once_and_the_data_store_has_its_bytes(imports, jobs):
    BackendDict.reset()
    state = backend()
    state.create_datastore("tests", datastore_id=DATASTORE_ID)
    for bucket in ("input", "output"):
        imports.s3.create_bucket(Bucket=bucket)
    for number, job in enumerate(jobs):
        files = {f"{number}/{place}": content_of(*file) for place, file in enumerate(job)}
        _, output = imports.run(files, inputS3Uri=f"s3://input/{number}/")
        summary = output[MANIFEST]
        succeeded, failed = ([line["inputFile"] for line in output[name]] for name in (SUCCESS, FAILURE))
        good = [key for key, file in zip(files, job, strict=True) if file[0] in {"good", "long value"}]
        assert (sorted(succeeded), sorted(succeeded + failed)) == (sorted(good), sorted(files))
        warned = [key for key, file in zip(files, job, strict=True) if file[0] == "long value"]
        assert [line["inputFile"] for line in output[WARNING]] == warned
        assert (summary["numberOfScannedFiles"], summary["numberOfImportedFiles"]) == (len(files), len(good))
        assert summary["numberOfFilesWithCustomerError"] == len(failed)
        named = {line["importResponse"]["imageSetId"] for line in output[SUCCESS]}
        assert {each["imageSetId"] for each in summary["imageSetsSummary"]} == named
        for line in output[SUCCESS]:
            response = line["importResponse"]
            image_set = state.get_image_set(DATASTORE_ID, response["imageSetId"])
            assert (image_set.version, image_set.is_primary) == (response["imageSetVersion"], response["isPrimary"])
        by_image_set = {}
        for line in output[SUCCESS]:
            content = files[line["inputFile"]]
            uid = f"3.{job[int(line['inputFile'].partition('/')[2])][3]}"
            by_image_set.setdefault(line["importResponse"]["imageSetId"], {})[uid] = content
        for image_set_id, expected in by_image_set.items():
            assert expected.items() <= contents(state.get_image_set(DATASTORE_ID, image_set_id)).items()
    primary = Counter(
        each.dicom_tags["DICOMSeriesInstanceUID"] for each in state.image_sets(DATASTORE_ID) if each.is_primary
    )
    assert set(primary.values()) <= {1}
