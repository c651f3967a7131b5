"""Who may import whom: by reading every file, and by loading the device's side in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance import cli
from tests.house.sources import PACKAGES, ROOT, imports, module_name, python_files, within

WORKSHOP = ("appliance.dataset", "appliance.training", "appliance.evaluation", "appliance.pipeline")
HEAVY = ("torch", "transformers", "peft", "accelerate", "textual", "matplotlib", "datasets", "trl")
DEVICE_FOLDERS = ("trust", "update", "serving", "registry", "watch", "retrieval", "fleet")
DEVICE_VERBS = (
    "install",
    "rollback",
    "status",
    "serve",
    "chat",
    "stick",
    "verify",
    "redteam",
    "corrections",
    "gguf_header",
    "drift",
    "receipts",
    "fleet",
    "audit_log",
)
ABOVE = {"convert": ("appliance", "tui"), "appliance": ("tui",)}


def _is_device_side(file: Path) -> bool:
    parts = file.parts
    if parts[0] != "appliance" or len(parts) < 3:
        return False
    return parts[1] in DEVICE_FOLDERS or (parts[1] == "commands" and file.stem in DEVICE_VERBS)


DEVICE_FILES = [file for file in python_files("appliance") if _is_device_side(file)]


@pytest.mark.parametrize("file", python_files("convert", "appliance"), ids=str)
def test_nothing_imports_what_stands_above_it(file: Path) -> None:
    wrong = {name for name in imports(file) if within(name, *ABOVE[file.parts[0]])}
    assert not wrong, f"{file} imports {sorted(wrong)}: the order is tui → appliance → convert"


@pytest.mark.parametrize("file", python_files("convert"), ids=str)
def test_convert_needs_no_torch(file: Path) -> None:
    assert not {name for name in imports(file) if within(name, *HEAVY)}


@pytest.mark.parametrize("file", DEVICE_FILES, ids=str)
def test_device_side_imports_nothing_of_the_workshop(file: Path) -> None:
    wrong = {name for name in imports(file) if within(name, *WORKSHOP, *HEAVY)}
    assert not wrong, f"{file} imports {sorted(wrong)}, which a device does not have"


def test_textual_lives_in_tui_alone() -> None:
    found = [
        str(f) for f in python_files("appliance", "convert") if any(within(n, "textual") for n in imports(f))
    ]
    assert not found


def test_product_imports_neither_tests_nor_tools() -> None:
    tools = ("tests", "benchmarks", "examples", "offline_wheels", "pytest")
    found = [str(f) for f in python_files(*PACKAGES) if any(within(n, *tools) for n in imports(f))]
    assert not found


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_loading_the_whole_device_side_loads_nothing_of_the_workshop() -> None:
    modules = [module_name(file) for file in DEVICE_FILES if file.stem != "__main__"]
    assert modules, "the device's side has modules"
    loaded = _loaded_by("\n".join(f"import {name}" for name in modules))
    assert set(modules) <= loaded
    assert not {name for name in loaded if within(name, *WORKSHOP, *HEAVY)}


def test_loading_convert_loads_no_torch_and_no_appliance() -> None:
    modules = [module_name(file) for file in python_files("convert") if file.stem != "__main__"]
    loaded = _loaded_by("\n".join(f"import {name}" for name in modules))
    assert not {name for name in loaded if within(name, "appliance", "tui", *HEAVY)}


HELP = """
import contextlib, io
from appliance import cli
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    cli.main({arguments!r})
"""
SLOW_TO_LOAD = (*HEAVY, "numpy", "llama_cpp", "httpx", "starlette", "uvicorn", "tuf", "rich", "gguf")


def test_help_of_the_program_loads_no_verb_and_nothing_heavy() -> None:
    loaded = _loaded_by(HELP.format(arguments=["--help"]))
    assert "appliance.cli" in loaded
    slow = (*SLOW_TO_LOAD, "pydantic", "cryptography")
    wrong = {name for name in loaded if within(name, *slow)} | {
        name for name in loaded if name.startswith("appliance.commands.")
    }
    assert not wrong


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_help_of_a_verb_loads_nothing_heavy(verb: str) -> None:
    loaded = _loaded_by(HELP.format(arguments=[verb, "--help"]))
    assert cli.module_of(verb) in loaded
    assert not {name for name in loaded if within(name, *SLOW_TO_LOAD)}
