"""Which import jobs of a data store have not ended, for all triggers that wait for jobs there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_provider_healthimaging.imports.job import RUNNING

if TYPE_CHECKING:
    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook

JOBS_PER_CALL = 50
"""The most jobs that a call of ListDICOMImportJobs returns."""


class RunningJobs:
    """Lists the jobs that were submitted or are in progress."""

    def __init__(self, datastore_id: str, hook: Callable[[], HealthImagingHook]) -> None:
        """List nothing yet."""
        self.job_ids: frozenset[str] | None = None
        self._datastore_id = datastore_id
        self._hook = hook

    def look(self) -> int:
        """List the jobs, and return how many calls it took; this blocks.

        A job that changes its state between two calls may be in none of the lists, so that its trigger asks for it.
        """
        by_status = [
            [job["jobId"] for job in self._hook().list_dicom_import_jobs(self._datastore_id, job_status=status)]
            for status in RUNNING
        ]
        self.job_ids = frozenset(job_id for jobs in by_status for job_id in jobs)
        return sum(max(math.ceil(len(jobs) / JOBS_PER_CALL), 1) for jobs in by_status)
