"""Whatever the metadata say, keys and manifests hold ids, numbers and transfer syntaxes, and nothing of a patient."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.export.contents import read_instances
from airflow_provider_healthimaging.export.manifest import build_manifest, dump_manifest
from airflow_provider_healthimaging.export.plan import folder_of, plan_objects
from airflow_provider_healthimaging.export.request import CONTENTS, ExportRequest

IMAGE_SET_ID = "e" * 32
KEY = re.compile(r"[0-9a-z]{32}/v[0-9]+/(dicom/[0-9]{5,}\.dcm|frames/[0-9a-z]{32}\.[0-9a-z]{3,6})")
REQUEST = ExportRequest.parse(s3_uri="s3://bucket/", content=CONTENTS)

CANARIES = st.text(st.sampled_from("QXZ^/.0123456789"), min_size=12, max_size=40)
UIDS = st.lists(st.integers(0, 10**12), min_size=4, max_size=6).map(lambda parts: "2.25." + ".".join(map(str, parts)))
ANYTHING = st.none() | st.integers() | st.floats() | CANARIES | st.lists(CANARIES | st.integers(), max_size=2)
FRAME_IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
# What looks like a UID is a transfer syntax here, and is in the manifest.
SYNTAXES = st.sampled_from(
    [None, "", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.202"]
) | CANARIES.filter(lambda text: set(text) - set(".0123456789"))
NAMES = ("InstanceNumber", "SeriesNumber", "PatientName", "Rows", "BitsAllocated", "WindowCenter")
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(NAMES, ANYTHING),
)
FRAMES = st.lists(
    st.fixed_dictionaries(
        {"ID": FRAME_IDS | CANARIES},
        optional={"FrameSizeInBytes": ANYTHING, "PixelDataChecksumFromBaseToFullResolution": ANYTHING},
    ),
    max_size=2,
)
INSTANCES = st.fixed_dictionaries(
    {"DICOM": ATTRIBUTES, "StoredTransferSyntaxUID": SYNTAXES}, optional={"ImageFrames": FRAMES}
)
SERIES = st.dictionaries(
    UIDS, st.fixed_dictionaries({"DICOM": ATTRIBUTES, "Instances": st.dictionaries(UIDS, INSTANCES)})
)


def texts(value):
    """Yield all texts of a document that are no ids of frames and no transfer syntaxes."""
    if isinstance(value, dict):
        for name, content in value.items():
            if name not in {"ID", "StoredTransferSyntaxUID", "DICOM", "Instances", "ImageFrames"}:
                yield name
            yield from texts(content)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


@given(UIDS, SERIES)
def test_no_key_and_no_manifest_has_a_uid_or_a_value_whatever_the_document(study, series):
    document = {"ImageSetID": IMAGE_SET_ID, "Study": {"DICOM": {"StudyInstanceUID": study}, "Series": series}}
    private = [text for text in texts(document["Study"]) if len(text) >= 12]
    try:
        instances = read_instances(document)
    except HealthImagingError as error:
        assert not any(text in str(error) for text in private)  # noqa: PT017
        return
    planned = [*plan_objects(instances, CONTENTS)]
    for each in planned:
        assert KEY.fullmatch(folder_of(IMAGE_SET_ID, 1) + each.name)
    manifest = build_manifest(
        REQUEST,
        CONTENTS,
        datastore_id="d" * 32,
        image_set_id=IMAGE_SET_ID,
        version=1,
        instances=len(instances),
        metadata=None,
        objects=[
            (each, {"bytes": 1, "crc32": "0" * 8, "transfer_syntax": each.instance.transfer_syntax}) for each in planned
        ],
    )
    given_instances = [instance for each in series.values() for instance in each["Instances"].values()]
    kept = {frame["ID"] for instance in given_instances for frame in instance.get("ImageFrames", ())}
    kept |= {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.202"}
    shown = dump_manifest(manifest).decode() + repr(instances) + "".join(each.described for each in planned)
    assert json.loads(dump_manifest(manifest)) == manifest
    # A UID may be a part of a frame's id: zeros and nothing else are the first case that is tried.
    others = re.sub("|".join(map(re.escape, sorted(kept, key=len, reverse=True))), "", shown)
    for text in private:
        assert text not in others
