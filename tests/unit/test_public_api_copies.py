"""The public API of copies: every argument is named in the signature and documented, as those of the search."""

import inspect
import re

import pytest

from airflow_provider_healthimaging import pixels
from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator

METHODS = ("get_image_set_metadata", "get_image_frame", "iter_image_frames", "get_dicom_instance")
CALLS = [*(getattr(HealthImagingHook, name) for name in METHODS), pixels.read_frames, pixels.read_frame]


def named(kind):
    parameters = inspect.signature(kind).parameters.values()
    return [each.name for each in parameters if each.kind is not each.VAR_KEYWORD and each.name != "self"]


def test_every_argument_of_the_operator_is_documented_once():
    documented = re.findall(r":param (\w+):", HealthImagingToS3Operator.__doc__)
    assert sorted(documented) == sorted(named(HealthImagingToS3Operator))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_every_argument_of_a_function_is_named_and_documented(call):
    assert sorted(re.findall(r":param (\w+):", call.__doc__)) == sorted(named(call))


def test_the_docstring_says_which_arguments_are_templates():
    documented = re.findall(
        r":param (\w+):((?:(?!:param|:return|:raises|\n\n).)*)", HealthImagingToS3Operator.__doc__, re.DOTALL
    )
    assert {name for name, text in documented if "(templated)" in text} == {*HealthImagingToS3Operator.template_fields}


@pytest.mark.parametrize(
    "wrong",
    [
        {"content": ["dicoms"]},
        {"verify": "md5"},
        {"max_workers": 0},
        {"on_missing": "x"},
        {"s3_extra_args": {"x": 1}},
        {"max_workers": "{{ params.n }}"},
        {"imagesets": []},
    ],
    ids=str,
)
def test_an_argument_that_is_no_template_is_checked_when_the_dag_is_parsed(wrong):
    with pytest.raises(InvalidArgumentError):
        HealthImagingToS3Operator(**{"task_id": "copy", "image_sets": [], "s3_uri": "s3://b/", **wrong})
