"""`anchorhold gguf`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from convert.gguf_header import Header, Value

_EPILOG = """\b
Examples:
  anchorhold gguf check model.gguf
  anchorhold gguf show model.gguf
  anchorhold gguf show model.gguf --tensors --json
"""
_VALUE_WIDTH = 60
_FACTS = ("context_length", "block_count", "embedding_length", "attention.head_count")


@click.group("gguf", epilog=_EPILOG)
def command() -> None:
    """Check a GGUF file, or show what stands in its header.

    Nothing in the file is believed: every count, length and offset is compared with a limit and with the file's
    size first, so that a damaged or hostile file is refused at once. The weights aren't read.
    """


_file = click.argument("file", type=click.Path(path_type=Path))
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@command.command()
@_file
@_as_json
def check(file: Path, as_json: bool) -> None:
    """Say whether FILE is whole and llama.cpp would find in it what it needs.

    Exits with 0 if so, with 5 and the reason if not. `anchorhold install` does the same before it loads a model.
    """
    import json

    from appliance import model_file
    from appliance.visible import visible
    from convert import gguf_requirements

    header = model_file.check(file)
    remarks = gguf_requirements.remarks(header)
    if as_json:
        click.echo(json.dumps({"good": True, **_facts(header), "remarks": remarks}, indent=2))
        return
    for remark in remarks:
        click.echo(f"note: {visible(remark, 0)}")
    counts = f"{len(header.metadata)} keys, {len(header.tensors)} tensors, {header.size} bytes"
    click.echo(f"{visible(str(file), 0)} is good: {counts}")


@command.command()
@_file
@click.option("--tensors", is_flag=True, help="List the tensors too.")
@_as_json
def show(file: Path, tensors: bool, as_json: bool) -> None:
    """Show FILE's architecture, sizes, types and keys.

    The structure is checked as by `check`; what llama.cpp would fail at is told and not refused.
    """
    import json

    from appliance import model_file
    from convert import gguf_requirements

    header = model_file.read_header(file)
    faults = gguf_requirements.faults(header)
    remarks = gguf_requirements.remarks(header)
    if as_json:
        facts = {**_facts(header), "faults": faults, "remarks": remarks, "keys": _keys(header)}
        if tensors:
            facts["tensors"] = _tensors(header)
        click.echo(json.dumps(facts, indent=2))
        return
    for line in (*_readable(header), *(_tensor_lines(header) if tensors else [])):
        click.echo(line)
    for what, found in (("fault", faults), ("note", remarks)):
        for each in found:
            click.echo(_safe(f"{what}: {each}"))


def _safe(text: str) -> str:
    from appliance.visible import visible

    return visible(text, 0)


def _scalar(header: Header, key: str) -> Any:
    """A value that is no list, or None."""
    import math

    value = header.get(key)
    if isinstance(value, list):
        return None
    # JSON knows no NaN.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _types(header: Header) -> dict[str, dict[str, Any]]:
    """By type, the one with most bytes first: how many tensors, weights and bytes."""
    found: dict[str, dict[str, Any]] = {}
    for tensor in header.tensors.values():
        entry = found.setdefault(tensor.type.name, {"tensors": 0, "weights": 0, "bytes": 0})
        entry["tensors"] += 1
        entry["weights"] += tensor.weights
        entry["bytes"] += tensor.bytes
    return dict(sorted(found.items(), key=lambda item: -item[1]["bytes"]))


def _facts(header: Header) -> dict[str, Any]:
    from appliance import storage

    architecture = _scalar(header, "general.architecture")
    template, tokens = header.get("tokenizer.chat_template"), header.get("tokenizer.ggml.tokens")
    return {
        "version": header.version,
        "bytes": header.size,
        "architecture": architecture,
        "name": _scalar(header, "general.name"),
        "license": _scalar(header, "general.license"),
        **{name: _scalar(header, f"{architecture}.{name}") for name in _FACTS},
        "vocabulary": len(tokens) if isinstance(tokens, list) else None,
        "tokenizer": _scalar(header, "tokenizer.ggml.model"),
        "chat_template_sha256": storage.sha256_bytes(template.encode())
        if isinstance(template, str)
        else None,
        "alignment": header.alignment,
        "weights": header.weights,
        "bits_per_weight": round(header.bits_per_weight, 4),
        "types": _types(header),
    }


def _said(value: Value) -> str:
    """A value on one line; of a list its length and beginning."""
    from appliance.visible import visible

    if isinstance(value.value, list):
        begin = ", ".join(visible(str(item), 20) for item in value.value[:4])
        return visible(f"{len(value.value)}: {begin}{', …' if len(value.value) > 4 else ''}", _VALUE_WIDTH)
    if isinstance(value.value, float):
        return f"{value.value:.9g}"
    return visible(str(value.value), _VALUE_WIDTH)


def _kind(value: Value) -> str:
    return f"{value.item.name.lower()}[]" if value.item is not None else value.kind.name.lower()


def _keys(header: Header) -> dict[str, dict[str, Any]]:
    """For JSON, lists by their length alone."""
    return {
        key: {"type": _kind(value), "length": len(value.value)}
        if isinstance(value.value, list)
        else {"type": _kind(value), "value": _scalar(header, key)}
        for key, value in header.metadata.items()
    }


def _tensors(header: Header) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "type": each.type.name,
            "shape": list(each.shape),
            "begin": each.begin,
            "bytes": each.bytes,
        }
        for each in header.tensors.values()
    ]


def _readable(header: Header) -> list[str]:
    from appliance.visible import visible

    facts = _facts(header)
    types = facts.pop("types")
    labels = {"attention.head_count": "heads", "block_count": "layers", "bits_per_weight": "bits per weight"}
    labels |= {"chat_template_sha256": "chat template", "context_length": "context"}
    labels |= {"embedding_length": "embedding"}
    lines = [
        f"{labels.get(name, name):<16} {'-' if value is None else visible(str(value), 80)}"
        for name, value in facts.items()
    ]
    lines += ["", f"{'type':<8} {'tensors':>8} {'weights':>14} {'bytes':>14}"]
    lines += [f"{k:<8} {v['tensors']:>8} {v['weights']:>14} {v['bytes']:>14}" for k, v in types.items()]
    width = min(48, max((len(visible(key, 48)) for key in header.metadata), default=0))
    lines += ["", "keys"]
    for key, value in header.metadata.items():
        lines.append(f"{visible(key, 48):<{width}}  {_kind(value):<9} {_said(value)}")
    return lines


def _tensor_lines(header: Header) -> list[str]:
    lines = ["", f"{'tensor':<40} {'type':<8} {'shape':<18} {'at byte':>12} {'bytes':>12}"]
    for each in header.tensors.values():
        shape = "x".join(map(str, each.shape))
        lines.append(
            f"{_safe(each.name):<40} {each.type.name:<8} {shape:<18} {each.begin:>12} {each.bytes:>12}"
        )
    return lines
