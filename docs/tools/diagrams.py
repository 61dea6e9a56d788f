"""Draws the diagrams of the documentation: ``python docs/tools/diagrams.py`` writes them to docs/images.

Each has a white background of its own, so that it can be read on a dark page, and where README.md is shown.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "images"
INK, SOFT, TEAL, PALE, AMBER, RED = "#1f2933", "#7b8794", "#00796b", "#d5e8e4", "#fde9c4", "#b23c17"


def text(x: float, y: float, words: str, *, size: int = 14, fill: str = INK, anchor: str = "middle") -> str:
    """Return a line of text. Text that begins with a backtick is set in a fixed-width font."""
    code = words.startswith("`")
    font = ' font-family="ui-monospace, Menlo, Consolas, monospace"' if code else ""
    shown = escape(words.strip("`"), quote=False)
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{font}>{shown}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, *, dashed: bool = False, line: str = TEAL) -> str:
    """Return a rectangle."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{fill}" '
        f'stroke="{line}" stroke-width="1.5"{dash}/>'
    )


def line(*points: tuple[float, float], colour: str = SOFT, arrow: bool = False) -> str:
    """Return a line through points.

    :param arrow: draw an arrowhead at its end.
    """
    path = " ".join(f"{x},{y}" for x, y in points)
    end = ' marker-end="url(#head)"' if arrow else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{end}/>'


def drawing(width: int, height: int, title: str, *shapes: str) -> str:
    """Return an SVG file."""
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
                'font-family="system-ui, Helvetica, Arial, sans-serif">'
            ),
            f"<title>{escape(title, quote=False)}</title>",
            (
                '<defs><marker id="head" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
                f'<path d="M0,0 L9,4 L0,8 z" fill="{SOFT}"/></marker></defs>'
            ),
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def window() -> str:
    """Draw two runs of an hourly DAG: which image sets belong to which run, and when each run searches."""

    def at(minute: float) -> float:
        return 60 + minute * 4.0

    def run(y: float, name: str, start: float) -> list[str]:
        end = start + 60
        return [
            text(at(start) - 76, y - 12, name, anchor="start"),
            box(at(start) - 80, y, 80, 36, "#ffffff", dashed=True),
            text(at(start) - 40, y + 23, "`lookback`", size=12),
            box(at(start), y, 240, 36, PALE),
            text(at(start + 30), y + 23, f"window [{12 + start // 60:.0f}:00, {12 + end // 60:.0f}:00)"),
            box(at(end), y, 56, 36, AMBER, line="#c08a1e"),
            text(at(end) + 28, y + 23, "`delay`", size=12),
            line((at(end) + 56, y + 18), (at(end) + 84, y + 18), arrow=True),
            text(at(end) + 90, y + 23, "search", anchor="start"),
        ]

    arrivals = [(22, TEAL), (51, TEAL), (60, TEAL), (78, TEAL), (103, TEAL), (120, RED), (137, TEAL), (166, TEAL)]
    return drawing(
        960,
        300,
        "Window, lookback and delay of two runs of an hourly DAG",
        line((30, 60), (930, 60), arrow=True),
        *(line((at(hour * 60), 54), (at(hour * 60), 66), colour=INK) for hour in range(4)),
        *(text(at(hour * 60), 88, f"{12 + hour}:00", fill=SOFT) for hour in range(4)),
        text(30, 34, "image sets by time of arrival", fill=SOFT, anchor="start"),
        *(f'<circle cx="{at(minute)}" cy="60" r="5" fill="{colour}"/>' for minute, colour in arrivals),
        text(at(120), 34, "at exactly 14:00: belongs to the next run", fill=RED, size=13),
        *(line((at(hour * 60), 96), (at(hour * 60), 270), colour="#e4e7eb") for hour in range(4)),
        *run(130, "run of 14:00", 60),
        *run(220, "run of 15:00", 120),
        text(
            30,
            288,
            "Windows touch and do not overlap. Only lookback overlaps the previous window.",
            size=13,
            fill=SOFT,
            anchor="start",
        ),
    )


def data() -> str:
    """Draw how data flows from a DAG run through the modules of the package to XCom or S3."""
    width, height = 200, 62

    def step(x: float, y: float, what: str, module: str, fill: str = PALE) -> list[str]:
        return [
            box(x, y, width, height, fill),
            text(x + width / 2, y + 26, what),
            text(x + width / 2, y + 47, f"`{module}`", size=11, fill=SOFT),
        ]

    left, middle, right = 30, 300, 570
    return drawing(
        800,
        410,
        "How data flows from a DAG run to XCom or S3",
        *step(left, 40, "DAG run", "schedule, dates, asset events", "#ffffff"),
        *step(middle, 40, "TimeWindow [start, end)", "task/run_window.py"),
        *step(right, 40, "searchCriteria", "search/request.py"),
        *step(right, 170, "pages of 50", "hook, search/parallel.py"),
        *step(middle, 170, "image sets of the window", "search/pages.py"),
        *step(left, 170, "records", "output/records.py"),
        *step(left, 300, "XCom, for .expand()", "task/delivery.py", "#ffffff"),
        *step(middle, 300, "dataset and manifest in S3", "output/dataset.py", "#ffffff"),
        *step(right, 300, "AWS HealthImaging", "SearchImageSets", AMBER),
        line((left + width, 71), (middle - 2, 71), arrow=True),
        line((middle + width, 71), (right - 2, 71), arrow=True),
        line((right + width / 2, 102), (right + width / 2, 168), arrow=True),
        line((right, 201), (middle + width + 2, 201), arrow=True),
        line((middle, 201), (left + width + 2, 201), arrow=True),
        line((left + width / 2, 232), (left + width / 2, 298), arrow=True),
        line((left + width / 2, 265), (middle + width / 2, 265), (middle + width / 2, 298), arrow=True),
        line((right + width / 2 + 12, 232), (right + width / 2 + 12, 298), arrow=True),
        line((right + width / 2 - 12, 300), (right + width / 2 - 12, 234), arrow=True),
        text(left + width / 2 + 12, 256, "or, with `s3_uri`".replace("`", ""), size=12, fill=SOFT, anchor="start"),
    )


