"""Page tokens of SearchImageSets: what they guarantee, and what they must not reveal."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from botocore.exceptions import ClientError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def page(client, criteria, datastore_id):
    """Reads one page, oldest image sets first."""

    def ask(token=None, size=2, **query):
        arguments = {"nextToken": token} if token else {}
        return client.search_image_sets(
            datastoreId=datastore_id,
            searchCriteria=criteria(**{"sort": "createdAt ASC", **query}),
            maxResults=size,
            **arguments,
        )

    return ask


def ids(reply):
    return [hit["imageSetId"] for hit in reply["imageSetsMetadataSummaries"]]


def test_a_page_has_a_token_only_if_there_are_more_matches(put, post, page):
    for n in range(4):
        put(created_at=NOON + n * SECOND, dicom_tags={"DICOMPatientId": "p" if n < 2 else "q"})
    assert "nextToken" not in page(size=2, DICOMPatientId="p")
    assert "nextToken" not in page(size=4)
    assert "nextToken" in page(size=3)
    assert post(b"{}", maxResults=4).body["nextToken"] is None


def test_the_default_page_size_is_fifty(put, post):
    for _ in range(51):
        put()
    first = post()
    assert len(first.body["imageSetsMetadataSummaries"]) == 50
    assert len(post(nextToken=first.body["nextToken"]).body["imageSetsMetadataSummaries"]) == 1


def test_a_token_is_valid_with_another_page_size(put, page):
    expected = [put(created_at=NOON + n * SECOND) for n in range(6)]
    first = page(size=2)
    assert ids(first) + ids(page(first["nextToken"], size=4)) == expected


def test_all_tokens_are_different_and_valid(put, page):
    last = [put(created_at=NOON + n * SECOND) for n in range(3)][2:]
    first, again = page(size=2), page(size=2)
    assert first["nextToken"] != again["nextToken"]
    assert ids(page(first["nextToken"])) == ids(page(again["nextToken"])) == last


def test_changes_before_the_position_of_a_token_do_not_change_the_next_page(local, put, page, datastore_id):
    expected = [put(created_at=NOON + n * SECOND) for n in range(4)]
    first = page()
    put(created_at=NOON - SECOND)
    local.delete_image_set(datastore_id, expected[1])
    assert ids(page(first["nextToken"])) == expected[2:]


def test_an_image_set_that_is_updated_during_a_search_by_updated_at_is_found_again(local, put, page, datastore_id):
    early, *rest = [put(created_at=NOON + n * SECOND) for n in range(3)]
    first = page(sort="updatedAt ASC", size=1)
    local.update_image_set(datastore_id, early, updated_at=NOON + 9 * SECOND)
    assert ids(page(first["nextToken"], size=3, sort="updatedAt ASC")) == [*rest, early]


def test_in_the_default_order_a_search_can_miss_an_updated_image_set(local, put, page, datastore_id):
    oldest, *_ = [put(created_at=NOON + n * SECOND) for n in range(3)]
    first = page(sort=None, size=2)
    local.update_image_set(datastore_id, oldest, updated_at=NOON + 9 * SECOND)
    assert oldest not in ids(first) + ids(page(first["nextToken"], sort=None))


def test_a_token_is_valid_only_for_its_own_query(local, put, page, client, criteria):
    for n in range(3):
        put(created_at=NOON + n * SECOND, dicom_tags={"DICOMPatientId": "p"})
    token = page(DICOMPatientId="p")["nextToken"]
    other = local.create_datastore("other").datastore_id
    other_queries = (
        lambda: page(token),
        lambda: page(token, DICOMPatientId="q"),
        lambda: page(token, DICOMPatientId="p", sort="createdAt DESC"),
        lambda: page(token, DICOMPatientId="p", isPrimary=True),
        lambda: client.search_image_sets(
            datastoreId=other,
            searchCriteria=criteria(DICOMPatientId="p", sort="createdAt ASC"),
            nextToken=token,
        ),
    )
    for ask in other_queries:
        with pytest.raises(ClientError) as caught:
            ask()
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert len(ids(page(token, DICOMPatientId="p"))) == 1


def test_a_token_that_was_not_issued_is_invalid(put, post):
    for _ in range(3):
        put()
    token = post(maxResults=1).body["nextToken"]
    flipped = token[:30] + ("A" if token[30] != "A" else "B") + token[31:]
    for garbled in ("", "x", "AAAA", token[:-4], token + "AAAA", token[1:], flipped, "é", "%00", "=" * 9000):
        reply = post(nextToken=garbled)
        assert (reply.status, reply.error) == (400, "ValidationException"), garbled


def test_a_token_from_before_a_reset_is_invalid(local, put, post, datastore_id):
    put()
    put()
    token = post(maxResults=1).body["nextToken"]
    local.reset()
    local.create_datastore("tests", datastore_id=datastore_id)
    assert post(nextToken=token).error == "ValidationException"


def test_a_token_is_ascii_and_does_not_reveal_criteria_or_position(put, page, criteria):
    tags = {"DICOMPatientId": "CANARY", "DICOMStudyDate": "19991231"}
    for n in range(3):
        put(image_set_id=f"{n:032}", dicom_tags=tags)
    token = page(DICOMPatientId="CANARY", sort="DICOMStudyDateAndTime ASC", size=1)["nextToken"]
    assert token.isascii()
    for text in (token.encode(), base64.urlsafe_b64decode(token)):
        for secret in (b"CANARY", b"19991231", b"0000000", b"DICOM"):
            assert secret not in text


def test_a_page_reads_only_its_own_image_sets_and_not_the_whole_data_store(local, put, search, monkeypatch):
    searching = import_module("moto.medicalimaging.search")
    read = []
    accepts = searching.Filter.accepts
    monkeypatch.setattr(searching.Filter, "accepts", lambda self, image_set: read.append(1) or accepts(self, image_set))
    for n in range(1000):
        put(created_at=NOON + n * SECOND)
    for order in ("ASC", "DESC"):
        read.clear()
        window = (NOON + 300 * SECOND, NOON + 699 * SECOND)
        assert len(search(createdAt=window, sort=f"createdAt {order}", page_size=10)) == 400
        # A page reads one image set more than it returns, to know whether there is another page.
        assert len(read) == 40 * 11 - 1
