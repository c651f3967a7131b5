"""What the rules are checked against: the repository's files, its modules and what each imports."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("appliance", "convert", "tui")


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the repository (tracked or about to be), relative to its root."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(sorted({Path(name) for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}))


def python_files(*folders: str) -> list[Path]:
    """The Python files below `folders` (all folders if none), relative to the root."""
    return [f for f in tracked() if f.suffix == ".py" and (not folders or f.parts[0] in folders)]


def module_name(file: Path) -> str:
    """The dotted name of a file's module."""
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parsed(file: Path) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse((ROOT / file).read_text(encoding="utf-8"), str(file))


def imports(file: Path, *, at_load: bool = False) -> set[str]:
    """Dotted names that a file imports.

    Args:
        file: relative to the root.
        at_load: only what is imported when the module is loaded, not inside its functions, nor for type
            checkers alone.
    """
    package = module_name(file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if at_load and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for otherwise in node.orelse:
                visit(otherwise)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            # `from a import b` may name a module b: both are counted.
            found.update([stem, *(f"{stem}.{alias.name}" for alias in node.names)])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(parsed(file))
    return found


def within(name: str, *roots: str) -> bool:
    """Whether a dotted name is one of `roots` or lies below one."""
    return any(name == root or name.startswith(f"{root}.") for root in roots)
