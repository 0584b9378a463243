"""docs/architecture.md names every room and what it imports, as the code has it."""

import re
from pathlib import Path

import grimp

DOCUMENT = Path(__file__).parents[1] / "docs" / "architecture.md"
ROW = re.compile(r"\| `(\w+)` \| (.+?) \| ?(.*) ?\|")


def rooms() -> dict[str, set[str]]:
    """Each room of pipeline/, and the rooms that its modules import."""
    graph = grimp.build_graph("pipeline", exclude_type_checking_imports=True, cache_dir=None)
    names = {folder.parent.name for folder in DOCUMENT.parents[1].glob("pipeline/*/__init__.py")} | {
        "corruptions"
    }
    imported: dict[str, set[str]] = {name: set() for name in names}
    for module in graph.modules - {"pipeline"}:
        room = module.split(".")[1]
        if room in names:
            others = graph.find_modules_directly_imported_by(module) - {"pipeline"}
            imported[room] |= {other.split(".")[1] for other in others} - {room}
    return imported


def test_the_document_names_each_room_and_what_it_imports():
    rows = ROW.findall(DOCUMENT.read_text())
    assert {name: set(re.findall(r"`(\w+)`", imports)) for name, _, imports in rows} == rooms()


def test_a_room_imports_only_rooms_below_it():
    order = [name for name, _, _ in ROW.findall(DOCUMENT.read_text())]
    above = {name: set(order[: place + 1]) for place, name in enumerate(order)}
    assert {name: imports & above[name] for name, imports in rooms().items() if imports & above[name]} == {}
