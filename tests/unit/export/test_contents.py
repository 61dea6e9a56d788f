"""What an image set consists of is read from its metadata; nothing of a patient gets into what is made of it."""

import gzip
import json
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import (
    HealthImagingError,
    IncompleteResponseError,
    ObjectMismatchError,
    UnsupportedPixelsError,
)
from airflow_provider_healthimaging.export.contents import HTJ2K_LOSSLESS_RPCL, parse_metadata, read_instances
from airflow_provider_healthimaging.export.decode import decode_frame, is_decoded
from airflow_provider_healthimaging.export.manifest import (
    build_manifest,
    covers,
    dump_manifest,
    kept_entries,
    parse_manifest,
)
from airflow_provider_healthimaging.export.plan import folder_of, plan_objects
from airflow_provider_healthimaging.export.request import ExportRequest
from airflow_provider_healthimaging.export.verify import check_dicom_head, check_frame_checksum, check_frame_size

ID = "e" * 32
UIDS = ("1.2.3", "1.2.3.4", "1.2.3.4.5")
PLAIN, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"


def image_frame(number, **more):
    levels = [{"Width": 2, "Height": 2, "Checksum": 1}, {"Width": 4, "Height": 4, "Checksum": 99}]
    return {
        "ID": f"{number:032d}",
        "FrameSizeInBytes": 32,
        "MinPixelValue": 0,
        "MaxPixelValue": 9,
        "PixelDataChecksumFromBaseToFullResolution": levels,
        **more,
    }


PIXELS = {
    "Rows": 4,
    "Columns": 4,
    "SamplesPerPixel": 1,
    "BitsAllocated": 16,
    "BitsStored": 12,
    "PixelRepresentation": 0,
}
PIXELS |= {"PhotometricInterpretation": "MONOCHROME2"}


def document(*instances, series="1.2.3.4", study="1.2.3"):
    given = {f"{series}.{number}": instance for number, instance in enumerate(instances, 1)}
    return {
        "ImageSetID": ID,
        "Study": {"DICOM": {"StudyInstanceUID": study}, "Series": {series: {"DICOM": {}, "Instances": given}}},
    }


def instance(number=1, frames=(), syntax=None, **attributes):
    given = {"DICOM": {"InstanceNumber": number, **attributes}, "ImageFrames": [*frames]}
    return given if syntax is None else {**given, "StoredTransferSyntaxUID": syntax}


def one(**more):
    (found,) = read_instances(document(instance(frames=[image_frame(1)], **{**PIXELS, **more})))
    return found


def test_instances_come_in_the_order_of_their_numbers_whatever_the_order_of_the_document():
    found = read_instances(document(instance("10"), instance(None), instance(2), instance([1])))
    assert [(each.number, each.uids.sop[-1]) for each in found] == [(1, "4"), (2, "3"), (3, "1"), (4, "2")]


def test_a_missing_transfer_syntax_is_htj2k_by_the_developer_guide():
    assert one().transfer_syntax == HTJ2K_LOSSLESS_RPCL
    (found,) = read_instances(document(instance(syntax=PLAIN)))
    assert found.transfer_syntax == PLAIN


def test_the_checksum_is_that_of_the_largest_resolution():
    assert one().frames[0].checksum == 99
    assert one().frames[0].of_stored_bytes is False
    (found,) = read_instances(
        document(instance(frames=[image_frame(1, MinPixelValue=None, MaxPixelValue=None)], syntax=JPEG))
    )
    assert found.frames[0].of_stored_bytes is True


def test_a_repr_shows_no_uid():
    assert "1.2.3" not in repr(one())


def test_an_image_set_without_instances_has_none():
    assert read_instances({"ImageSetID": ID}) == []
    with pytest.raises(HealthImagingError, match="name no study"):
        read_instances(document(instance(), study=None))
    with pytest.raises(HealthImagingError, match="without a valid id"):
        read_instances(document(instance(frames=[image_frame(1, ID="../x")])))


@given(st.binary(max_size=200) | st.integers(0, 10**6))
def test_metadata_are_a_whole_document_of_this_image_set_or_refused(given):
    whole = gzip.compress(json.dumps(document(instance())).encode(), mtime=0)
    blob = whole[: given % len(whole)] if isinstance(given, int) else given
    with pytest.raises(IncompleteResponseError):
        parse_metadata(blob, ID)
    assert parse_metadata(whole, ID)["ImageSetID"] == ID
    with pytest.raises(IncompleteResponseError):
        parse_metadata(whole, "f" * 32)
    with pytest.raises(IncompleteResponseError):
        parse_metadata(whole + b"x", ID)


