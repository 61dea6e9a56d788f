"""The report of a job says exactly what its files say, whichever members are missing and whatever comes late."""

import json
import tracemalloc
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import ImportReportMissingError, InvalidImportReportError
from airflow_provider_healthimaging.imports import lines
from airflow_provider_healthimaging.imports.report import FAILURE, MANIFEST, SUCCESS, UNKNOWN_TYPE, WARNING, read_report

CANARY = "CANARY-4711"
FOLDER = "s3://reports/imports/job/"
IDS = [f"{number:032x}" for number in range(5)]
COUNTS = {
    "numberOfScannedFiles": "scanned",
    "numberOfImportedFiles": "imported",
    "numberOfFilesWithCustomerError": "customer",
    "numberOfFilesWithServerError": "server",
    "numberOfGeneratedImageSets": "image_sets",
}


def opened(files, chunk=16):
    """Return the function that opens a file of the output, in small chunks."""

    def open_file(name):
        if name not in files:
            return None
        return (files[name][at : at + chunk] for at in range(0, len(files[name]), chunk))

    return open_file


def ndjson(*objects):
    return b"".join(json.dumps(each).encode() + b"\n" for each in objects)


def report(files, **options):
    return read_report(FOLDER, opened(files, **options))


def imported_line(number, image_set, **more):
    return {"inputFile": f"{CANARY}/{number}.dcm", "importResponse": {**image_set, **more}}


def failed_line(number, kind="ValidationException"):
    return {"inputFile": f"{CANARY}/{number}.dcm", "exception": {"exceptionType": kind, "message": CANARY}}


IMAGE_SET = {"imageSetId": IDS[0], "imageSetVersion": 2, "isPrimary": True}


def manifest(**members):
    return {MANIFEST: json.dumps({"jobSummary": members}).encode()}


@st.composite
def jobs(draw):
    """What a job did, and the four files that say so."""
    known = draw(st.lists(st.sampled_from(IDS), unique=True))
    image_sets = [
        {"imageSetId": each, "imageSetVersion": draw(st.integers(1, 9)), "isPrimary": draw(st.booleans())}
        for each in known
    ]
    images = draw(st.lists(st.tuples(st.sampled_from(image_sets), st.booleans()), max_size=9)) if image_sets else []
    used = {image_set["imageSetId"]: image_set for image_set, _ in images}
    failed = draw(st.lists(st.sampled_from(["ValidationException", "InternalServerException"]), max_size=5))
    warned = [(number, image_set) for number, (image_set, warning) in enumerate(images) if warning]
    warned_in_success = draw(st.booleans())
    listed = [
        (number, image_set) for number, (image_set, warning) in enumerate(images) if warned_in_success or not warning
    ]
    counts = {
        "scanned": len(images) + len(failed),
        "imported": len(images),
        "customer": failed.count("ValidationException"),
        "server": failed.count("InternalServerException"),
        "image_sets": len(used),
    }
    files = {
        SUCCESS: ndjson(*(imported_line(number, image_set) for number, image_set in listed)),
        WARNING: ndjson(
            *(imported_line(number, image_set, warnings=[{"message": CANARY}]) for number, image_set in warned)
        ),
        FAILURE: ndjson(*(failed_line(number, kind) for number, kind in enumerate(failed))),
    }
    return counts, used, len(warned), Counter(failed), files, warned_in_success


