"""What a file may be: short, named after what it does, documented, free of machine paths and index hosts."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.house.sources import PACKAGES, ROOT, parsed, python_files, tracked

MOST_LINES = 450
WELL_KNOWN = {
    "attr",
    "click", "cryptography", "datasets", "gguf", "httpx", "jinja2", "llama_cpp", "matplotlib", "numpy",
    "peft", "pydantic", "pytest", "requests", "rich", "safetensors", "setuptools", "setup", "starlette",
    "textual", "tokenizers", "torch", "transformers", "tuf", "utils", "helpers", "misc", "uvicorn",
}  # fmt: skip


@pytest.mark.parametrize("file", python_files(), ids=str)
def test_a_file_is_short(file: Path) -> None:
    lines = len((ROOT / file).read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{file} has {lines} lines: it does more than one thing"


@pytest.mark.parametrize("file", python_files(*PACKAGES, "benchmarks", "examples", "offline_wheels"), ids=str)
def test_a_file_is_not_named_like_a_well_known_module(file: Path) -> None:
    allowed = {"__init__", "__main__"}
    assert file.stem in allowed or file.stem not in WELL_KNOWN | set(sys.stdlib_module_names)


def _undocumented(tree: ast.Module) -> list[str]:
    """Public functions, classes and methods without a docstring."""
    missing = [] if ast.get_docstring(tree) else ["the module"]

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            if node.name.startswith("_"):
                continue
            decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
            if ast.get_docstring(node) is None and not decorators & {"setter", "overload", "override"}:
                missing.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(tree.body, "")
    return missing


# Names that a framework calls: its documentation says what they do.
FRAMEWORK = re.compile(
    r"\b(forward|backward|compose|on_\w+|action_\w+|watch_\w+|render|list_commands|get_command|format_commands)$"
)


@pytest.mark.parametrize("file", python_files(*PACKAGES, "offline_wheels", "benchmarks"), ids=str)
def test_public_names_have_docstrings(file: Path) -> None:
    missing = [name for name in _undocumented(parsed(file)) if not FRAMEWORK.search(name)]
    assert not missing, f"{file}: no docstring on {', '.join(missing)}"


# Written so that this file does not hold what it looks for.
FORBIDDEN = {
    "a machine's path": re.compile(r"(?<![\w.])/(?:work|home|root|Users|farm)/[\w.]|/opt/(?:wheels|pypi)"),
    "a package index's host": re.compile(
        r"(?:pypi|pythonhosted|npmjs|debian)\.(?:org|com)|(?:download\.)pytorch\."
    ),
    "an index option": re.compile(r"--(?:extra-)?index-url|--trusted-host"),
}
NOT_OURS = {Path("LICENSE"), Path("tests/house/test_files.py")}
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".sh",
    ".json",
    ".jsonl",
    ".cfg",
    ".yml",
    ".yaml",
    ".html",
    ".tcss",
    "",
}


def test_no_machine_path_and_no_index_host_stands_in_the_repository() -> None:
    wrong = []
    for file in tracked():
        if file in NOT_OURS or file.suffix not in TEXT:
            continue
        text = (ROOT / file).read_text(encoding="utf-8", errors="replace")
        for what, pattern in FORBIDDEN.items():
            wrong += [f"{file}: {what}: {match.group()}" for match in pattern.finditer(text)]
    assert not wrong, "\n".join(wrong)


def test_no_large_or_binary_model_file_is_tracked() -> None:
    kept = ROOT / "tests" / "update" / "golden_stick"  # kilobytes, see test_golden_stick.py
    models = [f for f in tracked() if f.suffix in {".gguf", ".safetensors", ".whl", ".bin"}]
    wrong = [
        str(f) for f in models if not (ROOT / f).is_relative_to(kept) or (ROOT / f).stat().st_size > 10_000
    ]
    wrong += [str(f) for f in tracked() if (ROOT / f).stat().st_size > 2_000_000]
    assert not wrong
