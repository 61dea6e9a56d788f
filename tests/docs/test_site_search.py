"""Questions of a newcomer: the first page that the site's own search gives has the answer."""

from __future__ import annotations

from pathlib import Path

import airflow
import pytest
from bs4 import BeautifulSoup

REPOSITORY = Path(__file__).parents[2]

# The question, the page, and the sentence of the page that answers it.
QUESTIONS = [
    (
        "how do I import a folder",
        "import.html",
        "If the folder is on a disk, upload it to S3 first",
    ),
    (
        "why is my window empty",
        "windows.html",
        "It shows the window and its rule, the names of the filters, how many image sets were read, and how many were",
    ),
    (
        "how do I get pixels",
        "export.html",
        "With a HealthImagingHook in place of the S3Hook, it reads from the service.",
    ),
    (
        "what does a retry do",
        "first-search.html",
        "So the tasks after them may get the same record again.",
    ),
    (
        "what may I put in XCom",
        "security.html",
        "Ids, versions, times, counts and addresses in S3",
    ),
    (
        "how do I wait for a study",
        "waiting.html",
        "To wait for a study, use the sensor.",
    ),
    (
        "how do I run it without AWS",
        "local.html",
        "You need no AWS account. One command starts a server for your DAGs",
    ),
    (
        "which permissions do I need",
        "security.html",
        "the credentials of the Airflow connection need",
    ),
    (
        "how many tasks share the quota",
        "scaling.html",
        "Any number of tasks can share it: the service throttles calls beyond it, and no image set is lost.",
    ),
    (
        "how do I start a DAG when image sets arrive",
        "events.html",
        "An asset with a trigger that watches the data store starts a DAG run when image sets arrive.",
    ),
]

pytestmark = pytest.mark.skipif(
    airflow.__version__.startswith("2."), reason="the site is made once, with the newest Airflow"
)


@pytest.mark.parametrize(("question", "page", "answer"), QUESTIONS, ids=[question for question, *_ in QUESTIONS])
def test_the_first_page_of_the_search_answers_the_question(built_site, search, question, page, answer):
    assert search.first_page(question) == page
    assert search.first_page(f"{question.capitalize()}?") == page
    shown = BeautifulSoup((built_site / page).read_text(), "lxml").get_text()
    assert answer in " ".join(shown.split())
