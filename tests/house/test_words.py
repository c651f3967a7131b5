"""What is documented is what is: the tree of errors, exit codes, the help in README, and every verb."""

from __future__ import annotations

import importlib
import re

import click
import pytest

from appliance import cli, errors
from tests.house import help_block
from tests.house.sources import ROOT


def _real_tree() -> dict[str, str]:
    """Name of each error class -> name of its parent."""
    tree: dict[str, str] = {}
    waiting: list[type[errors.AnchorholdError]] = [errors.AnchorholdError]
    while waiting:
        parent = waiting.pop()
        for child in parent.__subclasses__():
            if child.__module__ == errors.__name__:
                tree[child.__name__] = parent.__name__
                waiting.append(child)
    return tree


def _drawn_tree() -> dict[str, str]:
    tree: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([\s│├└─]*)([A-Z]\w+Error)\b", line)
        if not match:
            continue
        indent, name = len(match.group(1)), match.group(2)
        path = [entry for entry in path if entry[0] < indent]
        if path:
            tree[name] = path[-1][1]
        path.append((indent, name))
    return tree


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    assert _drawn_tree() == _real_tree()


def test_every_error_ends_in_error_and_in_an_exit_code_of_its_kind() -> None:
    for name in _real_tree():
        assert name.endswith("Error")
        kind = getattr(errors, name).exit_code
        assert kind not in {errors.ExitCode.OK, errors.ExitCode.INTERNAL, errors.ExitCode.INTERRUPTED}, name


def test_exit_codes_are_documented() -> None:
    handbook = (ROOT / "docs" / "handbook.md").read_text(encoding="utf-8")
    documented = {
        int(number): name
        for number, name in re.findall(r"^\| *`?(\d+)`? *\| *`?([A-Z]+)`? *\|", handbook, re.MULTILINE)
    }
    assert documented == {int(code): code.name for code in errors.ExitCode}


def test_help_in_readme_is_the_real_one() -> None:
    text = help_block.README.read_text(encoding="utf-8")
    assert help_block.BLOCK.search(text), "README.md has no <!-- help:begin --> … <!-- help:end -->"
    assert help_block.refreshed(text) == text, "run `make readme`"
    block = help_block.BLOCK.search(text)
    assert block is not None and "$ anchorhold --help" in block.group()
    missing = [name for name in cli.VERBS if f"\n  {name} " not in block.group()]
    assert not missing, f"the help in README.md does not tell of {missing}"


def test_links_within_readme_lead_somewhere() -> None:
    text = help_block.README.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    inside = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    assert len(inside) > 5
    broken = [target for target in inside if target and not (ROOT / target).exists()]
    assert not broken, f"README.md links to what is not there: {broken}"


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_teaches(verb: str) -> None:
    command = importlib.import_module(cli.module_of(verb)).command
    assert isinstance(command, click.Command)
    paragraphs = [part for part in re.split(r"\n\s*\n", (command.help or "").strip()) if part]
    assert paragraphs, f"{verb} has no help"
    assert len(paragraphs[0].split()) >= 6, f"{verb}: its help says too little"
    with click.Context(command, info_name=f"anchorhold {verb}") as context:
        shown = command.get_help(context)
        undocumented = [
            parameter.name
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.hidden and not parameter.help
        ]
    assert f"anchorhold {verb}" in shown.partition("\n")[2], f"{verb}: no example"
    assert not undocumented, f"{verb}: options without help: {undocumented}"


def test_no_command_is_hidden_from_the_help() -> None:
    files = (ROOT / "appliance" / "commands").glob("*.py")
    holding = {
        f.stem
        for f in files
        if re.search(r"^(def command\(|command\b.*=)", f.read_text("utf-8"), re.MULTILINE)
    }
    assert holding == {cli.module_of(verb).rpartition(".")[2] for verb in cli.VERBS}
