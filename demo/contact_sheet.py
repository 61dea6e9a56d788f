"""The pictures that the example DAG drew, on one page, each with the id of its image set and its modality."""

from __future__ import annotations

from html import escape
from pathlib import Path

STYLE = """
body { background: black; color: white; font: 10px sans-serif; display: grid; grid-template-columns: repeat(7, 164px) }
figure { margin: 2px } img { width: 160px; height: 160px; object-fit: contain }
"""


def write_sheet(folder: Path) -> Path:
    """Write a page into a folder that shows the pictures there; return the page."""
    figures = []
    for path in sorted(folder.glob("*.png")):
        image_set_id, _, modality = path.stem.partition("-")
        name = escape(path.name)
        figures.append(f"<figure><img src='{name}'><figcaption>{image_set_id[:20]}<br>{escape(modality)}</figcaption>")
    page = folder / "contact-sheet.html"
    page.write_text(f"<!doctype html><title>First frames</title><style>{STYLE}</style>\n" + "\n".join(figures))
    return page
