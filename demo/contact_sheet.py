"""The pictures that the example DAG drew, side by side as one, each with the id of its image set and its modality."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

COLUMNS = 7
TILE = 168
"""Pixels along a side of a picture."""
CAPTION = 30
"""Pixels for the two lines below it."""


def draw_sheet(bucket: Any, folder: Path) -> Path:
    """Download what lies under ``pictures/``, and put ``contact-sheet.png`` beside it.

    :param bucket: a boto3 resource.
    :return: the folder, which is made.
    """
    from PIL import Image, ImageDraw, ImageOps

    folder.mkdir(parents=True)
    stored = list(bucket.objects.filter(Prefix="pictures/"))
    rows = -(-len(stored) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), "black")
    pen = ImageDraw.Draw(sheet)
    for number, each in enumerate(stored):
        content = each.get()["Body"].read()
        path = folder / Path(each.key).name
        path.write_bytes(content)
        image_set_id, _, modality = path.stem.partition("-")
        left, top = number % COLUMNS * TILE, number // COLUMNS * (TILE + CAPTION)
        picture = ImageOps.contain(Image.open(BytesIO(content)).convert("RGB"), (TILE - 4, TILE - 4))
        sheet.paste(picture, (left + (TILE - picture.width) // 2, top + (TILE - picture.height) // 2))
        pen.text((left + 4, top + TILE), f"{image_set_id[:20]}\n{modality}", fill="white", font_size=10)
    sheet.save(folder / "contact-sheet.png", optimize=True)
    return folder
