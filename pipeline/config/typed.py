"""Build dataclasses from mappings and lists; unknown keys and wrong types raise a one-line ValueError."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union


@dataclasses.dataclass(frozen=True)
class Choice:
    """The name of one of several kinds, with the options of that kind."""

    name: str
    options: Any


def choice(kinds: Mapping[str, type], *, default: Any = dataclasses.MISSING) -> Any:
    """A field written as `name: {options}`, or as the bare name if no option is required."""
    return dataclasses.field(default=default, metadata={"kinds": kinds})


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """A bound of a number: `Annotated[int, AtLeast(1)]`."""

    least: int


Natural = Annotated[int, AtLeast(0)]
Positive = Annotated[int, AtLeast(1)]


def nearest(name: Any, allowed: typing.Iterable[Any]) -> str:
    """`did you mean …` if a name is close, then the allowed names."""
    names = sorted(map(str, allowed))
    close = difflib.get_close_matches(str(name), names, n=1)
    shown = ", ".join(names[:40]) + (", …" if len(names) > 40 else "")
    return (f"did you mean {close[0]!r}? " if close else "") + f"allowed: {shown or 'nothing'}"


def build(kind: Any, value: Any, where: str, *, kinds: Mapping[str, type] | None = None) -> Any:
    """Convert `value` to `kind`, or raise a ValueError with the place and the expected type."""
    if kinds is not None:
        return _choice(kinds, value, where, optional=type(None) in typing.get_args(kind))
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        rest = [argument for argument in arguments if argument is not type(None)]
        for argument in rest[:-1]:
            try:
                return build(argument, value, where)
            except ValueError:
                continue
        return build(rest[-1], value, where)
    if origin is Annotated:
        built, bound = build(arguments[0], value, where), arguments[1]
        if built < bound.least:
            raise ValueError(f"{where} is {built}; expected at least {bound.least}")
        return built
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise ValueError(f"{where} is {value!r}; {nearest(value, arguments)}")
        return value
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is {value!r}; expected a mapping")
        return {
            build(arguments[0], key, f"a key of {where}"): build(arguments[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    return _plain(kind, value, where)


def _plain(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        hint = ""
        if kind in (int, float) and isinstance(value, str):
            hint = " (YAML reads 1e-4 as text: write 1.0e-4)"
        raise ValueError(f"{where} is {value!r}; expected {kind.__name__}{hint}")
    if kind is float and value != value:
        raise ValueError(f"{where} is not a number")
    return value


def _tuple(arguments: tuple, value: Any, where: str) -> tuple:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} is {value!r}; expected a list")
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise ValueError(f"{where} has {len(value)} values; expected {len(arguments)}")
    return tuple(
        build(kind, item, f"{where}[{i}]")
        for i, (kind, item) in enumerate(zip(arguments, value, strict=True))
    )


def _choice(kinds: Mapping[str, type], value: Any, where: str, *, optional: bool) -> Choice | None:
    if value is None and optional:
        return None
    name: Any = value
    options: Any = None
    if isinstance(value, dict):
        if len(value) != 1:
            raise ValueError(f"{where} has {len(value)} keys; expected one of {', '.join(kinds)}")
        name, options = next(iter(value.items()))
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"{where} is {name!r}; {nearest(name, kinds)}")
    return Choice(name, build(kinds[name], {} if options is None else options, f"{where}.{name}"))


@cache
def fields_of(kind: Any) -> dict[str, tuple[dataclasses.Field, Any]]:
    """Map a dataclass's fields to (field, type)."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: (field, hints[field.name]) for field in dataclasses.fields(kind)}


def _record(kind: Any, value: Any, where: str) -> Any:
    built = parts(kind, value, where)
    for name, (field, _) in fields_of(kind).items():
        if name not in built and _default(field) is dataclasses.MISSING:
            raise ValueError(f"{where or 'the document'} lacks {name!r}")
    try:
        return kind(**built)
    except ValueError as error:  # from __post_init__
        raise ValueError(f"{where}: {error}") from None


def parts(kind: Any, value: Any, where: str) -> dict[str, Any]:
    """Build those fields of a dataclass that `value` has; any may be missing."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}; expected a mapping")
    fields = fields_of(kind)
    for name in value:
        if name not in fields:
            raise ValueError(f"{where} has the unknown key {name!r}; {nearest(name, fields)}")
    built = {}
    for name, (field, hint) in fields.items():
        inner = f"{where}.{name}" if where else name
        if name in value and (whole := field.metadata.get("parts_of")):
            entries = build(dict[str, dict], value[name], inner)
            built[name] = {
                entry_name: parts(whole, entry, f"{inner}.{entry_name}")
                for entry_name, entry in entries.items()
            }
        elif name in value:
            built[name] = build(hint, value[name], inner, kinds=field.metadata.get("kinds"))
    return built


def plain(value: Any) -> Any:
    """A dataclass as JSON values without defaults, so that a new optional key changes no hash."""
    if isinstance(value, Choice):
        return {value.name: plain(value.options)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != _default(field)
        }
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
