"""What Airflow shows of this provider; read through the entry point ``apache_airflow_provider``."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, in the form of Airflow's ``provider_info.schema.json``."""
    from airflow_provider_healthimaging import __version__

    integration = "AWS HealthImaging"
    package = "airflow_provider_healthimaging"
    return {
        "package-name": "airflow-provider-healthimaging",
        "name": integration,
        "description": "AWS HealthImaging: import DICOM files, find new image sets exactly once, and copy them to S3.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://docs.aws.amazon.com/healthimaging/",
                "tags": ["aws"],
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": [f"{package}.hooks.healthimaging"]}],
        "operators": [{"integration-name": integration, "python-modules": [f"{package}.operators.healthimaging"]}],
        "sensors": [{"integration-name": integration, "python-modules": [f"{package}.sensors.healthimaging"]}],
        "triggers": [{"integration-name": integration, "python-modules": [f"{package}.triggers.healthimaging"]}],
        "transfers": [
            {
                "source-integration-name": integration,
                "target-integration-name": "Amazon Simple Storage Service (S3)",
                "python-module": f"{package}.transfers.healthimaging_to_s3",
            }
        ],
        "extra-links": [
            f"{package}.links.healthimaging.HealthImagingDatastoreLink",
            f"{package}.links.healthimaging.HealthImagingDicomImportJobLink",
        ],
        "config": {
            "healthimaging": {
                "description": "Settings of the provider for AWS HealthImaging.",
                "options": {
                    "log_botocore_debug": {
                        "description": (
                            "Let botocore log its calls to HealthImaging where the log level is DEBUG. The lines hold "
                            "whole requests and answers: patient data.\n"
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "False",
                    }
                },
            }
        },
    }
