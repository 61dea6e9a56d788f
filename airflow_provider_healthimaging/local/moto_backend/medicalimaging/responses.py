"""Parses requests and writes JSON responses: one method for each operation, with the name that moto expects.

moto's serializer is not used. It drops members that are null, but the service sends tags as ``null``. It also
truncates times to milliseconds.
"""

import json
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

from moto.core.common_types import TYPE_RESPONSE
from moto.core.responses import BaseResponse
from moto.core.utils import camelcase_to_underscores

from .exceptions import InternalServerError, ThrottlingError, ValidationError
from .faults import CUT_HEADER, apply_mutations
from .json_forms import (
    access_properties,
    datastore_properties,
    datastore_summary,
    import_job_properties,
    import_job_summary,
    search_hit,
    version_properties,
    workflow_status,
)
from .metadata import METADATA_HEADERS, metadata_blob
from .model_validation import validate_request
from .models import MedicalImagingBackend, medicalimaging_backends
from .operations import operation_of
from .paging import parse_limit
from .retrieval import dicom_instance, image_frame, refused_pixels, require_consistent
from .search import parse_criteria


class MedicalImagingResponse(BaseResponse):
    """Handler for HealthImaging requests."""

    def __init__(self) -> None:
        """Set the name of botocore's model."""
        super().__init__(service_name="medical-imaging")

    @property
    def backend(self) -> MedicalImagingBackend:
        """The backend of the request's account and region."""
        return medicalimaging_backends[self.current_account][self.region]

    def call_action(self) -> TYPE_RESPONSE:
        """Answer after the latency of the settings. A throttled call is answered at once."""
        started = time.monotonic()
        settings = self.backend.settings
        self.backend.import_jobs.run_due()
        self.fault_plan = self.backend.fault_injector.next_plan(settings)
        status, headers, body = (
            super().call_action() if self.fault_plan.error is None else _error_response(self.fault_plan.error)
        )
        duration = max(settings.latency, settings.slow_seconds if self.fault_plan.slow else 0.0)
        if duration and status != ThrottlingError.code:
            time.sleep(max(0.0, started + duration - time.monotonic()))
        return status, {**headers, CUT_HEADER: cut} if (cut := self.fault_plan.cut_header) else headers, body

    def refuse(self) -> TYPE_RESPONSE:
        """Any other request."""
        raise ValidationError("The local service does not have this operation")

    def create_datastore(self) -> TYPE_RESPONSE:
        """POST /datastore."""
        request = validate_request("CreateDatastore", self._json_body())
        datastore = self.backend.create_datastore(
            request.get("datastoreName"),
            client_token=request["clientToken"],
            lossless_storage_format=request.get("losslessStorageFormat") or "HTJ2K",
        )
        return _json_response({"datastoreId": datastore.datastore_id, "datastoreStatus": datastore.status})

    def get_datastore(self) -> TYPE_RESPONSE:
        """GET /datastore/{datastoreId}."""
        return _json_response(
            {"datastoreProperties": datastore_properties(self.backend.get_datastore(self._path_segment(1)))}
        )

    def list_datastores(self) -> TYPE_RESPONSE:
        """GET /datastore."""
        page, token = self.backend.list_datastores(self._query_parameter("datastoreStatus"), **self._page_arguments())
        return _json_response({"datastoreSummaries": [datastore_summary(d) for d in page], "nextToken": token})

    def delete_datastore(self) -> TYPE_RESPONSE:
        """DELETE /datastore/{datastoreId}."""
        datastore = self.backend.delete_datastore(self._path_segment(1))
        return _json_response({"datastoreId": datastore.datastore_id, "datastoreStatus": datastore.status})

    def search_image_sets(self) -> TYPE_RESPONSE:
        """POST /datastore/{datastoreId}/searchImageSets; the body is the search criteria."""
        backend = self.backend
        backend.admit_search()
        query = parse_criteria(self.body, backend.settings)
        datastore_id = self._path_segment(1)
        page, token = backend.search_image_sets(datastore_id, query, plan=self.fault_plan, **self._page_arguments())
        apply_mutations(backend, datastore_id, self.fault_plan)
        return _json_response(
            {
                "imageSetsMetadataSummaries": [search_hit(image_set) for image_set in page],
                "sort": {"sortField": query.sort_field, "sortOrder": query.sort_order},
                "nextToken": token,
            }
        )

    def get_image_set(self) -> TYPE_RESPONSE:
        """POST /datastore/{datastoreId}/imageSet/{imageSetId}/getImageSet."""
        datastore_id, image_set_id = self._path_segment(1), self._path_segment(3)
        image_set = self.backend.get_image_set(datastore_id, image_set_id, self._query_parameter("version"))
        arn = f"{self.backend.get_datastore(datastore_id).arn}/imageset/{image_set_id}"
        state = {
            "imageSetWorkflowStatus": workflow_status(image_set),
            "imageSetArn": arn,
            **access_properties(image_set),
        }
        return _json_response({"datastoreId": datastore_id, **version_properties(image_set), **state})

    def get_image_set_metadata(self) -> TYPE_RESPONSE:
        """POST /datastore/{datastoreId}/imageSet/{imageSetId}/getImageSetMetadata; the response is gzipped."""
        self.backend.admit("GetImageSetMetadata")
        datastore_id, image_set_id = self._path_segment(1), self._path_segment(3)
        image_set = self.backend.get_image_set(datastore_id, image_set_id, self._query_parameter("version"))
        require_consistent(self.backend, image_set)
        with refused_pixels():
            blob = metadata_blob(self.backend.get_datastore(datastore_id), image_set)
        return 200, dict(METADATA_HEADERS), blob

    def get_image_frame(self) -> TYPE_RESPONSE:
        """POST /datastore/{datastoreId}/imageSet/{imageSetId}/getImageFrame; the response is the frame as stored."""
        self.backend.admit("GetImageFrame")
        datastore_id, image_set_id = self._path_segment(1), self._path_segment(3)
        request = {"datastoreId": datastore_id, "imageSetId": image_set_id, "imageFrameInformation": self._json_body()}
        frame_id = validate_request("GetImageFrame", request)["imageFrameInformation"]["imageFrameId"]
        media_type, frame = image_frame(self.backend, datastore_id, image_set_id, frame_id)
        return 200, {"Content-Type": media_type}, frame

    def get_dicom_instance(self) -> TYPE_RESPONSE:
        """GET /datastore/{}/studies/{}/series/{}/instances/{}, a request of DICOMweb; the response is a DICOM file."""
        self.backend.admit("GetDICOMInstance")
        syntax, content = dicom_instance(
            self.backend,
            self._path_segment(1),
            (self._path_segment(3), self._path_segment(5), self._path_segment(7)),
            image_set_id=self._query_parameter("imageSetId"),
            accept=self.headers.get("Accept", ""),
        )
        return 200, {"Content-Type": f"application/dicom; transfer-syntax={syntax}"}, content

    def list_image_set_versions(self) -> TYPE_RESPONSE:
        """POST /datastore/{datastoreId}/imageSet/{imageSetId}/listImageSetVersions."""
        page, token = self.backend.list_image_set_versions(
            self._path_segment(1), self._path_segment(3), **self._page_arguments()
        )
        # Only in this operation, the name of the status begins with a capital letter.
        versions = [{**version_properties(each), "ImageSetWorkflowStatus": workflow_status(each)} for each in page]
        return _json_response({"imageSetPropertiesList": versions, "nextToken": token})

    def start_dicom_import_job(self) -> TYPE_RESPONSE:
        """POST /startDICOMImportJob/datastore/{datastoreId}."""
        jobs = self.backend.import_jobs
        self.backend.admit("StartDICOMImportJob")
        request = {**self._json_body(), "datastoreId": self._path_segment(2)}
        valid = validate_request("StartDICOMImportJob", request)
        job = jobs.start(valid, plan=self.fault_plan)
        return _json_response(
            {
                "datastoreId": job.datastore_id,
                "jobId": job.job_id,
                "jobStatus": job.status(job.submitted_at),
                "submittedAt": job.submitted_at.timestamp(),
            }
        )

    def get_dicom_import_job(self) -> TYPE_RESPONSE:
        """GET /getDICOMImportJob/datastore/{datastoreId}/job/{jobId}."""
        self.backend.admit("GetDICOMImportJob")
        datastore_id, job_id = self._path_segment(2), self._path_segment(4)
        validate_request("GetDICOMImportJob", {"datastoreId": datastore_id, "jobId": job_id})
        job = self.backend.import_jobs.get(datastore_id, job_id)
        return _json_response({"jobProperties": import_job_properties(job, self.backend.clock())})

    def list_dicom_import_jobs(self) -> TYPE_RESPONSE:
        """GET /listDICOMImportJobs/datastore/{datastoreId}."""
        self.backend.admit("ListDICOMImportJobs")
        datastore_id, status = self._path_segment(2), self._query_parameter("jobStatus")
        validate_request("ListDICOMImportJobs", {"datastoreId": datastore_id, "jobStatus": status})
        jobs, token = self.backend.import_jobs.page(datastore_id, status, **self._page_arguments())
        now = self.backend.clock()
        return _json_response({"jobSummaries": [import_job_summary(job, now) for job in jobs], "nextToken": token})

    def _get_action(self) -> str:
        operation = operation_of(self.method, self.parsed_url.path)
        return operation if operation and hasattr(self, camelcase_to_underscores(operation)) else "Refuse"

    def _path_segment(self, index: int) -> str:
        return unquote(self.parsed_url.path.strip("/").split("/")[index])

    def _query_parameter(self, name: str) -> str | None:
        # moto's querystring cannot be used: if the URL has none, moto makes it from the body or the headers.
        return parse_qs(self.parsed_url.query, keep_blank_values=True).get(name, [None])[0]

    def _page_arguments(self) -> dict[str, Any]:
        limit = parse_limit(self._query_parameter("maxResults"))
        return {"limit": limit, "next_token": self._query_parameter("nextToken")}

    def _json_body(self) -> dict[str, Any]:
        try:
            document = json.loads(self.body or "{}")
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise ValidationError("The request body is not a JSON structure")
        return document


def _error_response(status: int) -> TYPE_RESPONSE:
    """Return an error of the service (429, 500), or of a load balancer in front of it."""
    if status in {ThrottlingError.code, InternalServerError.code}:
        error = (
            ThrottlingError("Rate exceeded")
            if status == ThrottlingError.code
            else InternalServerError("Internal server error")
        )
        return status, dict(error.get_headers()), error.get_body()
    return status, {"Content-Type": "text/html"}, f"<html><body><h1>{HTTPStatus(status).phrase}</h1></body></html>"


def _json_response(result: dict[str, Any]) -> TYPE_RESPONSE:
    # Bytes, because moto searches and replaces a request id in text.
    return 200, {"Content-Type": "application/json"}, json.dumps(result).encode()
