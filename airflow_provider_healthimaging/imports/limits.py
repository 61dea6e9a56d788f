"""How much one import job may take, and the check of it before the job is started."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_healthimaging.exceptions import InvalidArgumentError

MAX_FILES = 5_000
"""Files a job, unless the account's quota is higher (AWS HealthImaging developer guide, "Endpoints and quotas")."""

MAX_BYTES = 10**10
"""Bytes a job: 10 GB, which is fixed."""

COUNTING_ENDS_AT = 20 * MAX_FILES
"""Files after which counting stops. A prefix with more is far too large for one job."""


@dataclass(slots=True)
class InputSize:
    """How much lies under the input's prefix."""

    files: int = 0
    bytes: int = 0

    @property
    def is_counted_out(self) -> bool:
        """Whether there is no use in counting further."""
        return self.files >= COUNTING_ENDS_AT

    def add(self, key: str, size: int) -> None:
        """Count an object. The empty objects that stand for folders in S3's console are no files."""
        if size or not key.endswith("/"):
            self.files += 1
            self.bytes += size

    def check(self) -> None:
        """Raise if one import job cannot take it.

        :raises InvalidArgumentError: with the number of files and of bytes.
        """
        amount = f"{'at least ' if self.is_counted_out else ''}{self.files} files with {self.bytes:,} bytes"
        if not self.files:
            raise InvalidArgumentError(
                "No file lies under input_s3_uri, so there is nothing to import. Check the prefix, and that the task "
                "that uploads runs before. Set check_input=False to start the job without this check."
            )
        if self.files > MAX_FILES:
            raise InvalidArgumentError(
                f"{amount} lie under input_s3_uri. One import job takes at most {MAX_FILES}. Split the input into "
                "prefixes, and map the task over them. If your account has a higher quota, set check_input=False."
            )
        if self.bytes > MAX_BYTES:
            raise InvalidArgumentError(
                f"{amount} lie under input_s3_uri. One import job takes at most {MAX_BYTES:,} bytes (10 GB). Split the "
                "input into prefixes, and map the task over them."
            )
