"""GetImageSetMetadata, over HTTP and in ``mock_aws``."""

from __future__ import annotations

import io
import struct
from base64 import b64decode, b64encode

import boto3
import pydicom
import pytest
from botocore.exceptions import ClientError
from moto.medicalimaging.image_sets import Instance
from pydicom.uid import ImplicitVRLittleEndian

from airflow_provider_healthimaging.local import backend, mock_aws
from airflow_provider_healthimaging.local.dicom import pydicom_sample_files

from .importing import dicom_file
from .stored import import_one, only_instance, parsed, read_metadata

TAGS = {"DICOMPatientId": "P1", "DICOMStudyInstanceUID": "1.2", "DICOMSeriesInstanceUID": "1.2.3"}


def test_the_metadata_is_compressed_and_ordered_by_patient_study_and_series(client, put, datastore_id):
    image_set_id = put(dicom_tags={**TAGS, "DICOMSeriesModality": "CT"}, instances=[Instance("1.2.3.4")])
    document = read_metadata(client, image_set_id)
    assert (document["DatastoreID"], document["ImageSetID"]) == (datastore_id, image_set_id)
    assert document["Patient"] == {"DICOM": {"PatientID": "P1"}}
    assert document["Study"]["DICOM"] == {"StudyInstanceUID": "1.2"}
    assert document["Study"]["Series"] == {
        "1.2.3": {
            "DICOM": {"SeriesInstanceUID": "1.2.3", "Modality": "CT"},
            "Instances": {"1.2.3.4": {"DICOM": {"SOPInstanceUID": "1.2.3.4"}}},
        }
    }


def test_the_metadata_of_an_earlier_version_can_be_read(client, local, put, datastore_id):
    image_set_id = put(dicom_tags=TAGS)
    local.update_image_set(datastore_id, image_set_id, dicom_tags={"DICOMPatientId": "P2"})
    assert read_metadata(client, image_set_id)["Patient"]["DICOM"] == {"PatientID": "P2"}
    assert read_metadata(client, image_set_id, versionId="1")["Patient"]["DICOM"] == {"PatientID": "P1"}


def test_an_unknown_image_set_is_an_error(client, local, datastore_id):
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.get_image_set_metadata(datastoreId=datastore_id, imageSetId="0" * 32)


def test_the_metadata_can_also_be_read_in_mock_aws():
    with mock_aws():
        state = backend()
        datastore_id = state.create_datastore().datastore_id
        image_set_id = state.put_image_set(datastore_id, dicom_tags=TAGS).image_set_id
        client = boto3.client("medical-imaging", region_name="us-east-1")
        document = read_metadata(client, image_set_id, datastore_id)
        assert document["Study"]["DICOM"] == {"StudyInstanceUID": "1.2"}


def is_importable(path):
    return {"SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"} <= set(pydicom.dcmread(path).dir())


PIXEL_DATA = 0x7FE00010
"""What follows is padding."""