@given(
    jobs(),
    st.sets(st.sampled_from([*COUNTS, "imageSetsSummary", "warningsOutputS3Uri"])),
    st.booleans(),
    st.integers(1, 99),
)
def test_counts_types_and_image_sets_are_those_of_the_files(job, missing, empty_output, chunk):
    counts, used, warned, failed, files, warned_in_success = job
    summary = {member: counts[name] for member, name in COUNTS.items()} | {
        "imageSetsSummary": [{**each, "numberOfMatchedSOPInstances": 1} for each in used.values()],
        "warningsOutputS3Uri": f"{FOLDER}WARNING/",
    }
    files = {**files, **manifest(**{name: value for name, value in summary.items() if name not in missing})}
    kept = {name: content for name, content in files.items() if content or empty_output}

    found = report(kept, chunk=chunk)

    assert found.failed == failed.total()
    assert dict(found.failed_by_type) == failed
    assert found.with_warnings == warned
    assert found.scanned == (None if "numberOfScannedFiles" in missing else counts["scanned"])
    if warned_in_success or not {"numberOfScannedFiles", "numberOfImportedFiles"} <= missing:
        assert found.imported == counts["imported"]
    assert {each["imageSetId"]: each for each in found.image_sets} == {
        each: {"imageSetId": each, "version": image_set["imageSetVersion"], "isPrimary": image_set["isPrimary"]}
        for each, image_set in used.items()
    }
    assert found.not_primary == sum(not each["isPrimary"] for each in used.values())
    assert CANARY not in repr(found)


@given(jobs(), st.sets(st.sampled_from([MANIFEST, SUCCESS, FAILURE, WARNING])))
def test_files_that_come_late_are_waited_for_and_never_taken_for_empty(job, late):
    counts, used, warned, failed, files, _ = job
    summary = {member: counts[name] for member, name in COUNTS.items()}
    summary["imageSetsSummary"] = [*used.values()]
    summary["warningsOutputS3Uri"] = f"{FOLDER}WARNING/"
    files = {**files, **manifest(**summary)}

    try:
        found = report({name: content for name, content in files.items() if name not in late})
    except ImportReportMissingError:
        assert late, "nothing is late"
        return

    assert (found.imported, found.failed) == (counts["imported"], failed.total())
    assert len(found.image_sets) == len(used)
    assert found.with_warnings == warned or found.warnings_pending


@pytest.mark.parametrize(
    ("late", "name"),
    [
        ({MANIFEST}, MANIFEST),
        ({SUCCESS}, SUCCESS),
        ({WARNING}, WARNING),
        ({FAILURE}, FAILURE),
        ({SUCCESS, WARNING}, SUCCESS),
    ],
)
def test_the_error_names_the_file_that_is_not_there_yet(late, name):
    files = {
        **manifest(numberOfImportedFiles=2, numberOfFilesWithCustomerError=1),
        SUCCESS: ndjson(imported_line(1, IMAGE_SET)),
        WARNING: ndjson(imported_line(2, IMAGE_SET)),
        FAILURE: ndjson(failed_line(3)),
    }
    with pytest.raises(ImportReportMissingError, match=f"^{name} is not in the job's output yet. The service may"):
        report({name: content for name, content in files.items() if name not in late})


@pytest.mark.parametrize(
    ("success", "warning", "complete"), [(2, None, True), (None, 2, True), (1, None, False), (None, 1, False)]
)
def test_as_many_lines_as_imported_files_are_enough(success, warning, complete):
    counted = {
        name: ndjson(*[imported_line(1, IMAGE_SET)] * lines)
        for name, lines in ((SUCCESS, success), (WARNING, warning))
        if lines is not None
    }
    files = {**manifest(numberOfImportedFiles=2), **counted}
    if not complete:
        with pytest.raises(ImportReportMissingError):
            report(files)
        return
    assert report(files).imported == 2


@pytest.mark.parametrize(
    ("files", "pending"),
    [
        ({SUCCESS: ndjson(imported_line(1, IMAGE_SET))}, True),
        ({SUCCESS: ndjson(imported_line(1, IMAGE_SET)), WARNING: b""}, False),
        ({FAILURE: ndjson(failed_line(1))}, False),
    ],
)
def test_a_list_of_warnings_is_pending_where_files_were_imported_and_it_is_announced(files, pending):
    assert report({**manifest(warningsOutputS3Uri="s3://x/"), **files}).warnings_pending is pending
    assert report({**manifest(), **files}).warnings_pending is False


def test_a_report_says_where_it_is():
    assert report(manifest()).output_s3_uri == FOLDER


