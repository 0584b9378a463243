"""`like`: a run inherits the keys that it does not write from templates, or from runs of its section.

A key is inherited whole, with all its nested values; if several names have it, the first one wins.
`objective.augment.top: 3` sets one value within an inherited key. YAML's merges (`<<`) would also do this,
but DVC's `exp run -S` writes them out in every run.
"""

from copy import deepcopy
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pipeline.config.runs import STAGES, put
from pipeline.config.typed import nearest

TEMPLATES = "templates"
LIKE = "like"

Place = tuple[str, str]  # section, name


def resolved(document: Any) -> Any:
    """Resolve `like`: runs get all their keys, templates keep those that they write."""
    if not isinstance(document, dict):
        return document
    whole: dict[str, dict[str, Any]] = {}
    for (section, name), keys in origins(document).items():
        values = {key: document[place[0]][place[1]][key] for key, place in keys.items()}
        if section == TEMPLATES:
            values = {key: values[key] for key in document[section][name] if key in values and not outer(key)}
        elif within := {key: values.pop(key) for key in sorted(values, key=str) if outer(key)}:
            values = deepcopy(values)
            for key, value in within.items():
                put(values, key, value, f"{section}.{name}")
        whole.setdefault(section, {})[name] = values
    return document | {section: document[section] | entries for section, entries in whole.items()}


def origins(document: dict[str, Any]) -> dict[Place, dict[str, Place]]:
    """Map templates and runs to their keys, and each key to the entry that writes it."""
    entries = {
        (section, name): entry
        for section in (TEMPLATES, *STAGES)
        if isinstance(document.get(section), dict)
        for name, entry in document[section].items()
        if isinstance(entry, dict)
    }
    likes = {place: _likes(entries, place) for place in entries}
    whole: dict[Place, dict[str, Place]] = {}
    try:
        for place in TopologicalSorter(likes).static_order():
            keys: dict[str, Place] = {}
            for other in reversed(likes[place]):
                keys = _over(keys, whole[other])
            whole[place] = _over(keys, {key: place for key in entries[place] if key != LIKE})
    except CycleError as error:
        circle = " -> ".join(f"{section}.{name}" for section, name in reversed(error.args[1]))
        raise ValueError(f"'like' goes in a circle: {circle}") from None
    return whole


def outer(key: Any) -> list[str]:
    """objective.augment.top -> [objective, objective.augment]"""
    words = key.split(".") if isinstance(key, str) else []
    return [".".join(words[:length]) for length in range(1, len(words))]


def _over(below: dict[str, Place], above: dict[str, Place]) -> dict[str, Place]:
    """Override: a key of `above` replaces that of `below` and the values set within it."""
    kept = {key: place for key, place in below.items() if not any(parent in above for parent in outer(key))}
    return kept | above


def _likes(entries: dict[Place, dict[str, Any]], place: Place) -> list[Place]:
    """Resolve the names under `like`: a template, or else a run of the same section."""
    (section, name), value = place, entries[place].get(LIKE, [])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(like, str) for like in names):
        raise ValueError(f"{section}.{name}.{LIKE} is {value!r}; expected a name or a list of names")
    taken = []
    for like in names:
        known = [candidate for candidate in ((TEMPLATES, like), (section, like)) if candidate in entries]
        if not known:
            allowed = {other for where, other in entries if where in (TEMPLATES, section)}
            raise ValueError(f"{section}.{name}.{LIKE} names {like!r}; {nearest(like, allowed)}")
        taken.append(known[0])
    return taken
