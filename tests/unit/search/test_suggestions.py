"""A name that does not exist is an error that suggests the most similar name, and never shows a search value."""

import pytest

from airflow_provider_healthimaging.search.suggestions import suggest_name, unknown_name_error


@pytest.mark.parametrize(
    ("written", "known", "nearest"),
    [
        ("number", "DICOMNumberOfStudyRelatedSeries", True),  # six letters that it begins with
        ("numbe", "DICOMNumberOfStudyRelatedSeries", False),
        ("numbe", "DICOMSeriesNumber", True),  # nearly the six letters that it ends with
        ("abcdeyyy", "abcdefgh", False),  # too little in common
        ("abcdefyy", "abcdefgh", True),
    ],
)
def test_the_nearest_name_is_one_that_was_meant(written, known, nearest):
    assert suggest_name(written, [known]) == (known if nearest else None)


@pytest.mark.parametrize("written", ["", None, 7, ["filters"]])
def test_what_is_no_name_has_no_nearest_name(written):
    assert suggest_name(written, ["filters", "xxxx", "7"]) is None


def test_a_name_that_may_be_a_search_value_is_not_shown():
    error = unknown_name_error("field in match", "Walters", ["filters"], private=True)
    assert str(error) == "Unknown field in match. Did you mean 'filters'? Known: filters."


def test_a_name_that_cannot_be_a_search_value_is_shown():
    assert str(unknown_name_error("on_empty", "skipp", ["skip", "fail"], example=" So.")) == (
        "Unknown on_empty 'skipp'. Did you mean 'skip'? Known: fail, skip. So."
    )