def test_image_sets_that_are_counted_and_not_named_are_waited_for():
    with pytest.raises(ImportReportMissingError) as caught:
        report({**manifest(numberOfGeneratedImageSets=2), SUCCESS: ndjson(imported_line(1, IMAGE_SET))})
    assert str(caught.value) == (
        f"The job's output names 1 image sets, and {MANIFEST} counts more. The service may write the rest a little "
        "later."
    )


def test_failed_files_that_no_line_names_are_counted_too():
    found = report({**manifest(numberOfFilesWithServerError=3), FAILURE: ndjson(failed_line(1))})
    assert found.failed == 3
    assert dict(found.failed_by_type) == {"ValidationException": 1, UNKNOWN_TYPE: 2}
    found = report({**manifest(numberOfFilesWithServerError=3), FAILURE: ndjson(failed_line(1, None))})
    assert dict(found.failed_by_type) == {UNKNOWN_TYPE: 3}


def test_failed_files_that_the_manifest_does_not_count_are_counted_too():
    assert report({**manifest(), FAILURE: ndjson(failed_line(1), failed_line(2))}).failed == 2


@pytest.mark.parametrize("kind", [None, 4711, "Doe^Jane", "DOE JANE", "x" * 65, ""])
def test_a_type_that_does_not_look_like_one_is_not_passed_on(kind):
    assert dict(report({**manifest(), FAILURE: ndjson(failed_line(1, kind))}).failed_by_type) == {UNKNOWN_TYPE: 1}


def test_a_line_without_an_object_counts_as_a_file():
    files = {
        SUCCESS: ndjson({}, {"importResponse": None}),
        FAILURE: ndjson({}),
        WARNING: ndjson({"importResponse": {}}),
    }
    found = report({**manifest(), **files})
    assert (found.imported, found.failed, found.with_warnings, found.image_sets) == (2, 1, 1, ())


def test_the_highest_version_counts_and_not_primary_wins():
    entries = [
        {"imageSetId": IDS[0], "isPrimary": True},
        {"imageSetId": IDS[0], "imageSetVersion": "3", "isPrimary": False},
        {"imageSetId": IDS[0], "imageSetVersion": 2},
    ]
    (found,) = report({**manifest(imageSetsSummary=entries)}).image_sets
    assert found == {"imageSetId": IDS[0], "version": 3, "isPrimary": False}


def test_an_image_set_that_does_not_say_whether_it_is_primary_is_not_taken_for_primary():
    found = report({**manifest(imageSetsSummary=[{"imageSetId": IDS[0]}])})
    assert found.not_primary == 1


