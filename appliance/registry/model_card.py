"""The model card, as Markdown and as a page: only what was measured or counted, from the files that say so.

Equal facts give equal bytes: no time, no path, and the digest of the release isn't in it, for it travels inside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from appliance.page_style import STYLE
from appliance.registry import measures
from appliance.registry.comparing import audit_of
from appliance.registry.facts import count, entries, number, table, text
from appliance.registry.manifest import Manifest, context_of, schema_of, system_of
from appliance.registry.store import Registry
from appliance.visible import visible

ROLE = "model-card"
MARKDOWN, PAGE = "model-card.md", "model-card.html"
_LONGEST = 300  # characters of a cell
_MAX_DATASET_CARD = 64 * 1024 * 1024
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~$])")
_SPLITS = {"train": 0, "valid": 1, "test": 2}
_NOT_STATED = "not stated"


@dataclass(frozen=True)
class Section:
    """A heading, a sentence below it, and a table; the first row is its head."""

    title: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _share(system: Any, metric: str) -> str:
    share, low, high = (number(system, metric, key) for key in ("share", "low", "high"))
    if share is None:
        return "–"
    return f"{_percent(share)} ({_percent(low)} to {_percent(high)})"


def _file(raw: dict[str, Any], model_file: Any) -> Section:
    model = table(raw, "provenance", "model")
    bits = number(model, "bits_per_weight")
    tensors = ", ".join(
        f"{number} {name}" for name, number in sorted(table(model, "tensors").items(), key=str)
    )
    rows = [
        ("File", text(model_file, "name")),
        ("SHA-256", text(model_file, "sha256")),
        ("Size", f"{count(model_file, 'bytes'):,} bytes"),
        ("Parameters", f"{count(model, 'parameters'):,}" if count(model, "parameters") else ""),
        ("Bits per weight", f"{bits:.2f}" if bits is not None else ""),
        ("Tensors by type", tensors),
        ("Memory to serve it", f"{count(raw, 'needs', 'memory_bytes'):,} bytes"),
        ("Context", f"{context_of(raw)} tokens"),
        ("System prompt", system_of(raw) or "none"),
        ("Answers held to a JSON Schema", "yes" if schema_of(raw) is not None else "no"),
    ]
    return Section("The file", "", (("", ""), *(row for row in rows if row[1])))


def _lineage(raw: dict[str, Any]) -> Section:
    training = table(raw, "provenance", "training")
    base = table(raw, "provenance", "base")
    loss = number(training, "best_loss")
    rows = [
        ("Base", text(base, "name")),
        ("Base, weights", text(base, "weights")),
        ("Dataset", text(raw, "provenance", "dataset")),
        ("Adapter", text(training, "adapter_sha256")),
        ("Steps", f"{count(training, 'steps'):,}" if count(training, "steps") else ""),
        ("Rows learnt from", f"{count(training, 'rows'):,}" if count(training, "rows") else ""),
        ("Tokens learnt from", f"{count(training, 'tokens'):,}" if count(training, "tokens") else ""),
        ("Validation loss", f"{loss:.4f} nats a token" if loss is not None else ""),
        ("Number type", text(training, "dtype")),
    ]
    return Section("What it was made of", "", (("", ""), *(row for row in rows if row[1])))


def _scores(raw: dict[str, Any]) -> Section:
    heads = (
        "System",
        "Rows",
        "Exactly right (95 %)",
        "Fits the schema (95 %)",
        "Field F1",
        "Ended by itself (95 %)",
    )
    rows = [
        (
            text(system, "title") or text(system, "key"),
            str(count(system, "rows")),
            _share(system, "exact"),
            _share(system, "valid"),
            _percent(number(system, "f1")),
            _share(system, "ended"),
        )
        for system in entries(raw, "evaluation", "systems")
    ]
    said = "Rows of the test split, which training has never seen, asked of the file that ships and of its rivals."
    return Section("How it does", said, (heads, *rows) if rows else ())


def _comparisons(results: Any) -> Iterator[Section]:
    titles = {text(each, "key"): text(each, "title") for each in entries(results, "systems")}
    rows = [
        (
            titles.get(text(each, "against"), text(each, "against")),
            str(count(each, "wins")),
            str(count(each, "losses")),
            f"{number(each, 'p') or 0:.2g}",
            text(each, "verdict"),
        )
        for each in entries(results, "comparisons")
    ]
    if rows:
        said = "On the rows that only one of the two got exactly right; McNemar's exact test."
        heads = ("Shipped file against", "Only ours right", "Only theirs right", "p", "Verdict")
        yield Section("Is the difference real?", said, (heads, *rows))


def _fields(results: Any) -> Iterator[Section]:
    rows = [
        (
            text(each, "field"),
            f"{_percent(count(each, 'hits') / count(each, 'total'))}",
            str(count(each, "total")),
        )
        for each in sorted(
            (each for each in entries(results, "fields") if count(each, "total")),
            key=lambda each: (count(each, "hits") / count(each, "total"), text(each, "field")),
        )
    ]
    if rows:
        yield Section("Field by field", "The weakest first.", (("Field", "Right", "Of"), *rows))


def _audit(audit: Any) -> Iterator[Section]:
    rows = [
        (
            each.suite,
            each.metric,
            f"{each.value:.4g}",
            "–" if each.low is None or each.high is None else f"{each.low:.4g} to {each.high:.4g}",
            str(each.cases),
        )
        for each in measures.of_audit(audit)
        if each.system == measures.SHIPPED
    ]
    if rows:
        yield Section("Audit", "", (("Suite", "Figure", "Value", "95 %", "Cases"), *rows))
    elif not entries(audit, "suites"):
        yield Section("Audit", "No audit was run on this file.")


def _gates(raw: dict[str, Any]) -> Iterator[Section]:
    waived = {text(each, "gate"): each for each in entries(raw, "evaluation", "waivers")}
    rows = []
    for gate in measures.gates(raw):
        waiver = waived.get(text(gate, "gate"))
        state = "passed" if gate["passed"] else "failed"
        if waiver is not None and not gate["passed"]:
            state = (
                f"failed, waived by {text(waiver, 'by') or text(waiver, 'name')}: {text(waiver, 'reason')}"
            )
        rows.append((text(gate, "gate"), text(gate, "bound"), text(gate, "reason"), state))
    if rows:
        yield Section("Gates", "", (("Gate", "Asked", "Measured", ""), *rows))


def _counted(dataset: Any) -> Iterator[tuple[str, str]]:
    for title, keys in (
        ("Equal rows left out", ("duplicates",)),
        ("Nearly equal rows kept together", ("near", "rows")),
        ("Rows left out because the test files hold them", ("overlaps",)),
        ("Prompts with several answers", ("conflicts", "prompts")),
        ("Rows left out as the worst", ("pruned",)),
        ("Planted canaries", ("canaries",)),
        ("Rows held back", ("held_back",)),
    ):
        found = count(dataset, *keys)
        if found:
            yield title, f"{found:,}"
    rejected = sum(count(dataset, "rejected", kind) for kind in table(dataset, "rejected"))
    if rejected:
        yield "Bad rows", f"{rejected:,}"
    if cut := sum(count(dataset, "cut", kind) for kind in table(dataset, "cut")):
        yield "Cuts of rows that stayed", f"{cut:,}"
    flagged = sum(count(dataset, "flagged", kind) for kind in table(dataset, "flagged"))
    if flagged:
        yield "Rows with flawed answers that stayed", f"{flagged:,}"
    yield "Redaction", "on" if table(dataset, "redactions") else "off"


def _data(dataset: Any) -> Iterator[Section]:
    if not table(dataset, "rows"):
        return
    rows = [
        (
            f"Rows, {split}",
            f"{count(dataset, 'rows', split):,} ({count(dataset, 'tokens', split, 'total'):,} tokens)",
        )
        for split in sorted(
            table(dataset, "rows"), key=lambda split: (_SPLITS.get(split, len(_SPLITS)), split)
        )
    ]
    licences: dict[str, int] = {}
    for source in entries(dataset, "sources"):
        name = text(source, "licence") or _NOT_STATED
        licences[name] = licences.get(name, 0) + count(source, "rows")
    rows += [(f"Licence: {name}", f"{amount:,} rows") for name, amount in sorted(licences.items())]
    rows += _counted(dataset)
    said = f"Split {text(dataset, 'split')}." if text(dataset, "split") else ""
    yield Section("The data", said, (("", ""), *rows))


def _built(raw: dict[str, Any]) -> Section:
    libraries = table(raw, "built_with", "libraries")
    rows = [
        ("anchorhold", text(raw, "built_with", "anchorhold")),
        *((name, str(libraries[name])) for name in sorted(libraries)),
    ]
    return Section("Built with", "", (("", ""), *(row for row in rows if row[1])))


def _limits(raw: dict[str, Any], audit: Any) -> Section:
    said = [f"{len(entries(raw, 'golden'))} golden prompts are asked before a device switches to it."]
    if not entries(audit, "suites"):
        said.append(
            "Nothing but the test split was measured: "
            "of tone, safety, bias, invented facts and memory nothing is known."
        )
    return Section("What this card doesn't tell", " ".join(said))


def sections(raw: dict[str, Any], dataset: Any, results: Any, audit: Any) -> list[Section]:
    """What the card says.

    Args:
        raw: of release.json; the card itself needn't be among its files.
        dataset: of the dataset's card.json; None where it isn't at hand.
        results: of results.json; None where it isn't at hand.
        audit: of audit.json; None where there was no audit.
    """
    model = next((each for each in entries(raw, "files") if text(each, "role") == "model"), {})
    found = [
        _file(raw, model),
        _scores(raw),
        *_comparisons(results),
        *_fields(results),
        *_audit(audit),
        *_gates(raw),
        _lineage(raw),
        *_data(dataset),
        _built(raw),
        _limits(raw, audit),
    ]
    return [each for each in found if each.text or len(each.rows) > 1]


def _plain(cell: str) -> str:
    return _MARKS.sub(r"\\\1", visible(cell, _LONGEST))


def _markdown_table(rows: tuple[tuple[str, ...], ...]) -> str:
    lines = [f"| {' | '.join(map(_plain, row))} |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"


def markdown(raw: dict[str, Any], found: list[Section]) -> str:
    """The card as Markdown; text of people's files can't be anything but text in it."""
    parts = [f"# {_plain(text(raw, 'name'))} {_plain(text(raw, 'version'))}: model card\n"]
    if text(raw, "description"):
        parts.append(f"{_plain(text(raw, 'description'))}\n")
    for section in found:
        parts.append(f"## {section.title}\n")
        if section.text:
            parts.append(f"{_plain(section.text)}\n")
        if section.rows:
            parts.append(_markdown_table(section.rows))
    return "\n".join(parts)


def _page_table(rows: tuple[tuple[str, ...], ...]) -> str:
    if not rows:
        return ""

    def line(row: tuple[str, ...], tag: str) -> str:
        cells = "".join(f"<{tag}>{escape(visible(cell, _LONGEST))}</{tag}>" for cell in row)
        return f"<tr>{cells}</tr>"

    head = line(rows[0], "th") if any(rows[0]) else ""
    return f'<div class="wide"><table>{head}{"".join(line(row, "td") for row in rows[1:])}</table></div>'


def page(raw: dict[str, Any], found: list[Section]) -> str:
    """The card as a page that names no other place: no script, nothing fetched."""
    title = escape(visible(f"{text(raw, 'name')} {text(raw, 'version')}"))
    about = escape(visible(text(raw, "description"), _LONGEST))
    body = "".join(
        f"<h2>{escape(each.title)}</h2>"
        + (f'<p class="soft">{escape(visible(each.text, 0))}</p>' if each.text else "")
        + _page_table(each.rows)
        for each in found
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}: model card</title><style>{STYLE} td {{ overflow-wrap:anywhere; }}</style></head><body><main>
<header><h1>{title}</h1><div class="soft">Model card: what was measured and counted</div></header>
<p>{about}</p>
{body}
</main></body></html>
"""


