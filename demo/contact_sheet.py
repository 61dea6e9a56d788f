"""The pictures that the example DAG drew, on one page, each with the id of its image set and its modality."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

STYLE = """
body { background: black; color: white; font: 10px sans-serif; display: grid; grid-template-columns: repeat(7, 164px) }
figure { margin: 2px } img { width: 160px; height: 160px; object-fit: contain }
"""


def write_sheet(bucket: Any, folder: Path) -> Path:
    """Download what lies under ``pictures/``, and write a page that shows it; return the page.

    :param bucket: a boto3 resource.
    :param folder: is made.
    """
    folder.mkdir(parents=True)
    figures = []
    for stored in bucket.objects.filter(Prefix="pictures/"):
        path = folder / Path(stored.key).name
        path.write_bytes(stored.get()["Body"].read())
        image_set_id, _, modality = path.stem.partition("-")
        name = escape(path.name)
        figures.append(f"<figure><img src='{name}'><figcaption>{image_set_id[:20]}<br>{escape(modality)}</figcaption>")
    page = folder / "contact-sheet.html"
    page.write_text(f"<!doctype html><title>First frames</title><style>{STYLE}</style>\n" + "\n".join(figures))
    return page
