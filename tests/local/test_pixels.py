"""Pixels go in by an import job, and come out of GetImageFrame and GetDICOMInstance bit by bit."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.medicalimaging.dicom_file import read_dicom_file
from moto.medicalimaging.exceptions import ValidationError
from moto.medicalimaging.part10 import part10_file
from moto.medicalimaging.stored_pixels import frame_bytes, stored_pixels
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from airflow_provider_healthimaging.local.dicom import pydicom_sample_files

from .importing import dicom_file
from .stored import (
    AS_EXPLICIT,
    EXPLICIT,
    HTJ2K,
    J2K,
    image,
    import_one,
    only_instance,
    parsed,
    pixels,
    read_frame,
    read_metadata,
)

KEPT = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91"}
MEDIA_TYPES = {
    EXPLICIT: "application/octet-stream",
    HTJ2K: "image/jph",
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.91": "image/j2c",
}
"""Of frames, by stored transfer syntax: those of the service's model in botocore."""

NOT_DECODABLE = {"MR_truncated.dcm", "badVR.dcm"}
"""Files of pydicom whose pixels are broken on purpose."""


def has_pixels(path):
    dataset = pydicom.dcmread(path)
    return bool({"PixelData", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"} <= set(dataset.dir()))


FILES = [path for path in pydicom_sample_files() if has_pixels(path) and path.name not in NOT_DECODABLE]


def sample(name):
    return Path(get_testdata_file(name, download=False)).read_bytes()


def decoded(frame):
    return imagecodecs.htj2k_decode(frame, planar=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_pydicom_comes_back_bit_by_bit(imports, client, dicomweb, path):
    content = path.read_bytes()
    imported = parsed(content).file_meta.TransferSyntaxUID
    image_set_id = import_one(imports, content)
    uids, instance = only_instance(read_metadata(client, image_set_id))
    syntax = instance["StoredTransferSyntaxUID"]
    media_type = MEDIA_TYPES[syntax]
    frames = [read_frame(client, image_set_id, each["ID"], media_type=media_type) for each in instance["ImageFrames"]]
    assert [len(frame) for frame in frames] == [frame["FrameSizeInBytes"] for frame in instance["ImageFrames"]]
    stored = dicomweb(uids, image_set_id)
    assert stored.type == f"application/dicom; transfer-syntax={syntax}"
    expected = pixels(content)
    if imported in KEPT:
        assert syntax == imported
        assert stored.body == content
        assert frames == list(generate_frames(parsed(content).PixelData, number_of_frames=len(frames)))
        for frame, described in zip(frames, instance["ImageFrames"], strict=True):
            assert (described["MinPixelValue"], described["MaxPixelValue"]) == (None, None)
            assert [each["Checksum"] for each in checksums(described)] == [zlib.crc32(frame)]
    elif parsed(content).BitsAllocated == 1:
        assert syntax == EXPLICIT
        assert np.array_equal(pixels(stored.body), expected)
        assert b"".join(frames) == parsed(stored.body).PixelData
    else:
        assert syntax == HTJ2K
        arrays = [decoded(frame) for frame in frames]
        if expected is not None:
            assert [array.dtype for array in arrays] == [array.dtype.newbyteorder("=") for array in expected]
            assert np.array_equal(arrays, expected)
        for array, described in zip(arrays, instance["ImageFrames"], strict=True):
            assert (described["MinPixelValue"], described["MaxPixelValue"]) == (array.min(), array.max())
            full = {"Width": array.shape[1], "Height": array.shape[0], "Checksum": zlib.crc32(array.tobytes())}
            assert checksums(described)[-1] == full
        fragments = generate_frames(parsed(stored.body).PixelData, number_of_frames=len(frames))
        assert list(fragments) == [frame + b"\0" * (len(frame) % 2) for frame in frames]
        explicit = dicomweb(uids, image_set_id, AS_EXPLICIT)
        assert explicit.type == AS_EXPLICIT
        assert np.array_equal(pixels(explicit.body), arrays)
        assert_same_attributes(content, explicit.body)
    assert_same_attributes(content, stored.body)


def checksums(frame):
    return frame["PixelDataChecksumFromBaseToFullResolution"]


def assert_same_attributes(before, after):
    """All attributes are equal, but those that describe how the pixels are encoded, and lengths of groups."""
    encoding = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration"}

    def attributes(content):
        return {
            element.tag: element.value
            for element in parsed(content)
            if element.tag.element and element.keyword not in encoding
        }

    assert attributes(after) == attributes(before)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("rtdose_expb.dcm", "rtdose.dcm"),
        ("liver_expb_1frame.dcm", "liver_1frame.dcm"),
    ],
)
def test_the_same_pixels_in_another_encoding_are_stored_alike(imports, client, name, same):
    def stored(file):
        image_set_id = import_one(imports, sample(file))
        _, instance = only_instance(read_metadata(client, image_set_id))
        return [
            (frame["FrameSizeInBytes"], frame["MinPixelValue"], checksums(frame)) for frame in instance["ImageFrames"]
        ], [read_frame(client, image_set_id, frame["ID"]) for frame in instance["ImageFrames"]]

    assert stored(name) == stored(same)


def test_pixels_with_fewer_bits_than_the_file_says_keep_their_sign(imports, client):
    image_set_id = import_one(imports, sample("J2K_pixelrep_mismatch.dcm"))
    _, instance = only_instance(read_metadata(client, image_set_id))
    (frame,) = instance["ImageFrames"]
    # 13 bits, of which the highest is the sign, although the code stream says that there is none.
    assert (frame["MinPixelValue"], frame["MaxPixelValue"]) == (-2000, 1896)
    data = decoded(read_frame(client, image_set_id, frame["ID"]))
    assert data[47:57, 279].tolist() == [621, 412, 138, -193, -520, -767, -907, -966, -988, -995]


RESOLUTIONS = {
    (300, 520): [(65, 38), (130, 75), (260, 150), (520, 300)],
    (64, 4096): [(128, 2), (256, 4), (512, 8), (1024, 16), (2048, 32), (4096, 64)],
}


@pytest.mark.parametrize("shape", RESOLUTIONS)
def test_checksums_are_those_of_all_resolutions_from_base_to_full(imports, client, shape):
    array = np.random.default_rng(7).integers(0, 4096, (1, *shape), dtype=np.uint16)
    image_set_id = import_one(imports, image(array))
    _, instance = only_instance(read_metadata(client, image_set_id))
    (frame,) = instance["ImageFrames"]
    data = read_frame(client, image_set_id, frame["ID"])
    sizes = [(each["Width"], each["Height"]) for each in checksums(frame)]
    assert sizes == RESOLUTIONS[shape]
    for skipped, each in enumerate(reversed(checksums(frame))):
        assert each["Checksum"] == zlib.crc32(imagecodecs.htj2k_decode(data, skipres=skipped).tobytes())


def test_frames_are_encoded_with_the_resolutions_first(imports, client):
    image_set_id = import_one(imports, image(np.zeros((1, 64, 64), np.uint16)))
    _, instance = only_instance(read_metadata(client, image_set_id))
    data = read_frame(client, image_set_id, instance["ImageFrames"][0]["ID"])
    style = data.index(b"\xff\x52")  # the marker COD, with the progression order: 2 is RPCL
    assert data[style + 5] == 2


@pytest.mark.parametrize("lossless_format", ["HTJ2K", "JPEG_2000_LOSSLESS"])
def test_a_file_that_comes_back_in_the_format_of_the_data_store_has_the_same_frames(
    local, imports, client, dicomweb, lossless_format
):
    stores = [
        client.create_datastore(datastoreName=name, losslessStorageFormat=lossless_format)["datastoreId"]
        for name in ("first", "second")
    ]
    content = image(np.random.default_rng(3).integers(-500, 4096, (2, 330, 70), dtype=np.int16))
    described = []
    for store in stores:
        image_set_id = import_one(imports, content, datastoreId=store)
        uids, instance = only_instance(read_metadata(client, image_set_id, store))
        content = dicomweb(uids, image_set_id, datastore_id=store).body
        described.append([{**frame, "ID": None, "FrameSizeInBytes": None} for frame in instance["ImageFrames"]])
    assert described[0] == described[1]
    assert described[0][0]["MinPixelValue"] == -500


def test_checksums_are_those_of_the_resolutions_that_a_frame_has(imports, client):
    array = np.random.default_rng(7).integers(0, 4096, (1, 300, 520), dtype=np.uint16)
    encoded = bytes(imagecodecs.htj2k_encode(array[0], resolutions=1, tlm=True))
    content = image(array, syntax=HTJ2K, PixelData=encapsulate([encoded]))
    _, instance = only_instance(read_metadata(client, import_one(imports, content)))
    (frame,) = instance["ImageFrames"]
    assert [(each["Width"], each["Height"]) for each in checksums(frame)] == [(260, 150), (520, 300)]


def test_the_frames_behind_headers_of_megabytes_are_there(imports, client):
    undefined = 0xFFFFFFFF
    groups = struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, undefined) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, undefined
    )
    groups += struct.pack("<HH2sHI", 0x0042, 0x0011, b"OB", 0, 6 * 2**20) + bytes(6 * 2**20)
    groups += struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    pixel_data = struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW")
    content = image(np.arange(2400, dtype=np.uint16).reshape(4, 20, 30))
    content = content.replace(pixel_data, groups + pixel_data)
    _, output = imports.run({"scans/one": content})
    assert output["WARNING/warning.ndjson"] == []
    (image_set,) = output["job-output-manifest.json"]["imageSetsSummary"]
    _, instance = only_instance(read_metadata(client, image_set["imageSetId"]))
    assert len(instance["ImageFrames"]) == 4


