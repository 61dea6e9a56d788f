"""Draws which room of the package imports which: ``make layout`` prints it, and writes ``build/layout.svg``.

A room is a folder or a module right below the package. A room stands one floor above the highest room that it imports.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "airflow_provider_healthimaging"
REPOSITORY = Path(__file__).parents[2]
WIDTH, HEIGHT, GAP = 150, 34, 60

Arrows = Mapping[str, Mapping[str, int]]
"""For each room the rooms that it imports, and in how many lines."""


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the modules of the package, each with its room."""
    for path in sorted((REPOSITORY / PACKAGE).rglob("*.py")):
        room = path.relative_to(REPOSITORY / PACKAGE).parts[0].removesuffix(".py")
        if room != "__init__":
            yield room, path


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, also inside of functions and for types only."""
    package = ".".join(path.relative_to(REPOSITORY).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            yield ".".join(filter(None, (base, node.module)))


def arrows() -> Arrows:
    """Return which room imports which."""
    found: dict[str, dict[str, int]] = {room: {} for room, _ in modules()}
    for room, path in modules():
        for name in imported_modules(path):
            package, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if package == PACKAGE and other in found and other != room:
                found[room][other] = found[room].get(other, 0) + 1
    return found


def floors(imports: Arrows) -> dict[str, int]:
    """Return the floor of each room, the lowest is 1.

    :raises ValueError: if rooms import each other in a circle.
    """
    known: dict[str, int] = {}

    def floor(room: str, path: tuple[str, ...]) -> int:
        if room in path:
            raise ValueError(f"rooms import each other: {' -> '.join((*path, room))}")
        if room not in known:
            known[room] = 1 + max((floor(other, (*path, room)) for other in imports[room]), default=0)
        return known[room]

    for room in imports:
        floor(room, ())
    return known


def drawing(imports: Arrows, levels: Mapping[str, int]) -> str:
    """Return the rooms and their imports as SVG."""
    rows = [[room for room in levels if levels[room] == level] for level in range(max(levels.values()), 0, -1)]
    place = {
        room: (20 + i * (WIDTH + 30), 20 + j * (HEIGHT + GAP))
        for j, row in enumerate(rows)
        for i, room in enumerate(row)
    }
    width = max(x for x, _ in place.values()) + WIDTH + 20
    height = max(y for _, y in place.values()) + HEIGHT + 20
    lines = [
        f'<line x1="{place[a][0] + WIDTH / 2}" y1="{place[a][1] + HEIGHT}" x2="{place[b][0] + WIDTH / 2}" '
        f'y2="{place[b][1]}" stroke="#7a8" stroke-width="1"/>'
        for a in imports
        for b in imports[a]
    ]
    boxes = [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4" fill="#e8f3f1" stroke="#087f73"/>'
        f'<text x="{x + WIDTH / 2}" y="{y + HEIGHT / 2 + 5}" text-anchor="middle">{room}</text>'
        for room, (x, y) in place.items()
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
    return "\n".join([head, *lines, *boxes, "</svg>\n"])


def main() -> None:
    """Print rooms, floors and arrows, and write the drawing."""
    imports = arrows()
    levels = floors(imports)
    count = sum(map(len, imports.values()))
    print(f"{len(levels)} rooms on {max(levels.values())} floors, {count} arrows, no circle")
    for room in sorted(levels, key=lambda each: (-levels[each], each)):
        print(f"floor {levels[room]}  {room:18} imports {', '.join(sorted(imports[room])) or 'nothing of the package'}")
    target = REPOSITORY / "build" / "layout.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(drawing(imports, levels))
    print(f"drawn in {target.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    sys.exit(main())