@pytest.mark.parametrize(
    ("syntax", "extension"),
    [
        (None, "jph"),
        ("1.2.840.10008.1.2.4.203", "jph"),
        ("1.2.840.10008.1.2.4.91", "j2k"),
        (JPEG, "jpg"),
        ("1.2.840.10008.1.2.4.112", "jxl"),
        ("1.2.840.10008.1.2.4.102", "mp4"),
        ("1.2.840.10008.1.2.4.102.1", "mp4"),
        (PLAIN, "dcmraw"),
    ],
)
def test_keys_hold_ids_and_numbers_and_say_how_a_frame_is_encoded(syntax, extension):
    instances = read_instances(document(instance(frames=[image_frame(1), image_frame(2)], syntax=syntax)))
    assert [each.name for each in plan_objects(instances, ["metadata", "dicom", "frames"])] == [
        "dicom/00001.dcm",
        f"frames/{1:032d}.{extension}",
        f"frames/{2:032d}.{extension}",
    ]
    assert folder_of(ID, 3) == f"{ID}/v3/"


def test_a_frame_of_two_instances_is_one_object():
    instances = read_instances(document(instance(frames=[image_frame(1)]), instance(2, frames=[image_frame(1)])))
    assert len([*plan_objects(instances, ["frames"])]) == 1


# Checks


def test_a_size_is_that_of_the_stored_or_of_the_decoded_frame():
    found = one()
    (frame,) = found.frames
    assert found.pixels.frame_bytes == 32
    check_frame_size(32, found, frame, "A frame")
    check_frame_size(20, found, frame, "A frame")
    other = one(Rows=5)
    with pytest.raises(ObjectMismatchError, match="A frame has 20 bytes, but the metadata say 32"):
        check_frame_size(20, other, other.frames[0], "A frame")
    unknown = one(Rows=None)
    check_frame_size(20, unknown, unknown.frames[0], "A frame")


def test_a_dicom_file_begins_as_one():
    check_dicom_head(bytes(128) + b"DICM", "Instance 1")
    for wrong in (b"", bytes(132), b"<html>" * 50):
        with pytest.raises(ObjectMismatchError, match="not as a DICOM file"):
            check_dicom_head(wrong, "Instance 1")


@pytest.mark.parametrize("dtype", ["<u2", "<i2", "u1"])
def test_a_checksum_is_that_of_the_decoded_samples(dtype):
    import imagecodecs

    samples = np.arange(16, dtype=dtype).reshape(4, 4) * 7 - (50 if dtype == "<i2" else 0)
    encoded = bytes(imagecodecs.htj2k_encode(samples, tlm=True))
    bits = samples.dtype.itemsize * 8
    facts = {**PIXELS, "BitsAllocated": bits, "BitsStored": bits, "PixelRepresentation": int(dtype == "<i2")}
    levels = [{"Width": 4, "Height": 4, "Checksum": zlib.crc32(samples.tobytes())}]
    frame = image_frame(1, PixelDataChecksumFromBaseToFullResolution=levels)
    (found,) = read_instances(document(instance(frames=[frame], **facts)))

    np.testing.assert_array_equal(decode_frame(encoded, found.transfer_syntax, found.pixels), samples)
    check_frame_checksum(encoded, found, found.frames[0], "A frame")
    other = bytes(imagecodecs.htj2k_encode(samples[::-1].copy(), tlm=True))
    with pytest.raises(ObjectMismatchError, match="checksum of a frame"):
        check_frame_checksum(other, found, found.frames[0], "a frame")


def test_what_the_service_kept_is_compared_by_its_bytes_and_what_has_no_checksum_is_not():
    kept = image_frame(1, MinPixelValue=None, MaxPixelValue=None)
    kept["PixelDataChecksumFromBaseToFullResolution"] = [{"Width": 4, "Height": 4, "Checksum": zlib.crc32(b"jpeg")}]
    (found,) = read_instances(document(instance(frames=[kept, image_frame(2)], syntax=JPEG)))
    check_frame_checksum(b"jpeg", found, found.frames[0], "a frame")
    with pytest.raises(ObjectMismatchError):
        check_frame_checksum(b"jpeg2", found, found.frames[0], "a frame")
    without = image_frame(1, PixelDataChecksumFromBaseToFullResolution=None)
    (found,) = read_instances(document(instance(frames=[without])))
    check_frame_checksum(b"anything", found, found.frames[0], "a frame")


@pytest.mark.parametrize(
    ("data", "syntax", "words"),
    [
        (b"x", JPEG, "are not decoded here, only JPEG 2000, HTJ2K and uncompressed"),
        (b"x", HTJ2K_LOSSLESS_RPCL, "cannot be decoded as its metadata describe it"),
        (b"x", PLAIN, "has 1 bytes, but its metadata need 32"),
    ],
)
def test_what_is_not_decoded_says_so(data, syntax, words):
    with pytest.raises(UnsupportedPixelsError, match=words):
        decode_frame(data, syntax, one().pixels)


def test_frames_of_more_than_24_bits_are_refused():
    with pytest.raises(UnsupportedPixelsError, match="Frames of 32 bits a sample"):
        decode_frame(b"", HTJ2K_LOSSLESS_RPCL, one(BitsAllocated=32).pixels)


