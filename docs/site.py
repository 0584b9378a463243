"""MkDocs hooks: tables of params.yaml from its schema, the notebook, and linked files outside docs/."""

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
BESIDE = "repository/"  # of the site: files from outside docs/
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")  # relative ones, without their anchor


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, content in notebook(Path(config.docs_dir) / "notebook.ipynb").items():
        files.append(File.generated(config, page, content=content))
    waiting = [*files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for found in LINK.finditer(page.content_string):
            uri = _on_site(page.src_uri, found[1])
            file = ROOT / _in_repository(uri)
            if uri.startswith(BESIDE) and file.is_file() and not files.get_file_from_path(uri):
                more = File.generated(
                    config, uri, abs_src_path=str(file), inclusion=InclusionLevel.NOT_IN_NAV
                )
                files.append(more)
                waiting += [more] * more.is_documentation_page()
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    uri = page.file.src_uri
    markdown = LINK.sub(lambda found: relpath(_on_site(uri, found[1]), PurePosixPath(uri).parent), markdown)
    if uri == "params.md":
        schema = json.loads((Path(config.docs_dir) / "params.schema.json").read_text())
        markdown = "\n".join([markdown, *reference(schema)])
    return markdown


def _in_repository(uri: str) -> str:
    return uri.removeprefix(BESIDE) if uri.startswith(BESIDE) else f"docs/{uri}"


def _on_site(page: str, link: str) -> str:
    """Where the site has what a page links to; a notebook as a page."""
    path = normpath(PurePosixPath(_in_repository(page)).parent / link)
    if path.startswith("docs/"):
        return path.removeprefix("docs/").replace(".ipynb", ".md")
    return BESIDE + path


def notebook(path: Path) -> dict[str, str | bytes]:
    """notebook.md and the pictures that it shows."""
    text, resources = MarkdownExporter().from_filename(path)
    return {f"{path.stem}.md": text, **resources["outputs"]}


def reference(schema: dict[str, Any]) -> Iterator[str]:
    """A heading and a table for params.yaml itself and for each record of its schema."""
    yield from _record("params.yaml", schema)
    for name, record in sorted(schema["definitions"].items()):
        yield from _record(name, record)


def _record(name: str, record: dict[str, Any]) -> Iterator[str]:
    yield f"\n## {name}\n"
    if said := record.get("description"):
        yield f"{said}\n"
    if not record["properties"]:
        yield "No values."
        return
    required = {*record.get("required", ()), *record.get("else", {}).get("required", ())}
    yield "| key | value | default |\n| --- | --- | --- |"
    for key, of in record["properties"].items():
        default = "" if key in required else f"`{json.dumps(of.get('default'))}`"
        yield f"| `{key}` | {'; '.join(filter(None, (_kind(of), of.get('description'))))} | {default} |"


def _kind(of: dict[str, Any]) -> str:
    """What a value may be, in words, with links to records."""
    if reference := of.get("$ref") or of.get("allOf", [{}])[0].get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in of:
        return " or ".join(filter(None, map(_kind, of["anyOf"])))
    if "enum" in of:
        return " or ".join(f"`{each}`" for each in of["enum"])
    if of["type"] == "array":
        items = of["items"]
        return f"list of {_kind(items)}" if isinstance(items, dict) else f"[{', '.join(map(_kind, items))}]"
    if of["type"] == "object":
        if of.get("maxProperties") == 1:
            return " or ".join(f"`{name}: `{_kind(kind)}" for name, kind in of["properties"].items())
        if "like" in of.get("properties", ()):
            return "parts of a [Run](#run)"
        values = of.get("additionalProperties")
        return f"names, each with {_kind(values)}" if isinstance(values, dict) else "names and values"
    least = f", at least {of['minimum']}" if "minimum" in of else ""
    return "" if of["type"] == "null" else f"{of['type']}{least}"
