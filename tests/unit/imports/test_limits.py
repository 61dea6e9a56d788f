"""What one job takes is counted before it is started."""

import pytest

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.imports.limits import COUNTING_ENDS_AT, MAX_BYTES, MAX_FILES, InputSize


def test_an_input_up_to_the_limits_passes():
    InputSize(1, 0).check()
    InputSize(MAX_FILES, MAX_BYTES).check()


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            InputSize(),
            (
                "No file lies under input_s3_uri, so there is nothing to import. Check the prefix, and that the task "
                "that uploads runs before. Set check_input=False to start the job without this check."
            ),
        ),
        (
            InputSize(MAX_FILES + 1, 2),
            (
                "5001 files with 2 bytes lie under input_s3_uri. One import job takes at most 5000. Split the input "
                "into prefixes, and map the task over them. If your account has a higher quota, set check_input=False."
            ),
        ),
        (
            InputSize(COUNTING_ENDS_AT, 2),
            (
                "at least 100000 files with 2 bytes lie under input_s3_uri. One import job takes at most 5000. Split "
                "the input into prefixes, and map the task over them. If your account has a higher quota, set "
                "check_input=False."
            ),
        ),
        (
            InputSize(3, MAX_BYTES + 1),
            (
                "3 files with 10,000,000,001 bytes lie under input_s3_uri. One import job takes at most 10,000,000,000 "
                "bytes (10 GB). Split the input into prefixes, and map the task over them."
            ),
        ),
    ],
)
def test_an_input_that_no_job_takes_is_an_error_with_counts(size, message):
    with pytest.raises(InvalidArgumentError) as caught:
        size.check()
    assert str(caught.value) == message


def test_the_objects_that_stand_for_folders_are_no_files():
    size = InputSize()
    size.add("scans/", 0)
    size.add("scans/1/", 0)
    assert size == InputSize(0, 0)
    size.add("scans/1/empty.dcm", 0)
    size.add("scans/odd/", 7)
    size.add("scans/1/full.dcm", 5)
    assert size == InputSize(3, 12)
    assert not size.is_counted_out
