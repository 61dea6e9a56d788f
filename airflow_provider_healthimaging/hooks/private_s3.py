"""amazon's ``S3Hook`` for objects and names that may be patient data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import conf

from airflow_provider_healthimaging.privacy.debug_log_filter import install_debug_log_filter

if TYPE_CHECKING:
    import boto3


class PrivateS3Hook(S3Hook):
    """amazon's ``S3Hook``, whose client logs nothing at DEBUG: botocore would log names and whole objects."""

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> boto3.session.Session:  # noqa: FBT002 - amazon's signature
        """Return a boto3 session whose S3 clients log nothing at DEBUG."""
        session = super().get_session(region_name, deferrable)
        if not conf.getboolean("healthimaging", "log_botocore_debug", fallback=False):
            session.events.register("creating-client-class.s3", install_debug_log_filter)
        return session
