"""Documentation: its links, commands, docstrings, examples and words hold."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import typer.main
from nbclient import NotebookClient

import blastscope as bs

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "blastscope"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

# Pages of the site that docs/site_pages.py writes; `make docs` checks links to their headings.
GENERATED = {ROOT / "docs" / "reference" / name for name in ("commands.md", "python.md")}

# The glossary of CONTRIBUTING.md: words that must not name a file, a class,
# a function (but of the workbench, where a person is a user), an argument or an option again.
FORBIDDEN = [
    "evening",
    "evidence",
    "feed",
    "floor",
    "halves",
    "nobody",
    "novelty",
    "outsider",
    "parting",
    "person",
    "stranger",
    "unfamiliar",
    "vary",
    "voter",
]


def _pages_by_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a Markdown page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.M):
        words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=_pages_by_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name) if name else page
        assert there.exists() or there.resolve() in GENERATED, f"{target} is not there"
        if anchor:
            assert anchor in _anchors(there), f"{target}: no such heading"


def _commands() -> dict[str, Any]:
    """Every verb of the command line by name, ``weights list`` and its like included."""
    from blastscope.cli import app

    found: dict[str, Any] = {}
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        found[name] = command
        for sub, leaf in getattr(command, "commands", {}).items():
            found[f"{name} {sub}"] = leaf
    return found


def _examples(page: Path) -> list[list[str]]:
    """Every command of the page that begins with ``blastscope``, split into words."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```(?:\w+)?\n(.*?)```", text, flags=re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(blastscope [^`]+)`", text)
    lines = [line.strip() for line in lines if line.strip().startswith("blastscope ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=_pages_by_name)
def test_commands_and_options_exist(page: Path) -> None:
    commands = _commands()
    for words in _examples(page):
        if not re.match(r"[a-z]", words[0]):
            continue  # blastscope VERB, blastscope --help
        name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
        assert name in commands, f"blastscope {name} is not a command"
        known = {option for p in commands[name].params for option in [*p.opts, *p.secondary_opts]}
        for word in words:
            option = word.split("=")[0]
            if option.startswith("--"):
                assert option in known | {"--help"}, f"blastscope {name} has no option {option}"


def test_python_on_pages_uses_the_public_names() -> None:
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            for node in ast.walk(ast.parse(block)):
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id in ("bs", "blastscope")
                ):
                    assert node.attr in dir(bs), f"{page.name}: blastscope has no {node.attr}"


def _parts(name: str) -> set[str]:
    """The words of a snake_case, CamelCase or kebab-case name, in lower case and singular."""
    words = re.findall(r"[A-Z]?[a-z]+", name)
    return {word.lower() for word in words} | {word.lower().rstrip("s") for word in words}


def test_forbidden_words_name_nothing() -> None:
    names: dict[str, str] = {}
    for path in [*SOURCE.rglob("*"), *(ROOT / "docs").rglob("*"), *(ROOT / "notebooks").rglob("*")]:
        if "__pycache__" not in path.parts:
            names[str(path.relative_to(ROOT))] = path.stem
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                names[f"{path.name}: class {node.name}"] = node.name
            elif isinstance(node, ast.FunctionDef) and "workbench" not in path.parts:
                names[f"{path.name}: def {node.name}"] = node.name
                for argument in (*node.args.args, *node.args.kwonlyargs):
                    names[f"{path.name}: {node.name}({argument.arg})"] = argument.arg
    for verb, command in _commands().items():
        names[f"blastscope {verb}"] = verb
        for parameter in command.params:
            names[f"blastscope {verb} {parameter.opts[0]}"] = parameter.opts[0]
    bad = [where for where, name in names.items() if _parts(name) & set(FORBIDDEN)]
    assert not bad, f"words that the glossary of CONTRIBUTING.md replaces: {bad}"


def test_no_class_name_stands_for_two_classes() -> None:
    seen: dict[str, str] = {}
    twice = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                if node.name in seen:
                    twice.append(f"{node.name}: {seen[node.name]}, {path.name}")
                seen[node.name] = path.name
    assert not twice, twice


def _gaps(name: str, function: Callable[..., Any]) -> list[str]:
    """What the docstring of a public function leaves out."""
    text = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    takes = text.partition("Args:")[2].partition("Returns:")[0]
    gaps = [f"argument {p}" for p in signature.parameters if not re.search(rf"\b{p}\b", takes)]
    gaps += (
        [] if signature.return_annotation in (None, "None") or "Returns:" in text else ["Returns"]
    )
    needed = [p for p in signature.parameters.values() if p.default is p.empty]
    gaps += [] if not needed or "Raises:" in text else ["Raises"]
    return [f"{name}: {gap}" for gap in gaps]


def test_public_functions_say_what_they_take_return_and_raise() -> None:
    public = {name: getattr(bs, name) for name in bs.__all__}
    functions = {name: value for name, value in public.items() if inspect.isfunction(value)}
    gaps = [gap for name, function in functions.items() for gap in _gaps(name, function)]
    assert not gaps, "\n".join(gaps)


def test_examples_in_docstrings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    for name in bs.__all__:
        for test in doctest.DocTestFinder().find(getattr(bs, name), f"bs.{name}"):
            if inspect.isfunction(getattr(bs, name)) or inspect.isclass(getattr(bs, name)):
                runner.run(test)
    assert runner.tries >= 5
    assert runner.failures == 0


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "stored with outputs"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    work = tmp_path / "work"
    work.mkdir()
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": work}}
    )
    client.execute()


def test_the_architecture_page_names_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = page[page.index("## I want to change") :]
    for name in re.findall(r"`([\w/-]+(?:\.py|/))`", rows):
        places = [ROOT / name, SOURCE / name, SOURCE / "report" / name]
        assert any(place.exists() for place in places), f"{name} is not there"


@pytest.mark.parametrize("page", PAGES, ids=_pages_by_name)
def test_recipes_and_benchmarks_on_pages_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"benchmarks/\w+\.py", text):
        assert (ROOT / name).exists(), f"{name} is not there"
    if page.name != "CHANGELOG.md":
        for name in re.findall(r"\b(?:beyond|paper)/[\w-]*[a-z0-9](?=[` ,.])", text):
            assert (SOURCE / "recipes" / f"{name}.yaml").exists(), f"no recipe {name}"
