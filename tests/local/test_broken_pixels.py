"""Files whose pixels contradict their headers, or cannot be written: they stay as they came, and no error gets out."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian

from .stored import AS_EXPLICIT, HTJ2K, J2K, image, import_one, only_instance, parsed, read_frame, read_metadata

UIDS = ("1.1", "1.1.1", "1.1.1.1")
JPEG, JPEG_EXTENDED, JPEG_LOSSLESS = (f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 70))
FRAMES = np.arange(4000, dtype=np.uint16).reshape(2, 40, 50)
BITS = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0}
NOT_ACCEPTABLE = (406, "NotAcceptableException")


def in_j2k(frames):
    return [bytes(imagecodecs.jpeg2k_encode(frame, codecformat="j2k", reversible=True)) for frame in frames]


def only_frames(client, image_set_id):
    _, instance = only_instance(read_metadata(client, image_set_id))
    return instance["StoredTransferSyntaxUID"], instance.get("ImageFrames")


@pytest.mark.parametrize("syntax", [JPEG_EXTENDED, JPEG_LOSSLESS, J2K, "1.2.840.10008.1.2.4.92"])
def test_pixels_that_no_codec_decodes_stay_as_they_came(imports, client, dicomweb, syntax):
    content = image(FRAMES[:1], syntax=syntax, PixelData=encapsulate([b"no codec knows this."]))
    image_set_id = import_one(imports, content)
    assert only_frames(client, image_set_id) == (syntax, None)
    assert dicomweb(UIDS, image_set_id).body == content
    assert dicomweb(UIDS, image_set_id, AS_EXPLICIT)[:2] == NOT_ACCEPTABLE


CONTRADICTIONS = {
    "no rows": image(FRAMES, Rows=0),
    "a negative number of frames": image(FRAMES, NumberOfFrames=-1),
    "fewer kept frames than it says": image(FRAMES, syntax=JPEG, PixelData=encapsulate([b"\xff\xd8one"])),
    "fewer fragments than frames": image(
        np.concatenate([FRAMES, FRAMES]), syntax=J2K, PixelData=encapsulate(in_j2k(FRAMES), has_bot=False)
    ),
    "fewer single bits than it says": image(FRAMES, PixelData=b"\1\1", **BITS),
    "another size": image(FRAMES, syntax=J2K, Rows=20, PixelData=encapsulate(in_j2k(FRAMES))),
    "more bits than it says": image(
        FRAMES, syntax=J2K, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=encapsulate(in_j2k(FRAMES))
    ),
    "samples of 24 bits": image(
        FRAMES, syntax=J2K, BitsAllocated=24, BitsStored=24, HighBit=23, PixelData=encapsulate(in_j2k(FRAMES))
    ),
    "samples of 64 bits": image(FRAMES.astype(np.uint64)),
    "colours in one column": image(np.zeros((1, 4, 1, 3), np.uint8)),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_pixels_that_are_not_what_the_file_says_stay_as_they_came(imports, client, dicomweb, name):
    content = CONTRADICTIONS[name]
    image_set_id = import_one(imports, content)
    assert only_frames(client, image_set_id) == (parsed(content).file_meta.TransferSyntaxUID, None)
    assert dicomweb(UIDS, image_set_id).body == content


def test_a_file_that_is_broken_behind_its_pixels_has_frames_but_cannot_be_written_anew(imports, client, dicomweb):
    sequence_without_end = struct.pack("<HH2sHI", 0xFFFA, 0xFFFA, b"SQ", 0, 0xFFFFFFFF)
    image_set_id = import_one(imports, image(FRAMES) + sequence_without_end)
    syntax, frames = only_frames(client, image_set_id)
    assert (syntax, len(frames)) == (HTJ2K, 2)
    assert dicomweb(UIDS, image_set_id)[:2] == NOT_ACCEPTABLE


@pytest.mark.parametrize("name", ["MR_small_implicit.dcm", "MR_small_bigendian.dcm"])
def test_a_file_with_a_broken_value_cannot_be_written_anew(imports, client, dicomweb, name):
    content = Path(get_testdata_file(name, download=False)).read_bytes()
    if name == "MR_small_bigendian.dcm":
        words, study = struct.pack(">HH2sH", 0x0018, 0x1310, b"US", 3), struct.pack(">HH", 0x0020, 0x000D)
    else:
        words, study = struct.pack("<HHI", 0x0018, 0x1310, 3), struct.pack("<HH", 0x0020, 0x000D)
    image_set_id = import_one(imports, content.replace(study, words + b"\0\1\2" + study, 1))
    uids, _ = only_instance(read_metadata(client, image_set_id))
    assert dicomweb(uids, image_set_id, AS_EXPLICIT)[:2] == NOT_ACCEPTABLE


def test_offset_tables_of_the_old_pixels_are_left_out(imports, dicomweb):
    encoded = in_j2k(FRAMES)
    offsets = np.array([0, len(encoded[0]) + len(encoded[0]) % 2 + 8], np.uint64).tobytes()
    tables = {
        "ExtendedOffsetTable": offsets,
        "ExtendedOffsetTableLengths": np.array([*map(len, encoded)], "u8").tobytes(),
    }
    image_set_id = import_one(
        imports, image(FRAMES, syntax=J2K, PixelData=encapsulate(encoded, has_bot=False), **tables)
    )
    for accept in ("application/dicom; transfer-syntax=*", AS_EXPLICIT):
        dataset = parsed(dicomweb(UIDS, image_set_id, accept).body)
        assert not set(tables) & set(dataset.dir())


@pytest.mark.parametrize("syntax", [JPEG, J2K])
def test_each_frame_of_an_encoded_file_is_found_again_without_the_cache(imports, client, monkeypatch, syntax):
    from moto.medicalimaging import stored_pixels

    encoded = in_j2k(FRAMES) if syntax == J2K else [b"\xff\xd8the first one.", b"\xff\xd8the second one"]
    image_set_id = import_one(imports, image(FRAMES, syntax=syntax, PixelData=encapsulate(encoded)))
    _, frames = only_frames(client, image_set_id)
    before = [read_frame(client, image_set_id, frame["ID"]) for frame in frames]
    monkeypatch.setattr(stored_pixels, "_cache", stored_pixels._FrameCache(1))
    assert [read_frame(client, image_set_id, frame["ID"]) for frame in frames] == before
    assert len(set(before)) == 2


def test_a_deflated_file_that_ends_early_stays_as_it_came(imports, client, dicomweb):
    dataset = parsed(image(np.random.default_rng(1).integers(0, 2**16, (1, 1500, 1500), dtype=np.uint16)))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    content = file.getvalue()[:-20]
    image_set_id = import_one(imports, content)
    assert only_frames(client, image_set_id) == (DeflatedExplicitVRLittleEndian, None)
    assert dicomweb(UIDS, image_set_id).body == content


def test_values_that_jpeg_2000_cannot_hold_stay_as_they_came(imports, client):
    store = client.create_datastore(datastoreName="j2k", losslessStorageFormat="JPEG_2000_LOSSLESS")["datastoreId"]
    content = image(np.random.default_rng(1).integers(0, 2**32, (1, 33, 70), dtype=np.uint32))
    image_set_id = import_one(imports, content, datastoreId=store)
    _, instance = only_instance(read_metadata(client, image_set_id, store))
    assert "ImageFrames" not in instance
