"""The warnings of an import job about a file that was imported nevertheless.

Source of codes and names: "HealthImaging warning codes" in the AWS HealthImaging Developer Guide. The spelling of
``type`` and the members are those of the example of ``warning.ndjson`` in "Understanding import jobs".
"""

from enum import Enum


class FileWarning(Enum):
    """A warning: its reason code, and its text."""

    ElementsDiscarded = (45062, "The file was imported but some data elements could not be read.")
    FramesExtractionFailure = (45328, "The file was imported but its image frames could not be extracted.")
    FrameNumberMismatch = (45329, "The file was imported but NumberOfFrames does not match its pixel data.")
    InvalidOffsetTable = (
        45330,
        "The file was imported but contains an invalid offset table, may see issues when retrieving certain frames.",
    )
    UnsupportedTransferSyntax = (45344, "The file was imported but its transfer syntax is not supported.")
    InvalidUidFormat = (45570, "The file was imported but one or more UIDs are not valid.")
    InvalidDicomValueLength = (45571, "The file was imported but one or more values are too long.")

    def as_json(self) -> dict[str, int | str]:
        """Return the warning as it is in ``warning.ndjson``."""
        code, message = self.value
        return {"warning_reason_code": code, "type": self.name, "message": message}
