"""YAML files as mappings and lists: no repeated keys, no objects, no alias bombs."""

from pathlib import Path
from typing import Any

import yaml


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # C: ten times as fast
    """Refuses repeated keys, merges, and tags that build objects."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            raise ValueError(f"line {key.start_mark.line + 1}: '<<' is not supported; write 'like: NAME'")
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise ValueError(f"line {key.start_mark.line + 1}: {key.value!r} is written twice")
            seen.add(key.value)
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True)
        for key, value in node.value
    }


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
LARGEST = 1_000_000  # values of a document with its aliases expanded
DEEPEST = 10_000  # brackets or indentation: half of what libyaml's stack holds


def read_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if max(text.count("[") + text.count("{"), 0, *map(len, text.splitlines())) > DEEPEST:
            raise ValueError(f"it has more than {DEEPEST} brackets, or as many characters in a line")
        loader = _Loader(text)
        node = loader.get_single_node()
        if _values(node, {}) > LARGEST:
            raise ValueError(f"it has more than {LARGEST} values, aliases expanded")
        return None if node is None else loader.construct_document(node)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (
        yaml.YAMLError,
        UnicodeDecodeError,
        RecursionError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValueError as error:
        raise ValueError(f"{path}, {' '.join(str(error).split())}") from None


def lines(path: Path) -> dict[tuple[str, ...], int]:
    """Map each key's path to its line number."""
    numbers: dict[tuple[str, ...], int] = {}

    def walk(node: Any, above: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                numbers[(*above, key.value)] = key.start_mark.line + 1
                walk(value, (*above, key.value))

    walk(_Loader(path.read_text(encoding="utf-8")).get_single_node(), ())
    return numbers


def _values(node: Any, seen: dict[int, int]) -> int:
    """Count a node's values with aliases expanded: a few bytes may expand to any number."""
    if id(node) not in seen:
        seen[id(node)] = LARGEST  # until counted: a node that contains itself is too large
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in children for child in pair]
        seen[id(node)] = 1 + sum(_values(child, seen) for child in children)
    return seen[id(node)]
