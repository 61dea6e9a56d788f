"""The attributes of a patient, a study and a series, by DICOM keyword. All others belong to an instance.

Source: "Metadata normalization" of the AWS HealthImaging Developer Guide. It lists the modules of DICOM PS3.3, which
contain these attributes.
"""

from collections.abc import Mapping
from types import MappingProxyType

TAG_KEYWORDS: Mapping[str, str] = MappingProxyType(
    {
        "DICOMPatientId": "PatientID",
        "DICOMPatientName": "PatientName",
        "DICOMPatientBirthDate": "PatientBirthDate",
        "DICOMPatientSex": "PatientSex",
        "DICOMStudyInstanceUID": "StudyInstanceUID",
        "DICOMStudyId": "StudyID",
        "DICOMStudyDescription": "StudyDescription",
        "DICOMNumberOfStudyRelatedSeries": "NumberOfStudyRelatedSeries",
        "DICOMNumberOfStudyRelatedInstances": "NumberOfStudyRelatedInstances",
        "DICOMAccessionNumber": "AccessionNumber",
        "DICOMSeriesInstanceUID": "SeriesInstanceUID",
        "DICOMSeriesModality": "Modality",
        "DICOMSeriesBodyPart": "BodyPartExamined",
        "DICOMSeriesNumber": "SeriesNumber",
        "DICOMStudyDate": "StudyDate",
        "DICOMStudyTime": "StudyTime",
    }
)
"""``DICOMTags`` of the API Reference, and the keyword of each."""

LEVELS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "Patient": frozenset(
            {
                "EthnicGroup",
                "IssuerOfPatientID",
                "OtherPatientIDs",
                "OtherPatientNames",
                "PatientBirthDate",
                "PatientBirthTime",
                "PatientBreedDescription",
                "PatientComments",
                "PatientID",
                "PatientName",
                "PatientSex",
                "PatientSpeciesDescription",
                "ResponsibleOrganization",
                "ResponsiblePerson",
                "TypeOfPatientID",
            }
        ),
        "Study": frozenset(
            {
                "AccessionNumber",
                "AdditionalPatientHistory",
                "AdmissionID",
                "Allergies",
                "MedicalAlerts",
                "NameOfPhysiciansReadingStudy",
                "NumberOfStudyRelatedInstances",
                "NumberOfStudyRelatedSeries",
                "Occupation",
                "PatientAge",
                "PatientSize",
                "PatientWeight",
                "PregnancyStatus",
                "ReferringPhysicianName",
                "SmokingStatus",
                "StudyDate",
                "StudyDescription",
                "StudyID",
                "StudyInstanceUID",
                "StudyTime",
            }
        ),
        "Series": frozenset(
            {
                "BodyPartExamined",
                "DeviceSerialNumber",
                "FrameOfReferenceUID",
                "InstitutionName",
                "Laterality",
                "Manufacturer",
                "ManufacturerModelName",
                "Modality",
                "OperatorsName",
                "PatientPosition",
                "PerformedProcedureStepDescription",
                "PerformedProcedureStepID",
                "PerformedProcedureStepStartDate",
                "PerformedProcedureStepStartTime",
                "PerformingPhysicianName",
                "PositionReferenceIndicator",
                "ProtocolName",
                "SeriesDate",
                "SeriesDescription",
                "SeriesInstanceUID",
                "SeriesNumber",
                "SeriesTime",
                "SoftwareVersions",
                "StationName",
            }
        ),
    }
)
