"""Harmful files: each is reported with a reason, without much time or memory, and the other files are loaded."""

from __future__ import annotations

import os
import resource
import struct
import time
import zlib

import pytest

from airflow_provider_healthimaging.local.dicom import load_dicom

SECRET = b"CANARY^NAME"
EXPLICIT, DEFLATED = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1.99"
UNDEFINED = 0xFFFFFFFF
TOO_MUCH = "more than 4 MiB would have to be read"


def short(group, number, vr, value):
    """An attribute with a length field of two bytes."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def long(group, number, vr, length, value=b""):
    """An attribute with a length field of four bytes. The length may be wrong."""
    return struct.pack("<HH2sHI", group, number, vr, 0, length) + value


def dicom(*elements, syntax=EXPLICIT):
    meta = short(2, 0x10, b"UI", syntax)
    return b"\0" * 128 + b"DICM" + short(2, 0, b"UL", struct.pack("<I", len(meta))) + meta + b"".join(elements)


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return dicom(packer.compress(data) + packer.flush(), syntax=DEFLATED)


INSTANCE = short(8, 0x18, b"UI", b"1.1.1.1")
NAME = short(0x10, 0x10, b"PN", SECRET)
SERIES = short(0x20, 0xD, b"UI", b"1.1") + short(0x20, 0xE, b"UI", b"1.1.1")
WHOLE = INSTANCE + NAME + SERIES
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)

# Made when it is asked for: some take a second.
HARMFUL = {
    "a length behind the end": lambda: dicom(INSTANCE, NAME, long(0x10, 0x20, b"UT", UNDEFINED - 1, SECRET), SERIES),
    "truncated in a tag number": lambda: dicom(INSTANCE, NAME, b"\x20\0\x0d"),
    "nested without an end": lambda: dicom(INSTANCE, NAME, (long(8, 0x1140, b"SQ", UNDEFINED) + ITEM) * 100_000),
    "half a million attributes": lambda: dicom(
        INSTANCE,
        long(8, 0x1140, b"SQ", UNDEFINED) + ITEM,
        b"".join(short(9, n % 2**16, b"LO", b"") for n in range(2**19)),
    ),
    "a compression bomb": lambda: deflated(INSTANCE + NAME + bytes(2**28)),
    "a codec with quadratic time": lambda: deflated(
        short(8, 5, b"CS", b"punycode") + INSTANCE + long(0x10, 0x10, b"UT", 2**21, b"a" * 2**21) + SERIES
    ),
    "a million values": lambda: deflated(INSTANCE + long(0x10, 0x10, b"UT", 2**20, b"\\" * 2**20) + SERIES),
    "a million character sets": lambda: deflated(long(8, 5, b"UT", 2**20, b"\\" * 2**20) + WHOLE),
    "a sequence instead of a name": lambda: dicom(INSTANCE, long(0x10, 0x10, b"SQ", UNDEFINED) + ITEM, SERIES),
    "a series UID of letters": lambda: dicom(
        INSTANCE, NAME, short(0x20, 0xD, b"UI", b"1.1"), short(0x20, 0xE, b"UI", SECRET)
    ),
    "a truncated deflated file": lambda: deflated(WHOLE)[:-4],
    "truncated in a skipped attribute": lambda: dicom(WHOLE, long(0x20, 0xF, b"UT", 5000, b"more")),
    "not deflated": lambda: dicom(WHOLE, syntax=DEFLATED),
    "not DICOM": lambda: b"%PDF-1.7" + SECRET * 99,
    "an empty file": lambda: b"",
}


@pytest.fixture
def load(local, datastore_id):
    return lambda *paths: load_dicom(paths, datastore_id, backend=local)


@pytest.fixture
def folder(tmp_path):
    """A folder with one valid file."""
    made = tmp_path / "in"
    made.mkdir()
    (made / "good.dcm").write_bytes(dicom(WHOLE))
    return made


@pytest.fixture
def only_good_is_loaded(load, folder):
    """Loads the folder, checks that only the valid file was loaded, and returns the reasons of the others by name."""

    def check(names):
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        report = load(folder)
        assert time.process_time() - began < 30
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB
        assert (report.files_read, len(report.created)) == (1, 1)
        assert SECRET.decode() not in str(report)
        reasons = {path.name: reason for path, reason in report.skipped}
        assert reasons.keys() == set(names)
        return reasons

    return check


@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_file_is_reported_and_the_others_are_loaded(folder, only_good_is_loaded, name):
    (folder / name).write_bytes(HARMFUL[name]())

    assert only_good_is_loaded([name])[name]


def test_a_truncated_file_is_reported_unless_it_was_cut_between_two_attributes_after_the_uids(
    folder, load, local, datastore_id
):
    whole = WHOLE + short(0x20, 0x10, b"SH", b"STUDY-4711") + short(0x20, 0x11, b"IS", b"4711")
    between = {len(dicom(WHOLE)), len(dicom(WHOLE)) + 8 + 10}
    for size in range(len(dicom(whole))):
        (folder / "good.dcm").write_bytes(dicom(whole)[:size])
        assert load(folder).files_read == (size in between), size
    (folder / "good.dcm").write_bytes(dicom(whole))
    assert load(folder).files_read == 1
    (image_set,) = local.image_sets(datastore_id)
    assert image_set.dicom_tags["DICOMSeriesInstanceUID"] == "1.1.1"


def test_a_value_that_the_service_does_not_allow_is_left_out(folder, load, local, datastore_id):
    (folder / "good.dcm").write_bytes(
        dicom(
            short(8, 0x18, b"UI", b"1.1.1.1"),
            long(8, 0x50, b"OB", 12, SECRET + b"\0"),
            short(8, 0x60, b"CS", b"M" * 33),
            long(0x10, 0x10, b"SQ", 0),
            short(0x10, 0x20, b"LO", b"P" * 513),
            short(0x10, 0x40, b"CS", b"S" * 16),
            SERIES,
            short(0x20, 0x11, b"IS", b"2147483648"),
        )
    )

    assert load(folder).files_read == 1
    (image_set,) = local.image_sets(datastore_id)
    counted = {"DICOMNumberOfStudyRelatedSeries": 1, "DICOMNumberOfStudyRelatedInstances": 1}
    uids = {"DICOMStudyInstanceUID": "1.1", "DICOMSeriesInstanceUID": "1.1.1"}
    held = {name: value for name, value in image_set.dicom_tags.items() if value is not None}
    assert held == {**uids, **counted, "DICOMPatientSex": "S" * 16}


def test_a_folder_that_cannot_be_read_is_reported(folder, only_good_is_loaded):
    here = os.open(folder, os.O_RDONLY)
    # The whole path is longer than the system allows, so each folder is created relative to the one above it.
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    assert only_good_is_loaded(["d" * 250]) == {"d" * 250: "unreadable (OSError)"}


def test_a_large_deflated_file_is_loaded(folder, load):
    (folder / "good.dcm").write_bytes(deflated(WHOLE + long(0x7FE0, 0x10, b"OW", 2**26) + bytes(2**26)))

    assert load(folder).files_read == 1


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (long(0x10, 0x20, b"UT", 2**32 - 2), "attribute (0010,0020) has more than 4,096 bytes"),
        (long(9, 0x1001, b"OB", UNDEFINED), TOO_MUCH),
        (long(2, 0x102, b"OB", 2**32 - 2), TOO_MUCH),
    ],
    ids=["a value", "a value without an end", "the header"],
)
def test_only_a_small_part_of_a_giant_file_is_read(folder, only_good_is_loaded, last, reason):
    with (folder / "giant").open("wb") as file:
        file.write(dicom(last) if last[0] == 2 else dicom(INSTANCE, NAME, last))
        file.truncate(2**40)

    assert only_good_is_loaded(["giant"]) == {"giant": reason}


def test_pixels_are_not_read(folder, load):
    with (folder / "good.dcm").open("wb") as file:
        file.write(dicom(WHOLE, long(0x7FE0, 0x10, b"OW", UNDEFINED - 1)))
        file.truncate(2**40)

    assert load(folder).files_read == 1


def test_links_out_of_the_folder_and_special_files_are_not_opened(folder, only_good_is_loaded, tmp_path):
    (tmp_path / "outside.dcm").write_bytes(dicom(WHOLE.replace(b"1.1.1", b"2.2.2")))
    links = {
        "out": tmp_path / "outside.dcm",
        "up": tmp_path,
        "zeros": "/dev/zero",
        "a": "b",
        "b": "a",
        "gone": "nowhere",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (folder / "self").symlink_to(folder)
    os.mkfifo(folder / "pipe")

    reasons = only_good_is_loaded([*links, "self", "pipe"])

    assert {name for name, reason in reasons.items() if reason == "a link out of the folder"} == {"out", "up", "zeros"}
    assert {reasons[name] for name in ("a", "b", "gone", "self", "pipe")} == {"not a regular file"}


def test_a_link_inside_the_folder_is_followed(folder, load):
    (folder / "sub").mkdir()
    (folder / "sub" / "link.dcm").symlink_to("../good.dcm")

    report = load(folder)

    assert (report.files_read, report.skipped) == (2, ())


def test_a_pipe_or_device_is_also_not_opened_if_it_is_given_as_a_path(folder, load):
    os.mkfifo(folder / "pipe")

    report = load(folder / "good.dcm", folder / "pipe", "/dev/zero")

    assert report.files_read == 1
    assert {reason for _, reason in report.skipped} == {"not a regular file"}


def test_a_file_that_cannot_be_read_is_reported(folder, load):
    # The first page of a process's memory is never mapped, so this read fails, also for root.
    report = load(folder / "good.dcm", "/proc/self/mem")

    assert report.files_read == 1
    assert [reason for _, reason in report.skipped] == ["unreadable (OSError)"]
