"""The URLs of HealthImaging. The host begins with ``runtime-`` for the data plane, and with ``dicom-`` for DICOMweb."""

from .responses import MedicalImagingResponse

# The pattern requires a region, because "medical-imaging.s3.amazonaws.com" is an S3 bucket.
url_bases = [r"https?://(?:(?:runtime|dicom)-)?medical-imaging\.[a-z]{2}(?:-[a-z]+)+-[0-9]+\.amazonaws\.com"]

_DATASTORE = "{0}/datastore/(?P<datastoreId>[^/]+)"
_IMAGE_SET = _DATASTORE + "/imageSet/(?P<imageSetId>[^/]+)"

url_paths = {
    "{0}/datastore$": MedicalImagingResponse.dispatch,
    _DATASTORE + "$": MedicalImagingResponse.dispatch,
    _DATASTORE + "/searchImageSets$": MedicalImagingResponse.dispatch,
    _IMAGE_SET + "/getImageFrame$": MedicalImagingResponse.dispatch,
    _IMAGE_SET + "/getImageSet$": MedicalImagingResponse.dispatch,
    _IMAGE_SET + "/getImageSetMetadata$": MedicalImagingResponse.dispatch,
    _IMAGE_SET + "/listImageSetVersions$": MedicalImagingResponse.dispatch,
    _IMAGE_SET + "/copyImageSet$": MedicalImagingResponse.dispatch,
    _IMAGE_SET + "/deleteImageSet$": MedicalImagingResponse.dispatch,
    _IMAGE_SET + "/updateImageSetMetadata$": MedicalImagingResponse.dispatch,
    "{0}/tags/(?P<resourceArn>.+)$": MedicalImagingResponse.dispatch,
    _DATASTORE + "/studies/(?P<study>[^/]+)/series/(?P<series>[^/]+)/instances/(?P<instance>[^/]+)$": (
        MedicalImagingResponse.dispatch
    ),
    "{0}/startDICOMImportJob/datastore/(?P<datastoreId>[^/]+)$": MedicalImagingResponse.dispatch,
    "{0}/getDICOMImportJob/datastore/(?P<datastoreId>[^/]+)/job/(?P<jobId>[^/]+)$": MedicalImagingResponse.dispatch,
    "{0}/listDICOMImportJobs/datastore/(?P<datastoreId>[^/]+)$": MedicalImagingResponse.dispatch,
}