def test_a_data_store_can_keep_images_in_jpeg_2000(local, imports, client, dicomweb):
    store = client.create_datastore(datastoreName="j2k", losslessStorageFormat="JPEG_2000_LOSSLESS")["datastoreId"]
    properties = client.get_datastore(datastoreId=store)["datastoreProperties"]
    assert properties["losslessStorageFormat"] == "JPEG_2000_LOSSLESS"
    array = np.random.default_rng(3).integers(-500, 4096, (2, 33, 70), dtype=np.int16)
    content = image(array)
    image_set_id = import_one(imports, content, datastoreId=store)
    uids, instance = only_instance(read_metadata(client, image_set_id, store))
    assert instance["StoredTransferSyntaxUID"] == J2K
    frames = [read_frame(client, image_set_id, frame["ID"], store) for frame in instance["ImageFrames"]]
    assert np.array_equal([imagecodecs.jpeg2k_decode(frame) for frame in frames], array)
    assert np.array_equal(pixels(dicomweb(uids, image_set_id, AS_EXPLICIT, store).body), array)
    content = sample("MR_small_jp2klossless.dcm")
    image_set_id = import_one(imports, content, datastoreId=store)
    uids, _ = only_instance(read_metadata(client, image_set_id, store))
    assert dicomweb(uids, image_set_id, datastore_id=store).body == content


