"""One import job, parsed once from its arguments. Hook and operator take this object."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import NotRequired, Self, TypedDict

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.imports.arguments import (
    ImportConfiguration,
    check_role_arn,
    parse_account_id,
    parse_client_token,
    parse_import_configuration,
    parse_input_uri,
    parse_job_name,
    parse_s3_uri,
)
from airflow_provider_healthimaging.search.validation import check_datastore_id


class StartParameters(TypedDict):
    """The parameters of boto3's ``start_dicom_import_job``."""

    datastoreId: str
    inputS3Uri: str
    outputS3Uri: str
    dataAccessRoleArn: str
    jobName: NotRequired[str]
    clientToken: NotRequired[str]
    inputOwnerAccountId: NotRequired[str]
    importConfiguration: NotRequired[ImportConfiguration]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import. Make it with :meth:`parse`; its ``repr`` shows neither the input nor a mapping.

    :param datastore_id: the id of the data store.
    :param input_s3_uri: everything under this ``s3://bucket/prefix/`` is imported.
    :param output_s3_uri: the service writes a folder with the job's report under this prefix.
    :param data_access_role_arn: the role with which the service reads the input and writes the output.
    :param job_name: a name for the job.
    :param client_token: two requests with the same token start one job.
    :param input_owner_account_id: the account of the input's bucket, if it is another account.
    :param import_configuration: AWS's ``ImportConfiguration``.
    """

    datastore_id: str
    input_s3_uri: str = field(repr=False)
    output_s3_uri: str
    data_access_role_arn: str
    job_name: str | None
    client_token: str | None
    input_owner_account_id: str | None
    import_configuration: ImportConfiguration | None = field(repr=False)

    @classmethod
    def parse(
        cls,
        datastore_id: object,
        *,
        input_s3_uri: object,
        output_s3_uri: object,
        data_access_role_arn: object,
        job_name: object = None,
        client_token: object = None,
        input_owner_account_id: object = None,
        import_configuration: object = None,
    ) -> Self:
        """Return the request that the arguments describe.

        :raises InvalidArgumentError: for everything that the service would reject, for an input without a slash at the
            end, and for an input that holds its own output.
        """
        bucket, prefix = parse_input_uri(input_s3_uri)
        output_bucket, output_prefix = parse_s3_uri("output_s3_uri", output_s3_uri)
        if bucket == output_bucket and _as_folder(output_prefix).startswith(prefix):
            raise InvalidArgumentError(
                "output_s3_uri lies under input_s3_uri, so the next job would import the output of this one. Give an "
                "output prefix outside of the input."
            )
        return cls(
            datastore_id=check_datastore_id(datastore_id),
            input_s3_uri=str(input_s3_uri),
            output_s3_uri=str(output_s3_uri),
            data_access_role_arn=check_role_arn(data_access_role_arn),
            job_name=parse_job_name(job_name),
            client_token=parse_client_token(client_token),
            input_owner_account_id=parse_account_id(input_owner_account_id),
            import_configuration=parse_import_configuration(import_configuration),
        )

    @property
    def input_location(self) -> tuple[str, str]:
        """The bucket and the prefix of the input."""
        return parse_input_uri(self.input_s3_uri)

    def with_token(self, client_token: str) -> Self:
        """Return the same request with another client token."""
        return dataclasses.replace(self, client_token=client_token)

    def to_parameters(self) -> StartParameters:
        """Return the parameters of boto3's ``start_dicom_import_job``."""
        parameters: StartParameters = {
            "datastoreId": self.datastore_id,
            "inputS3Uri": self.input_s3_uri,
            "outputS3Uri": self.output_s3_uri,
            "dataAccessRoleArn": self.data_access_role_arn,
        }
        if self.job_name is not None:
            parameters["jobName"] = self.job_name
        if self.client_token is not None:
            parameters["clientToken"] = self.client_token
        if self.input_owner_account_id is not None:
            parameters["inputOwnerAccountId"] = self.input_owner_account_id
        if self.import_configuration is not None:
            parameters["importConfiguration"] = self.import_configuration
        return parameters


def _as_folder(prefix: str) -> str:
    """Return a prefix as the service continues it: with a slash at the end."""
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def derived_client_token(
    request: ImportRequest, *, dag_id: str, run_id: str, task_id: str, map_index: int, generation: int
) -> str:
    """Return the token of a task's job: the same task of the same run gets the same token, and so the same job.

    The token is a digest, so it has the 64 characters that the service takes at most, and shows none of its parts.

    :param map_index: the index of a mapped task, else -1.
    :param generation: how many jobs of this task ended badly before. A higher one gives another job.
    """
    parts = [dag_id, run_id, task_id, map_index, request.to_parameters(), generation]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
