"""The one place that imports what apache-airflow-providers-amazon calls internal."""

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

__all__ = ["AwsBaseOperator", "AwsBaseSensor", "aws_template_fields"]