BROKEN = {
    "a manifest that is no JSON": ({MANIFEST: CANARY.encode()}, "is not a JSON object"),
    "a manifest that was cut": ({MANIFEST: manifest(numberOfImportedFiles=1)[MANIFEST][:-1]}, "is not a JSON object"),
    "a manifest that is a list": ({MANIFEST: b"[]"}, "is not a JSON object"),
    "a manifest of bytes": ({MANIFEST: b"\xff\xfe"}, "is not a JSON object"),
    "a deep manifest": ({MANIFEST: b"[" * 100_000}, "is not a JSON object"),
    "a summary that is a list": ({MANIFEST: b'{"jobSummary": []}'}, "in the document, jobSummary is not an object"),
    "a count that is text": (
        manifest(numberOfScannedFiles=CANARY),
        "in jobSummary, numberOfScannedFiles is not",
    ),
    "a count below zero": (manifest(numberOfImportedFiles=-1), "numberOfImportedFiles is not a whole number"),
    "image sets that are no list": (manifest(imageSetsSummary={}), "in jobSummary, imageSetsSummary is not a list"),
    "an image set that is text": (
        manifest(imageSetsSummary=[IMAGE_SET, CANARY]),
        "in imageSetsSummary, entry 1 is not",
    ),
    "an id that is none": (
        manifest(imageSetsSummary=[{"imageSetId": CANARY}]),
        r"in imageSetsSummary\[0\], imageSetId",
    ),
    "a version that is text": (
        {**manifest(), SUCCESS: ndjson(imported_line(1, {**IMAGE_SET, "imageSetVersion": CANARY}))},
        "has an invalid member: in line 1, imageSetVersion is not a whole number",
    ),
    "primary that is text": (
        {**manifest(), WARNING: ndjson(imported_line(1, {**IMAGE_SET, "isPrimary": CANARY}))},
        "has an invalid member: in line 1, isPrimary is not true or false",
    ),
    "a line that was cut": (
        {**manifest(), SUCCESS: ndjson(imported_line(1, IMAGE_SET), imported_line(2, IMAGE_SET))[:-9]},
        "has an invalid line: line 2 is not a JSON object",
    ),
    "a line after an empty one": (
        {**manifest(), FAILURE: ndjson(failed_line(1)) + b"\n" + CANARY.encode()},
        "has an invalid line: line 3 is not a JSON object",
    ),
    "a line that is a list": ({**manifest(), WARNING: b"[]"}, "has an invalid line: line 1"),
    "an exception that is text": (
        {**manifest(), FAILURE: ndjson({"inputFile": CANARY, "exception": CANARY})},
        "in line 1, exception is not an object",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_is_an_error_with_file_and_line_and_without_content(case, all_text):
    files, words = BROKEN[case]
    name = next(name for name in (SUCCESS, WARNING, FAILURE, MANIFEST) if name in files)
    with pytest.raises(InvalidImportReportError, match=f"^{name} .*{words}") as caught:
        report(files)
    assert not caught.value.retryable
    assert CANARY not in all_text(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            manifest(imageSetsSummary=[7]),
            f"{MANIFEST} has an invalid member: in imageSetsSummary, entry 0 is not an object.",
        ),
        (
            manifest(imageSetsSummary=[{"imageSetId": 7}]),
            (
                f"{MANIFEST} has an invalid member: in imageSetsSummary[0], imageSetId is not an id of 32 characters "
                "of 0-9 and a-z."
            ),
        ),
        (
            {**manifest(), SUCCESS: ndjson({"importResponse": []})},
            f"{SUCCESS} has an invalid member: in line 1, importResponse is not an object.",
        ),
        ({MANIFEST: b""}, f"{MANIFEST} is not a JSON object."),
    ],
)
def test_what_an_error_says_of_a_file_is_the_whole_of_it(files, message):
    with pytest.raises(InvalidImportReportError) as caught:
        report(files)
    assert str(caught.value) == (
        f"{message} Look at the file in the job's output in S3. Its content is not shown, because it may hold patient "
        "data."
    )


@given(st.sampled_from([MANIFEST, SUCCESS, WARNING, FAILURE]), st.binary() | st.text().map(str.encode))
def test_no_content_raises_another_error(name, content):
    with suppress(InvalidImportReportError, ImportReportMissingError):
        report({**manifest(), name: content})


def test_a_line_or_a_manifest_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(lines, "MAX_DOCUMENT_BYTES", 1000)
    longest = b"{}" + b" " * 98
    assert report({**manifest(), SUCCESS: longest}, chunk=200).imported == 1
    with pytest.raises(InvalidImportReportError, match=f"{SUCCESS} .*line 1 is longer than 100 bytes"):
        report({**manifest(), SUCCESS: longest + b" "}, chunk=200)
    assert report({MANIFEST: b"{}" + b" " * 998}).imported == 0
    with pytest.raises(InvalidImportReportError, match=f"{SUCCESS} .*line 2 is longer than 100 bytes"):
        report({**manifest(), SUCCESS: b"{}\n" + b" " * 200})
    with pytest.raises(InvalidImportReportError, match=f"{MANIFEST} is larger than 1000 bytes"):
        report({MANIFEST: b" " * 2000})


def test_memory_does_not_grow_with_the_files():
    def success(count):
        for number in range(count):
            yield ndjson(imported_line(number, IMAGE_SET))

    def peak(count):
        files = manifest(numberOfImportedFiles=count)
        tracemalloc.start()
        read_report(FOLDER, lambda name: success(count) if name == SUCCESS else opened(files)(name))
        measured = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return measured

    assert peak(5000) < peak(50) + 50_000