FILES = [path for path in pydicom_sample_files() if is_importable(path)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_metadata_have_every_attribute_of_the_file(imports, client, path):
    document = read_metadata(client, import_one(imports, path.read_bytes()))
    (series,) = document["Study"]["Series"].values()
    _, instance = only_instance(document)
    levels = [document["Patient"], document["Study"], series, instance]
    found = {name: value for level in levels for name, value in level["DICOM"].items()}
    counts = {"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"}
    # Values of an attribute stand on one level only.
    assert sum(len(level["DICOM"]) for level in levels) == len(found)
    expected = attributes(parsed(path.read_bytes()), instance["DICOMVRs"])
    assert {name: value for name, value in found.items() if name not in counts} == expected


def attributes(dataset, private):
    """The attributes of a dataset by name, as the metadata have them. pydicom's own JSON has another form."""
    values = {}
    for element in dataset:
        if element.tag.element == 0 or element.tag >= PIXEL_DATA:
            continue
        name = element.keyword
        if not name or element.tag.is_private:
            name = f"{element.tag:08X}"
            assert private[name] == element.VR
        values[name] = value_of(element, private)
    return values


def value_of(element, private):
    if element.VR == "SQ":
        return [attributes(item, private) for item in element.value]
    if element.is_empty:
        return None
    many = element.VM > 1
    values = [text_or_number(element.VR, each) for each in (element.value if many else [element.value])]
    return values if many else values[0]


def text_or_number(vr, value):
    if vr in {"US", "SS", "UL", "SL", "FL", "FD"}:
        return value
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return f"{value:08X}" if vr == "AT" else str(value)


def test_an_attribute_that_differs_between_instances_stands_at_each_instance(imports, client):
    first = dicom_file(StationName="A", SeriesDescription="same", InstanceNumber=1)
    second = dicom_file(StationName="B", SeriesDescription="same", InstanceNumber=2, SOPInstanceUID="1.1.1.2")
    imports.upload({"scans/1": first, "scans/2": second})
    image_set_id = import_one(imports, first)
    (series,) = read_metadata(client, image_set_id)["Study"]["Series"].values()
    assert (series["DICOM"]["StationName"], series["DICOM"]["SeriesDescription"]) == ("A", "same")
    one, two = (series["Instances"][uid]["DICOM"] for uid in ("1.1.1.1", "1.1.1.2"))
    assert (one["InstanceNumber"], two["InstanceNumber"]) == ("1", "2")
    assert "StationName" not in one
    assert two["StationName"] == "B"


def test_values_that_would_take_long_to_decode_are_left_out_and_binary_ones_are_base64(imports, client):
    content = dicom_file(ImageComments="x" * 100_000, EncapsulatedDocument=b"\0\1" * 50_000, PatientAge="042Y")
    dataset = parsed(content)
    # With VRs, a text of this size has the VR of binary values.
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    file = io.BytesIO()
    dataset.save_as(file, implicit_vr=True, little_endian=True)
    document = read_metadata(client, import_one(imports, file.getvalue()))
    _, instance = only_instance(document)
    assert "ImageComments" not in instance["DICOM"]
    assert b64decode(instance["DICOM"]["EncapsulatedDocument"]) == b"\0\1" * 50_000
    assert document["Study"]["DICOM"]["PatientAge"] == "042Y"


def test_of_a_header_that_is_too_large_the_attributes_before_are_there(imports, client, monkeypatch):
    monkeypatch.setattr("moto.medicalimaging.dicom_json.MAX_HEADER_BYTES", 50_000)
    content = dicom_file(InstanceNumber=1, EncapsulatedDocument=b"\0\1" * 50_000)
    _, instance = only_instance(read_metadata(client, import_one(imports, content)))
    assert instance["DICOM"] == {"InstanceNumber": "1", "SOPInstanceUID": "1.1.1.1"}


def nested(depth):
    """Sequences in each other, without lengths."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    begin = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + item
    return begin * depth + struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0) * depth


BROKEN = {
    "a report that ends within a sequence": lambda: report()[:2000],
    "sequences that are nested too deep": lambda: dicom_file(InstanceNumber=1) + nested(300),
    "a study id of numbers": lambda: dicom_file().replace(
        struct.pack("<HH2sH", 0x0020, 0x000E, b"UI", 6),
        struct.pack("<HH2sH", 0x0020, 0x0010, b"US", 4) + bytes(4) + struct.pack("<HH2sH", 0x0020, 0x000E, b"UI", 6),
    ),
}


def report():
    return next(path for path in pydicom_sample_files() if path.name == "reportsi.dcm").read_bytes()


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_breaks_after_its_ids_does_not_hide_the_other_instances(imports, client, case):
    broken = BROKEN[case]()
    whole = parsed(report() if "report" in case else dicom_file())
    ids = {keyword: whole[keyword].value for keyword in ("StudyInstanceUID", "SeriesInstanceUID")}
    imports.upload({"scans/other": dicom_file(SOPInstanceUID="1.9", InstanceNumber=7, **ids)})
    image_set_id = import_one(imports, broken)
    (series,) = read_metadata(client, image_set_id)["Study"]["Series"].values()
    assert len(series["Instances"]) == 2
    assert series["Instances"]["1.9"]["DICOM"]["InstanceNumber"] == "7"


def test_numbers_that_json_does_not_have_are_text(imports, client):
    content = dicom_file(RealWorldValueSlope=float("nan"), DopplerSampleVolumeXPosition=-5)
    _, instance = only_instance(read_metadata(client, import_one(imports, content)))
    assert instance["DICOM"]["RealWorldValueSlope"] == "nan"
    assert instance["DICOM"]["DopplerSampleVolumeXPosition"] == -5
