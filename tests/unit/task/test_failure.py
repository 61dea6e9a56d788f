"""An error that no retry can cure is not retried, keeps its own type, and says where it was raised without values."""

import logging
import pickle

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_healthimaging import exceptions
from airflow_provider_healthimaging.exceptions import DatastoreNotFoundError, HealthImagingError, ServiceError
from airflow_provider_healthimaging.task.failure import fail_without_retry, not_retried

ERRORS = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, HealthImagingError)]
CANARY = "CANARY-4711"


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_keeps_its_type_and_its_text(kind):
    error = not_retried(kind("what happened"))
    assert isinstance(error, kind)
    assert isinstance(error, AirflowFailException)
    assert (type(error).__name__, type(error).__module__) == (kind.__name__, kind.__module__)
    assert str(error) == "what happened"
    assert not_retried(error) is error


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_can_be_sent_to_another_process(kind):
    error = not_retried(kind("what happened"))
    error.add_note("a note")
    received = pickle.loads(pickle.dumps(error))
    assert type(received) is type(error)
    assert (str(received), vars(received)) == (str(error), vars(error))


def test_an_error_keeps_its_code():
    assert not_retried(DatastoreNotFoundError("gone", code="ResourceNotFoundException")).code == (
        "ResourceNotFoundException"
    )


@pytest.fixture
def failing(caplog):
    """``failing(error)`` raises it in a task, and returns what reaches Airflow."""
    caplog.set_level(logging.ERROR)

    class Task:
        log = logging.getLogger("task")

        @fail_without_retry
        def execute(self, error):
            patient = CANARY  # noqa: F841 - a local variable that a traceback might show
            raise error

    def fail(error):
        with pytest.raises(type(error)) as caught:
            Task().execute(error)
        return caught.value

    return fail


def test_the_traceback_is_logged_at_error_without_local_variables(failing, caplog):
    failing(DatastoreNotFoundError("gone"))
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "DatastoreNotFoundError was raised here" in record.getMessage()
    assert "raise error" in record.getMessage()
    assert CANARY not in record.getMessage()


@pytest.mark.parametrize(("error", "retried"), [(DatastoreNotFoundError("gone"), False), (ServiceError("busy"), True)])
def test_only_an_error_that_a_retry_can_cure_is_retried(failing, error, retried):
    reached = failing(error)
    assert isinstance(reached, AirflowFailException) is not retried
    assert (reached.__cause__, reached.__context__) == (None, None)


def test_no_frame_of_what_failed_reaches_airflow(failing):
    frames = []
    traceback = failing(ServiceError("busy")).__traceback__
    while traceback:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert "execute" not in frames


def test_other_errors_pass_as_they_are(failing):
    error = ValueError("not ours")
    assert failing(error) is error


def test_every_error_of_the_package_is_in_the_tree():
    tree = exceptions.__doc__
    assert [kind.__name__ for kind in ERRORS if kind.__name__ not in tree] == []
