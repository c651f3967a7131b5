"""`anchorhold convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.common import project_option
from appliance.errors import UsageError
from appliance.events import Event

if TYPE_CHECKING:
    from appliance.paths import Project

_EPILOG = """\b
Examples:
  anchorhold convert
  anchorhold convert --type Q4_0 --type Q8_0
  anchorhold convert --frontier
  anchorhold convert models/my-llama out.gguf --adapter adapters/a --type Q4_0
  anchorhold convert model.gguf folder
"""


def _show(event: Event) -> None:
    if event.kind in {"started", "finished", "message", "warning"} and event.text:
        click.echo(event.text)


def _frontier(project: Project, types: tuple[str, ...]) -> None:
    from appliance import base_model, offline
    from appliance.commands.common import stage_events
    from appliance.conversion import Choice
    from appliance.evaluation import frontier
    from appliance.pipeline import only_one

    offline.seal()
    candidates = tuple(Choice(kind.upper()) for kind in types) or frontier.CANDIDATES
    with only_one(project), stage_events(project.events) as emit:
        checkpoint = base_model.resolve(project.config.base.path, project.root, emit)
        found = frontier.measure_frontier(project, checkpoint, emit, candidates)
    click.echo(frontier.table(found))
    click.echo(f"drawn: {project.build / 'frontier' / 'frontier.svg'}")


@click.command(epilog=_EPILOG)
@click.argument("source", required=False)
@click.argument("output", required=False, type=click.Path(path_type=Path))
@project_option
@click.option(
    "--adapter", type=click.Path(path_type=Path), help="Merge this LoRA adapter (with SOURCE and OUTPUT)."
)
@click.option(
    "--type",
    "types",
    multiple=True,
    help="Quantization type: F32, F16, BF16, Q8_0, Q5_1, Q5_0, Q4_1, Q4_0, IQ4_NL, Q4_K, Q5_K, Q6_K.",
)
@click.option("--frontier", is_flag=True, help="Measure file size against score for the types, and draw it.")
@click.option(
    "--embeddings", default="Q8_0", show_default=True, help="Type of the embeddings (with SOURCE and OUTPUT)."
)
@click.option("--name", default="", help="The model's name in the file (with SOURCE and OUTPUT).")
@click.option(
    "--pre", default="", help="Name the pre-tokenizer where it isn't recognized (with SOURCE and OUTPUT)."
)
def command(
    source: str | None,
    output: Path | None,
    folder: Path,
    adapter: Path | None,
    types: tuple[str, ...],
    frontier: bool,
    embeddings: str,
    name: str,
    pre: str,
) -> None:
    """Turn base + adapter into one GGUF file.

    Without arguments: the project's base with the adapter that `anchorhold train` made, as F16 (to measure
    what INT4 loses) and as the type that ships. With SOURCE and OUTPUT: any checkpoint (`embedded`, a Hugging
    Face folder, a GGUF file) to the file OUTPUT.gguf, or a GGUF file to the folder OUTPUT.

    One pass, no merged copy on the disk; the file appears whole or not at all.

    --frontier makes the file in each type (or each --type given) and in mixes, asks each the validation rows, and names
    the smallest that keeps `convert.gate` of the 16-bit file's score; with convert.type = "auto" that one ships.
    """
    if source is None:
        from appliance import base_model
        from appliance.conversion import convert_project
        from appliance.paths import Project
        from appliance.pipeline import Journey, run_stage

        if adapter is not None or name or pre:
            raise UsageError(
                "--adapter, --name and --pre go with SOURCE and OUTPUT", "see `anchorhold convert --help`"
            )
        project = Project.open(folder)
        if frontier:
            _frontier(project, types)
            return
        checkpoint = base_model.resolve(project.config.base.path, project.root, _show)
        run_stage(
            Journey(project, checkpoint, _show),
            "convert",
            # Without types it is the stage as `build` runs it, which also settles what `auto` ships.
            (lambda: convert_project(project, types, emit=_show)) if types else None,
        )
        return
    if frontier:
        raise UsageError("--frontier goes without SOURCE and OUTPUT", "it measures a project's adapter")
    if output is None:
        raise UsageError("OUTPUT is missing", "anchorhold convert SOURCE OUTPUT")
    if len(types) > 1:
        raise UsageError("one OUTPUT has one --type")
    from appliance import base_model
    from appliance.conversion import reported_errors, write_gguf

    if output.suffix.lower() == ".gguf":
        checkpoint = base_model.resolve(source, Path.cwd(), _show)
        kind = types[0].upper() if types else "Q4_0"
        write_gguf(
            checkpoint,
            output,
            adapter=adapter,
            quantization=kind,
            embeddings=embeddings,
            name=name,
            pre=pre,
            emit=_show,
        )
        return
    if types or adapter is not None:
        raise UsageError("--type and --adapter go with an OUTPUT that ends in .gguf")
    from appliance import model_file
    from convert import to_checkpoint

    gguf = base_model.embedded_gguf() if source == base_model.EMBEDDED else Path(source)
    model_file.check(gguf)
    with reported_errors():
        to_checkpoint.convert(gguf, output)
    click.echo(f"{output}: a checkpoint that can be trained")