def render(raw: dict[str, Any], dataset: Any, results: Any, audit: Any) -> dict[str, str]:
    """File name -> content: the card in both forms. Arguments as for `sections`."""
    found = sections(raw, dataset, results, audit)
    return {MARKDOWN: markdown(raw, found), PAGE: page(raw, found)}


def of_release(registry: Registry, manifest: Manifest) -> dict[str, str]:
    """The card of a release that brings none, from what it brings.

    Raises:
        TrustError: an object is missing or damaged.
    """
    dataset = None
    for file in manifest.files:
        if file.role == "card" and file.bytes <= _MAX_DATASET_CARD:
            try:
                dataset = json.loads(registry.objects.read(file.sha256, _MAX_DATASET_CARD))
            except (ValueError, RecursionError):
                dataset = None
    return render(manifest.raw, dataset, None, audit_of(registry, manifest))


def of(registry: Registry, manifest: Manifest) -> str:
    """The Markdown card of a release: the one it brings, or one made of what it brings.

    Raises:
        TrustError: an object is missing or damaged.
    """
    for file in manifest.files:
        if file.role == ROLE and file.name == MARKDOWN and file.bytes <= _MAX_DATASET_CARD:
            return registry.objects.read(file.sha256, _MAX_DATASET_CARD).decode("utf-8", "replace")
    return of_release(registry, manifest)[MARKDOWN]