def test_an_unknown_lossless_format_is_an_error(client, local):
    with pytest.raises(ClientError, match="losslessStorageFormat"):
        client.create_datastore(datastoreName="a", losslessStorageFormat="PNG")
    with pytest.raises(ValidationError, match="losslessStorageFormat"):
        local.create_datastore("a", lossless_storage_format="PNG")


SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless)


@st.composite
def images(draw):
    """The content of a file, and its frames."""
    kind = np.dtype(draw(st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4"])))
    samples = draw(st.sampled_from([1, 1, 3]))
    least_columns = 2 if samples == 3 else 1
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 70)), draw(st.integers(least_columns, 70)))
    stored = draw(st.sampled_from([kind.itemsize * 8, draw(st.integers(1, kind.itemsize * 8))]))
    least, most = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if kind.kind == "i" else (0, 2**stored - 1)
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    size = (*shape, 3) if samples == 3 else shape
    array = generator.integers(least, most, size, dtype=kind, endpoint=True)
    attributes = {"BitsStored": stored, "HighBit": stored - 1}
    # What pydicom encodes as RLE: no sign, at most 16 bits, and all of them are used.
    usable = SYNTAXES if kind.kind == "u" and stored == kind.itemsize * 8 <= 16 else SYNTAXES[:3]
    syntax = draw(st.sampled_from(usable))
    if samples == 3 and syntax != RLELossless and draw(st.booleans()):
        planes = np.ascontiguousarray(np.moveaxis(array, 3, 1))
        attributes |= {"PlanarConfiguration": 1, "PixelData": planes.tobytes() + b"\0" * (planes.nbytes % 2)}
    dataset = parsed(image(array, **attributes))
    return encoded(dataset, syntax), array


def encoded(dataset, syntax):
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dataset.save_as(file, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True, enforce_file_format=True)
    return file.getvalue()


@given(images())
@settings(max_examples=40)
def test_all_sizes_signs_depths_and_colours_are_stored_without_loss(file):
    content, array = file
    instance = read_dicom_file(content).instance
    stored = stored_pixels(instance, HTJ2K)
    assert stored.syntax == HTJ2K
    frames = [frame_bytes(instance, stored, index) for index in range(len(stored.frames))]
    assert np.array_equal([decoded(frame) for frame in frames], array)
    explicit = parsed(part10_file(instance, stored, EXPLICIT))
    assert np.array_equal(np.reshape(pixels_of(explicit), array.shape), array)


