"""schema: write a JSON Schema of params.yaml from its dataclasses, for editors to complete and check by."""

import argparse
import ast
import dataclasses
import inspect
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pipeline.config.params import Params
from pipeline.config.runs import Run
from pipeline.config.typed import fields_of, plain
from pipeline.runner.cli import exit_code_of
from pipeline.system.files import write_json

FILE = Path("docs/params.schema.json")
PLAIN = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    types.NoneType: "null",
}
LIKE = {
    "description": "templates, or runs of this section, that give the keys not written here; the first wins",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}
WITHIN = {"description": "one value within a key that comes by `like`"}


def schema() -> dict[str, Any]:
    """The schema, in draft 7: the newest that YAML's language server supports fully."""
    definitions: dict[str, Any] = {}
    whole = _record(Params, definitions)
    return {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": definitions, **whole}


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of what `typed.build` accepts as `kind`; dataclasses go under `definitions`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        name = kind.__name__  # type: ignore[union-attr]
        if name not in definitions:
            definitions[name] = _record(kind, definitions)
        return {"$ref": f"#/definitions/{name}"}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(argument, definitions) for argument in arguments]}
    if origin is Annotated:
        return {**_of(arguments[0], definitions), "minimum": arguments[1].least}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is tuple:
        items = [_of(argument, definitions) for argument in arguments]
        return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    return {"type": PLAIN[kind]}


def _record(kind: Any, definitions: dict[str, Any], *, complete: bool = True) -> dict[str, Any]:
    said, properties, required = _comments(kind), {}, []
    for name, (field, hint) in fields_of(kind).items():
        of, default = _field(field, hint, definitions), field.default
        notes: dict[str, Any] = {"description": said[name]} if name in said else {}
        if default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(name)
        elif default is not dataclasses.MISSING and default is not None:
            notes["default"] = plain(default)
        properties[name] = {"allOf": [of], **notes} if "$ref" in of and notes else {**of, **notes}
    record = {"type": "object", "properties": properties, "additionalProperties": False}
    if "" in said:
        record["description"] = said[""]
    if kind is Run:
        properties["like"] = LIKE
        record["patternProperties"] = {r"^\w+(\.[\w-]+)+$": WITHIN}
    if not complete:
        return record
    if kind is Run:
        return {**record, "if": {"required": ["like"]}, "else": {"required": required}}
    return {**record, "required": required}


def _field(field: dataclasses.Field, hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kinds := field.metadata.get("kinds"):
        optional = [_of(types.NoneType, definitions)] * (types.NoneType in get_args(hint))
        return {"anyOf": [*_choice(kinds, definitions), *optional]}
    if whole := field.metadata.get("parts_of"):
        parts = _record(whole, definitions, complete=False)
        return {"type": "object", "additionalProperties": parts}
    return _of(hint, definitions)


def _choice(kinds: Mapping[str, type], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The schema of `name: {options}`; also of the bare name if no option is required."""
    options = {name: _of(kind, definitions) for name, kind in kinds.items()}
    bare = [name for name, kind in kinds.items() if not definitions[kind.__name__]["required"]]
    for name in bare:
        options[name] = {"anyOf": [options[name], {"type": "null"}]}
    named = {
        "type": "object",
        "properties": options,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return [named, *([{"enum": bare}] if bare else [])]


def _comments(kind: type) -> dict[str, str]:
    """Map fields to the comments that end their lines, and "" to the docstring."""
    comments: dict[str, str] = {}
    for base in filter(dataclasses.is_dataclass, reversed(kind.__mro__)):
        source = inspect.getsource(base)
        lines, (written,) = source.splitlines(), ast.parse(source).body
        assert isinstance(written, ast.ClassDef)
        for node in written.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.end_lineno:
                rest = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
                if "#" in rest:
                    comments[node.target.id] = rest.strip(" #")
        if docstring := ast.get_docstring(written):
            comments[""] = docstring
    return comments


def main() -> None:
    argparse.ArgumentParser(prog="python -m pipeline.schema", description=f"Write {FILE}.").parse_args()

    def act() -> None:
        write_json(FILE, schema())
        print(FILE)

    sys.exit(exit_code_of("schema", act))


if __name__ == "__main__":
    main()
