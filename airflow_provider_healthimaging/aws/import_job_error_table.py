"""The rules for error codes of the calls about import jobs. They come before those of ``error_table``."""

from __future__ import annotations

from airflow_provider_healthimaging.aws.error_table import ServiceErrorRule
from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    DatastoreNotFoundError,
    RejectedRequestError,
    ServiceError,
)

START, GET, LIST = "StartDICOMImportJob", "GetDICOMImportJob", "ListDICOMImportJobs"

THROTTLED = "ThrottlingException"
TOO_MANY_JOBS = "ServiceQuotaExceededException"

_START_RULES = (
    ServiceErrorRule(
        AccessDeniedError,
        f"Allow medical-imaging:{START} on this data store, and iam:PassRole on data_access_role_arn for the service "
        "medical-imaging.amazonaws.com. Check that the role exists, and the id and region of the data store.",
        codes="AccessDeniedException",
    ),
    ServiceErrorRule(
        RejectedRequestError,
        "Check that both buckets exist, that data_access_role_arn may read the input and write the output, and that "
        "its trust policy names medical-imaging.amazonaws.com.",
        codes="ValidationException",
    ),
    ServiceErrorRule(
        ServiceError,
        "Too many import jobs run at a time in this data store (quota: 100, in ap-southeast-2 20, unless raised). "
        "Retry later.",
        codes=TOO_MANY_JOBS,
    ),
    ServiceErrorRule(
        ServiceError,
        "The data store is not ACTIVE, or client_token belongs to another request. Retry later, or give another token.",
        codes="ConflictException",
    ),
    ServiceErrorRule(
        ServiceError,
        f"The account may call {START} once a second, unless raised. Retry later, or start fewer jobs at a time.",
        codes=THROTTLED,
    ),
)

_GET_RULES = (
    ServiceErrorRule(RejectedRequestError, "Check datastore_id and job_id.", codes="ValidationException"),
    ServiceErrorRule(
        AccessDeniedError,
        f"Allow medical-imaging:{GET} on this data store. Check its id and region, too.",
        codes="AccessDeniedException",
    ),
    ServiceErrorRule(
        DatastoreNotFoundError,
        "The data store or the job does not exist. Check datastore_id, job_id and the region.",
        codes="ResourceNotFoundException",
    ),
)

_LIST_RULES = (
    ServiceErrorRule(RejectedRequestError, "Check datastore_id and job_status.", codes="ValidationException"),
    ServiceErrorRule(
        AccessDeniedError,
        f"Allow medical-imaging:{LIST} on this data store. Check its id and region, too.",
        codes="AccessDeniedException",
    ),
    ServiceErrorRule(
        ServiceError, f"The account's quota of {LIST} (10 calls/s unless raised) is used up. Retry later.", THROTTLED
    ),
)

OPERATION_RULES = {START: _START_RULES, GET: _GET_RULES, LIST: _LIST_RULES}
"""The rules by operation."""