def pixels_of(dataset):
    return pydicom.pixels.pixel_array(dataset, raw=True)


def test_bits_that_no_pixel_uses_are_not_stored(imports, client):
    array = np.array([[[0xF123, 0x0FFF], [0x8000, 0x0800]]], np.uint16)
    image_set_id = import_one(imports, image(array, BitsStored=12, HighBit=11))
    _, instance = only_instance(read_metadata(client, image_set_id))
    frame = read_frame(client, image_set_id, instance["ImageFrames"][0]["ID"])
    assert decoded(frame).tolist() == (array[0] & 0x0FFF).tolist()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_bits_of_a_segmentation_are_stored_uncompressed_frame_by_frame(imports, client, dicomweb, syntax):
    bits = np.random.default_rng(1).integers(0, 2, (3, 5, 7), dtype=np.uint8)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    packed += b"\0" * (len(packed) % 2)
    if syntax == ExplicitVRBigEndian:
        packed = np.frombuffer(packed, np.uint16).byteswap().tobytes()
    described = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0, "PixelData": packed}
    content = image(bits, **described)
    if syntax == ExplicitVRBigEndian:
        from moto.medicalimaging.part10 import _decoded_copy

        dataset = _decoded_copy(parsed(content), swap_words=False)
        dataset = pydicom.dataset.FileDataset(
            "", dict(dataset), preamble=b"\0" * 128, file_meta=dataset.file_meta, is_little_endian=False
        )
        dataset["PixelData"].VR = "OW"
        dataset.file_meta.TransferSyntaxUID = syntax
        file = io.BytesIO()
        dataset.save_as(file, implicit_vr=False, little_endian=False, enforce_file_format=True)
        content = file.getvalue()
    elif syntax == ImplicitVRLittleEndian:
        content = encoded(parsed(content), syntax)
    image_set_id = import_one(imports, content)
    uids, instance = only_instance(read_metadata(client, image_set_id))
    assert instance["StoredTransferSyntaxUID"] == EXPLICIT
    frames = [read_frame(client, image_set_id, frame["ID"]) for frame in instance["ImageFrames"]]
    unpacked = [np.unpackbits(np.frombuffer(frame, np.uint8), count=35, bitorder="little") for frame in frames]
    assert np.array_equal(np.reshape(unpacked, bits.shape), bits)
    packed = np.frombuffer(parsed(dicomweb(uids, image_set_id).body).PixelData, np.uint8)
    assert np.array_equal(np.unpackbits(packed, count=bits.size, bitorder="little"), bits.reshape(-1))


def test_words_of_a_big_endian_file_are_swapped_by_their_size_wherever_they_are(imports, client, dicomweb):
    words = {
        "RedPaletteColorLookupTableData": ("OW", np.array([1, 0x1234, 0xFF00], "u2")),
        "PointCoordinatesData": ("OF", np.array([1.5, -2.25e10], "f4")),
        "TrackPointIndexList": ("OL", np.array([1, 0x12345678], "u4")),
        "SelectorODValue": ("OD", np.array([1 / 3, -4e300], "f8")),
        "SelectorOVValue": ("OV", np.array([1, 0x123456789ABCDEF0], "u8")),
        "EncapsulatedDocument": ("OB", np.array([1, 2, 3, 4], "u1")),
    }
    small, dataset, nested = parsed(dicom_file()), pydicom.Dataset(), pydicom.Dataset()
    for element in small:
        dataset.add(element)
    dataset.file_meta = small.file_meta
    for keyword, (vr, values) in words.items():
        for each in (dataset, nested):
            each.add_new(keyword, vr, values.astype(values.dtype.newbyteorder(">")).tobytes())
    dataset.ReferencedImageSequence = [nested]
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    file = io.BytesIO()
    dataset.save_as(file, implicit_vr=False, little_endian=False, enforce_file_format=True)

    image_set_id = import_one(imports, file.getvalue())

    uids, _ = only_instance(read_metadata(client, image_set_id))
    returned = parsed(dicomweb(uids, image_set_id, AS_EXPLICIT).body)
    assert returned.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    for each in (returned, returned.ReferencedImageSequence[0]):
        for keyword, (vr, values) in words.items():
            assert vr == each[keyword].VR
            read = np.frombuffer(each[keyword].value, values.dtype.newbyteorder("<"))
            assert np.array_equal(read, values), keyword
