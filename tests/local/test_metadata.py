"""GetImageSetMetadata, over HTTP and in ``mock_aws``."""

from __future__ import annotations

import gzip
import json

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.medicalimaging.image_sets import Instance

from airflow_provider_healthimaging.local import backend, mock_aws

TAGS = {"DICOMPatientId": "P1", "DICOMStudyInstanceUID": "1.2", "DICOMSeriesInstanceUID": "1.2.3"}


def read(client, datastore_id, image_set_id, **version):
    response = client.get_image_set_metadata(datastoreId=datastore_id, imageSetId=image_set_id, **version)
    assert (response["contentType"], response["contentEncoding"]) == ("application/json", "gzip")
    return json.loads(gzip.decompress(response["imageSetMetadataBlob"].read()))


def test_the_metadata_is_compressed_and_ordered_by_patient_study_and_series(client, put, datastore_id):
    image_set_id = put(dicom_tags={**TAGS, "DICOMSeriesModality": "CT"}, instances=[Instance("1.2.3.4")])
    document = read(client, datastore_id, image_set_id)
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
    assert read(client, datastore_id, image_set_id)["Patient"]["DICOM"] == {"PatientID": "P2"}
    assert read(client, datastore_id, image_set_id, versionId="1")["Patient"]["DICOM"] == {"PatientID": "P1"}


def test_an_unknown_image_set_is_an_error(client, local, datastore_id):
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.get_image_set_metadata(datastoreId=datastore_id, imageSetId="0" * 32)


def test_the_metadata_can_also_be_read_in_mock_aws():
    with mock_aws():
        state = backend()
        datastore_id = state.create_datastore().datastore_id
        image_set_id = state.put_image_set(datastore_id, dicom_tags=TAGS).image_set_id
        client = boto3.client("medical-imaging", region_name="us-east-1")
        assert read(client, datastore_id, image_set_id)["Study"]["DICOM"] == {"StudyInstanceUID": "1.2"}