def test_single_bits_are_unpacked():
    bits = decode_frame(bytes([0b00000101, 0xFF]), PLAIN, one(BitsAllocated=1).pixels)
    assert bits.shape == (4, 4)
    assert bits[0].tolist() == [1, 0, 1, 0]


def test_samples_have_the_type_that_the_metadata_describe():
    samples = np.arange(16, dtype="<u2").reshape(4, 4)
    encoded = bytes(imagecodecs.htj2k_encode(samples, tlm=True))
    np.testing.assert_array_equal(decode_frame(encoded, HTJ2K_LOSSLESS_RPCL, None), samples)
    signed = decode_frame(encoded, HTJ2K_LOSSLESS_RPCL, one(BitsStored=4, PixelRepresentation=1).pixels)
    assert signed.dtype == "<i2"
    np.testing.assert_array_equal(signed, (samples.astype(int) + 8) % 16 - 8)


@pytest.mark.parametrize("kind", ["<u2", "<i2", "u1"])
def test_uncompressed_samples_are_read_and_padding_is_left_out(kind):
    samples = np.arange(16, dtype=kind).reshape(4, 4)
    described = one(BitsAllocated=samples.itemsize * 8, PixelRepresentation=int(samples.dtype.kind == "i")).pixels
    read = decode_frame(samples.tobytes() + b"\0", PLAIN, described)
    assert read.dtype == kind
    np.testing.assert_array_equal(read, samples)


@pytest.mark.parametrize(("syntax", "bits"), [(HTJ2K_LOSSLESS_RPCL, 24), (PLAIN, 12), (PLAIN, 24), (PLAIN, 64)])
def test_samples_that_numpy_has_no_type_for_are_not_taken_for_damaged_ones(syntax, bits):
    pixels = one(BitsAllocated=bits).pixels
    assert not is_decoded(syntax, pixels)
    with pytest.raises(UnsupportedPixelsError, match=f"Frames of {bits} bits a sample are not decoded here") as refused:
        decode_frame(bytes(1000), syntax, pixels)
    assert not refused.value.damaged


def test_too_little_memory_is_no_damage(monkeypatch):
    def too_large(*_, **__):
        raise MemoryError

    monkeypatch.setattr("openjpeg.utils.decode", too_large)
    with pytest.raises(MemoryError):
        decode_frame(b"x", HTJ2K_LOSSLESS_RPCL, one().pixels)


# Manifest


def manifest(request, content, *, missing=False):
    objects = [(each, None if missing else {"bytes": 3, "crc32": "0" * 8}) for each in plan_objects([one()], content)]
    return build_manifest(
        request,
        content,
        datastore_id="d" * 32,
        image_set_id=ID,
        version=1,
        instances=1,
        metadata={"bytes": 5, "crc32": "1" * 8} if "metadata" in content else None,
        objects=objects,
    )


def asked(**arguments):
    return ExportRequest.parse(**{"s3_uri": "s3://b/", **arguments})


def test_a_manifest_comes_back_as_it_was_and_shows_no_uid():
    made = manifest(asked(), ["metadata", "dicom", "frames"])
    assert (made["objects"], made["bytes"]) == (3, 11)
    assert parse_manifest(dump_manifest(made)) == made
    assert b"1.2.3" not in dump_manifest(made)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"null", b'{"content": 7}', b"\xff"])
def test_what_is_no_manifest_is_none(text):
    assert parse_manifest(text) is None


@pytest.mark.parametrize(
    ("arguments", "is_covered"),
    [
        ({}, True),
        ({"content": ["metadata"]}, True),
        ({"content": ["frames"]}, False),
        ({"transfer_syntax": PLAIN}, False),
        ({"verify": "checksum"}, False),
    ],
)
def test_a_manifest_covers_what_it_lists_in_the_syntax_and_with_the_check_that_are_wanted(arguments, is_covered):
    assert covers(manifest(asked(), ["metadata", "dicom"]), asked(**arguments)) is is_covered


@pytest.mark.parametrize(
    ("arguments", "is_kept"),
    [({}, True), ({"content": ["frames"]}, True), ({"transfer_syntax": PLAIN}, False), ({"verify": "checksum"}, False)],
)
def test_what_a_manifest_lists_is_kept_while_more_is_copied_with_the_same_check(arguments, is_kept):
    made = manifest(asked(), ["dicom"])
    kept = kept_entries(made, asked(**arguments))
    assert kept == ({"dicom/00001.dcm": {"bytes": 3, "crc32": "0" * 8}} if is_kept else None)


def test_a_manifest_with_missing_objects_is_complete_only_for_who_skips_them():
    made = manifest(asked(on_missing="skip"), ["dicom"], missing=True)
    assert made["missing"] == [{"key": "dicom/00001.dcm", "instance": 1}]
    assert not covers(made, asked(content=["dicom"]))
    assert covers(made, asked(content=["dicom"], on_missing="skip"))
