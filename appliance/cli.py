"""The command line. Each verb is a module of `appliance/commands/`, loaded only when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any, NoReturn

import click

from appliance import __version__
from appliance.errors import AnchorholdError, ExitCode, as_product_error
from appliance.visible import visible

# verb -> (one line of help, in the order of the road). `module_of` says which module holds its `command`.
VERBS: dict[str, str] = {
    "init": "Begin a project: a commented anchorhold.toml and its folders.",
    "build": "Walk the road: dataset, train, convert, evaluate, release, stick.",
    "dataset": "Read, clean and split the examples; write the dataset card.",
    "train": "Fine-tune the base with LoRA on this machine's CPU.",
    "convert": "Turn base + adapter into one GGUF file.",
    "gguf": "Check a GGUF file, or show what stands in its header.",
    "evaluate": "Measure the file that ships; write the report.",
    "audit": "Run suites on the file that ships; write its report card.",
    "retrain": "Take corrections and failures into the next round, and run it.",
    "advise": "Prompt, examples, retrieval or fine-tuning? Ask your own cases.",
    "keys": "Make, show and change the keys that sign releases.",
    "release": "Put model, report and provenance together under one version.",
    "registry": "List, compare and keep releases; what each was made of.",
    "fleet": "List devices by their receipts: releases, last seen, alarms.",
    "stick": "Write a stick, or check one.",
    "verify": "Check a release's OMS signature, on a stick or in a folder.",
    "install": "Verify a stick and install its release on this device.",
    "receipts": "Write what this device did onto a stick; take it in the workshop.",
    "rollback": "Serve the release that was active before.",
    "status": "What runs here, who signed it, and how it does.",
    "drift": "How far inputs and answers are from the usual; alarms.",
    "serve": "Serve the active release (OpenAI-compatible API).",
    "chat": "Talk to the model in a plain terminal or a script.",
    "redteam": "Attack the served release; hear when it became weaker.",
    "corrections": "Show and export what operators said of answers.",
    "completion": "Print the shell's completion script.",
}

_OTHER_NAMES = {
    "gguf": "gguf_header"
}  # a module of that name would stand before the library of the same name

_VERBOSE = frozenset({"-v", "--verbose"})


def module_of(verb: str) -> str:
    """The module that holds a verb's `command`."""
    return f"appliance.commands.{_OTHER_NAMES.get(verb, verb)}"


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(module_of(cmd_name)).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # From the table, so that --help imports no verb.
        with formatter.section("Verbs, in the order of the road"):
            formatter.write_dl(list(VERBS.items()))


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"anchorhold {__version__}")
        ctx.exit()


@click.group(
    cls=_Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
@click.pass_context
def program(ctx: click.Context, verbose: bool) -> None:  # noqa: ARG001 - shown in the help, taken by main()
    """The air-gapped language-model appliance.

    Workshop: `anchorhold init DIR`, put examples into DIR/data, `anchorhold build`.
    Device: `anchorhold install STICK`, `anchorhold serve`, and `anchorhold` alone opens the terminal UI.
    """
    if ctx.invoked_subcommand is None:
        # The UI sits above us in the import order, so it is started, not imported. -P: never from the current
        # folder, which may be a stick.
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-P", "-m", "tui"])  # noqa: S606


def _fail(error: AnchorholdError) -> NoReturn:
    # A message may quote a file's name or what stands in it; its own line ends are meant.
    for what, text in (("error", error.message), ("hint", error.hint)):
        if text:
            click.echo(f"{what}: " + "\n".join(visible(line, 0) for line in text.split("\n")), err=True)
    raise SystemExit(int(error.exit_code))


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; never returns.

    Exits with an `ExitCode`; errors go to stderr as one line and a hint, with -v behind their traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # A flag of the whole program, which people type before or behind the verb.
    verbose = any(word in _VERBOSE for word in given)
    given = [word for word in given if word not in _VERBOSE]
    try:
        result: Any = program.main(args=given, prog_name="anchorhold", standalone_mode=False)
        raise SystemExit(result if isinstance(result, int) else int(ExitCode.OK))
    except click.ClickException as error:
        error.show()
        raise SystemExit(int(ExitCode.USAGE)) from None
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("stopped; run the same command again to go on", err=True)
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(int(ExitCode.OK)) from None
    except Exception as error:
        if verbose:
            traceback.print_exc()
        _fail(as_product_error(error))
