"""Pages of the site that other files hold: README, changelog, commands, public functions.

MkDocs calls the two functions that begin with ``on_`` (see ``mkdocs.yml``). So the README and the
changelog are written once, and the reference cannot lag behind the code.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.testing import CliRunner

import blastscope
from blastscope.cli import app

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and let pages of ``docs`` link to the added ones."""
    for source, target in REPOSITORY_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=_as_site_page(text)))
    files.append(File.generated(config, "reference/commands.md", content=_commands_page()))
    files.append(File.generated(config, "reference/python.md", content=_python_page()))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Turn links to the README and its like into links to their pages on the site."""
    up = "../" * page.file.src_uri.count("/")
    for source, target in REPOSITORY_PAGES.items():
        markdown = markdown.replace(f"](../{up}{source}", f"]({up}{target}")
    return _without_repository_links(markdown)


def _as_site_page(text: str) -> str:
    """Rewrite the links of a page of the repository's root."""
    text = re.sub(r"\]\(docs/", "](", text)
    for source, target in REPOSITORY_PAGES.items():
        text = text.replace(f"]({source}", f"]({target}")
    return _without_repository_links(text)


def _without_repository_links(text: str) -> str:
    """Print the name of a file or folder that is not on the site, instead of a link to it."""
    return re.sub(
        r"\[([^\]]+)\]\((?:\.\./)*(?:notebooks|LICENSE|benchmarks|src|tests)[^)]*\)", r"\1", text
    )


def _commands_page() -> str:
    """Write the ``--help`` of every command, under the headings of ``blastscope --help``."""
    root: Any = typer.main.get_command(app)
    lines = ["# Commands", "", "What `blastscope VERB --help` prints.", ""]
    panels: dict[str, list[tuple[str, Any]]] = {}
    for name, command in root.commands.items():
        panels.setdefault(getattr(command, "rich_help_panel", None) or "Other", []).append(
            (name, command)
        )
    for panel, commands in panels.items():
        lines += [f"## {panel}", ""]
        for name, command in commands:
            leaves = getattr(command, "commands", None) or {"": command}
            for sub in leaves:
                lines += _command(f"{name} {sub}".strip())
    return "\n".join(lines)


def _command(name: str) -> list[str]:
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "100"})
    text = shown.output.replace("Usage: root", "Usage: blastscope").strip()
    return [f"### {name}", "", "```text", text, "```", ""]


def _python_page() -> str:
    """List every public name, where griffe finds its docstring."""
    lines = [
        "# Python", "",
        "`import blastscope as bs`: every verb of the command line is a function. A verb takes a "
        "path or an object, writes only with `out=`, and returns a result with `to_frame()`, "
        "`to_html()` and `save()`.", "",
    ]  # fmt: skip
    for name in sorted(blastscope.__all__, key=str.lower):
        value = getattr(blastscope, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            lines += [f"::: {value.__module__}.{value.__name__}", ""]
    return "\n".join(lines)
