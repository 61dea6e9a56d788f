"""A body that ends early is continued where it ended, and never taken for whole."""

import pytest
from botocore.exceptions import ReadTimeoutError, ResponseStreamingError
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.aws import streams
from airflow_provider_healthimaging.aws.dicomweb import dicomweb_endpoint
from airflow_provider_healthimaging.aws.streams import ObjectStream, retry_conflicts
from airflow_provider_healthimaging.exceptions import IncompleteResponseError, ServiceError

WHOLE = bytes(range(256)) * 5
SIZE = len(WHOLE)


class Body:
    """A body that ends, or breaks, after so many bytes."""

    def __init__(self, content, ends_at, error):
        self.content, self.position, self.ends_at, self.error = content, 0, ends_at, error

    def read(self, size=None):
        stop = min(len(self.content), self.ends_at)
        end = stop if size is None else min(self.position + size, stop)
        data, self.position = self.content[self.position : end], end
        if self.error and self.ends_at < len(self.content) and (size is None or not data):
            raise self.error
        return data

    def close(self):
        pass


ERRORS = [None, ResponseStreamingError(error="x"), ReadTimeoutError(endpoint_url="x"), OSError()]


def stream(cuts, *, contents=(), length=SIZE, attempts=3):
    """Return a stream whose first bodies end at these places."""
    bodies = iter([*cuts, *([(len(WHOLE), None)] * 20)])
    given_contents = iter([*contents, *([WHOLE] * 30)])

    def call():
        headers = {"content-type": "image/jph"} | ({} if length is None else {"content-length": str(length)})
        return {"body": Body(next(given_contents), *next(bodies)), "ResponseMetadata": {"HTTPHeaders": headers}}

    return ObjectStream(call, "body", attempts=attempts, location="here", described="A frame")


@pytest.fixture(autouse=True)
def quick(no_waiting, monkeypatch):
    monkeypatch.setattr(streams, "CHUNK_BYTES", 100)


CUTS = st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.sampled_from(ERRORS)), max_size=2)


@given(CUTS)
def test_chunks_are_those_of_the_whole_body_wherever_it_was_cut(cuts):
    assert b"".join(stream(cuts)) == WHOLE
    assert stream(cuts).read() == WHOLE
    assert (stream(cuts).length, stream(cuts).content_type) == (len(WHOLE), "image/jph")


def test_progress_between_two_cuts_begins_the_count_of_attempts_again():
    cuts = [(place, None) for place in range(100, 1100, 100)]
    assert b"".join(stream(cuts, attempts=2)) == WHOLE


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_body_that_is_truncated_in_every_attempt_is_an_error(error):
    cuts = [(50, error)] * 5
    with pytest.raises(IncompleteResponseError, match="A frame is truncated \\(here\\)"):
        b"".join(stream(cuts))
    with pytest.raises(IncompleteResponseError, match="A frame is truncated"):
        stream(cuts).read()


def test_another_body_in_the_second_attempt_is_not_appended():
    other = WHOLE[::-1]
    with pytest.raises(IncompleteResponseError, match="changed while it was read"):
        b"".join(stream([(500, None)], contents=[WHOLE, other]))


def test_a_second_attempt_with_another_length_is_not_appended():
    lengths = iter([SIZE, SIZE + 1])

    def call():
        headers = {"content-type": "image/jph", "content-length": str(next(lengths))}
        return {"body": Body(WHOLE, 700, None), "ResponseMetadata": {"HTTPHeaders": headers}}

    whole = ObjectStream(call, "body", attempts=3, location="here", described="A frame")
    with pytest.raises(IncompleteResponseError, match="has another length than before"):
        b"".join(whole)


def test_a_body_without_a_length_ends_where_it_ends():
    assert b"".join(stream([], length=None)) == WHOLE
    assert stream([], length=None).read() == WHOLE


def test_a_longer_body_than_announced_is_not_taken_either():
    with pytest.raises(IncompleteResponseError):
        stream([], length=10).read()


def test_a_conflict_is_waited_out_but_not_for_ever():
    conflict = ServiceError("not consistent yet", code="ConflictException")
    answers = [conflict] * 5 + ["done"]

    def call():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry_conflicts(call) == "done"
    answers[:] = [conflict] * 50
    with pytest.raises(ServiceError):
        retry_conflicts(call)
    assert len(answers) == 50 - streams.MAX_CONFLICTS
    answers[:] = [ServiceError("no", code="AccessDeniedException")]
    with pytest.raises(ServiceError):
        retry_conflicts(call)


@pytest.mark.parametrize(
    ("endpoint", "of_dicomweb"),
    [
        (
            "https://medical-imaging.us-east-1.amazonaws.com",
            "https://dicom-medical-imaging.us-east-1.amazonaws.com",
        ),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://gateway.hospital.example/aws", "https://gateway.hospital.example/aws"),
    ],
)
def test_the_endpoint_of_dicomweb_is_aws_own_or_the_one_given(endpoint, of_dicomweb):
    assert dicomweb_endpoint(endpoint) == of_dicomweb