def events() -> str:
    """Draw the messages of an event: its acknowledgement, a kill of the triggerer, and the repeat."""
    service, watcher, store, database, runs = places = (80, 250, 420, 590, 760)
    names = ("HealthImaging", "watcher", "state store", "Airflow's database", "DAG runs")
    killed = "the triggerer is killed before the acknowledgement, and another one starts"
    messages = (
        (watcher, service, "search 12:00 to 12:05"),
        (service, watcher, "3 image sets"),
        (watcher, store, "start 12:00, and the event"),
        (watcher, database, "event of 12:00 to 12:05"),
        (database, runs, "run 1"),
        (database, watcher, "acknowledgement"),
        (watcher, store, "start 12:05"),
        (watcher, service, "search 12:05 to 12:10"),
        (service, watcher, "2 image sets"),
        (watcher, store, "start 12:05, and the event"),
        (watcher, database, "event of 12:05 to 12:10"),
        (database, runs, "run 2"),
        (store, watcher, "start 12:05, and the event"),
        (watcher, database, "the same event again, as it was"),
        (database, runs, "run 3 is skipped"),
        (database, watcher, "acknowledgement"),
        (watcher, store, "start 12:10"),
    )
    shapes, y, height = [], 90, 90 + 34 * (len(messages) + 1)
    for x, name in zip(places, names, strict=True):
        shapes += [line((x, 50), (x, height - 20), colour="#d5dbe1"), box(x - 70, 20, 140, 32, PALE), text(x, 41, name)]
    for number, (start, end, words) in enumerate(messages):
        if number == 12:  # noqa: PLR2004 - after run 2
            shapes += [box(130, y - 20, 580, 28, AMBER, line=RED), text(420, y - 1, killed, fill=RED)]
            y += 34
        shapes += [
            line((start, y), (end, y), arrow=True),
            text(min(start, end) + 10, y - 6, words, size=12, anchor="start"),
        ]
        y += 34
    return drawing(850, height, "An event, its acknowledgement, a kill of the triggerer, and the repeat", *shapes)


def pipeline() -> str:
    """Draw what the provider does, from DICOM files in S3 to a model."""
    width, height, top, low = 190, 58, 40, 190
    first, second, third = 30, 305, 580

    def step(x: float, y: float, what: str, detail: str, fill: str = PALE) -> list[str]:
        return [
            box(x, y, width, height, fill, line="#c08a1e" if fill == AMBER else TEAL),
            text(x + width / 2, y + 25, what),
            text(x + width / 2, y + 45, detail, size=12, fill=SOFT),
        ]

    def right(start: float, end: float, y: float, words: str) -> list[str]:
        middle = (start + width + end) / 2
        return [
            line((start + width, y), (end - 2, y), arrow=True),
            text(middle, y - 8, words, size=12, fill=TEAL),
        ]

    return drawing(
        800,
        290,
        "From DICOM files in S3 through AWS HealthImaging to a model",
        *step(first, top, "DICOM files", "in S3", "#ffffff"),
        *step(second, top, "AWS HealthImaging", "a data store", AMBER),
        *step(third, top, "new image sets", "records in XCom or S3"),
        *step(third, low, "copies in S3", "metadata, DICOM, frames", "#ffffff"),
        *step(second, low, "numpy arrays", "pixels, with their facts"),
        *step(first, low, "your task", "model, database, viewer", "#ffffff"),
        *right(first, second, top + height / 2, "import job"),
        *right(second, third, top + height / 2, "search"),
        line((third + width / 2, top + height), (third + width / 2, low - 2), arrow=True),
        text(third + width / 2 + 10, (top + height + low) / 2 + 4, "to S3", size=12, fill=TEAL, anchor="start"),
        line((third, low + height / 2), (second + width + 2, low + height / 2), arrow=True),
        text((third + second + width) / 2, low + height / 2 - 8, "read", size=12, fill=TEAL),
        line((second, low + height / 2), (first + width + 2, low + height / 2), arrow=True),
        text(
            30,
            275,
            "Import, search and copy are one task each. A retry of a task loses no image set, and repeats none.",
            size=13,
            fill=SOFT,
            anchor="start",
        ),
    )


DIAGRAMS = {"pipeline.svg": pipeline, "window.svg": window, "data.svg": data, "events.svg": events}


def main() -> None:
    """Write every diagram."""
    IMAGES.mkdir(exist_ok=True)
    for name, draw in DIAGRAMS.items():
        (IMAGES / name).write_text(draw())
        print(IMAGES / name)


if __name__ == "__main__":
    main()
