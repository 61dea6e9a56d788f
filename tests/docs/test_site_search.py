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
        "questions.html",
        "it shows the window, the names of the filters, and how many image sets were read and found",
    ),
    (
        "how do I get pixels",
        "questions.html",
        "pixels.read_frames decodes them, from a copy in S3 or from the service",
    ),
    (
        "what does a retry do",
        "questions.html",
        "A search searches the same window again, a dataset or a copy continues, an import finds its job.",
    ),
    (
        "what may I put in XCom",
        "security.html",
        "Ids, versions, times, counts and addresses in S3",
    ),
    (
        "how do I wait for a study",
        "questions.html",
        "Use HealthImagingImageSetSensor: see Wait for a study with the sensor.",
    ),
    (
        "how do I run it without AWS",
        "local.html",
        "You need no AWS account. One command starts a server for your DAGs",
    ),
    (
        "which permissions do I need",
        "questions.html",
        "A search needs medical-imaging:SearchImageSets on the data store.",
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


def test_a_question_of_the_page_of_questions_finds_its_answer_or_the_page_that_the_answer_names(built_site, search):
    page = BeautifulSoup((built_site / "questions.html").read_text(), "lxml")
    questions = page.select("article h3")
    assert len(questions) > 40
    elsewhere = {}
    for heading in questions:
        answer = heading.find_next_sibling("p")
        named = {link["href"].partition("#")[0] for link in answer.select("a")}
        question = heading.get_text().rstrip("¶")
        if (first := search.first_page(question)) not in {"questions.html", *named}:
            elsewhere[question] = first
    assert elsewhere == {}
