"""The URLs of HealthImaging. The host begins with ``runtime-`` for the data plane, and with ``dicom-`` for DICOMweb."""

from .responses import MedicalImagingResponse

# The pattern requires a region, because "medical-imaging.s3.amazonaws.com" is an S3 bucket.
url_bases = [r"https?://(?:(?:runtime|dicom)-)?medical-imaging\.[a-z]{2}(?:-[a-z]+)+-[0-9]+\.amazonaws\.com"]

_FIRST_SEGMENTS = ("datastore", "tags", "startDICOMImportJob", "getDICOMImportJob", "listDICOMImportJobs")

# All that begins like an operation. The response class knows which one it is, and has an answer if it is none.
url_paths = {
    "{0}/datastore$": MedicalImagingResponse.dispatch,
    **{f"{{0}}/{segment}/(?P<rest>[^?]+)$": MedicalImagingResponse.dispatch for segment in _FIRST_SEGMENTS},
}
