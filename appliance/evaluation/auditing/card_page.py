"""report-card.html: what an audit found, on one page that loads nothing. Pure: audit.json's value in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from appliance.evaluation.auditing.confusion_table import confusion_table
from appliance.evaluation.scoring import SCORERS
from appliance.page_style import STYLE
from appliance.visible import visible

_KINDS = {
    "domain": "What it is for",
    "tone": "Tone",
    "safety": "Safety",
    "bias": "Bias",
    "hallucination": "Hallucination",
    "memory": "Memory",
    "retention": "What the base could do",
    "quantization": "Quantization",
}

Value = Mapping[str, Any]


def _text(text: object, width: int = 0) -> str:
    return escape(visible(str(text), width))


def _block(text: object) -> str:
    """Text of several lines, its other control characters written out."""
    return "\n".join(_text(line) for line in str(text).split("\n"))


def written(value: float, shape: str) -> str:
    """A figure for people."""
    return f"{value * 100:.1f} %" if shape == "share" else f"{value:.4g}"


def _metric(scorer: str, name: str) -> tuple[str, str]:
    """(what it is, its shape)."""
    found = next((m for m in SCORERS[scorer].metrics if m.name == name), None)
    return (found.about, found.shape) if found else (name, "number")


def _bar(figure: Value) -> str:
    fill, low, high = (round(min(1.0, max(0.0, figure[key])) * 200, 1) for key in ("value", "low", "high"))
    return (
        '<svg class="bar" viewBox="0 0 200 16" role="img"><rect class="track" width="200" height="16" rx="3"/>'
        f'<rect class="fill" width="{fill}" height="16" rx="3"/>'
        f'<path class="range" d="M{low} 8H{high}M{low} 4V12M{high} 4V12"/></svg>'
    )


def _cell(figure: Value | None, shape: str) -> str:
    if figure is None:
        return '<td class="num">–</td>'
    interval = f"{written(figure['low'], shape)} – {written(figure['high'], shape)}"
    return f'<td class="num">{written(figure["value"], shape)}<br><span class="soft">{interval}</span></td>'


def _mark(passed: bool, waived: bool = False) -> str:
    if passed:
        return '<span class="ok">✓ passed</span>'
    return '<span class="no">✗ failed</span>' + (" (waived)" if waived else "")


def _figures(suite: Value, systems: Sequence[Value]) -> str:
    keys = [system["key"] for system in systems if system["key"] in suite["figures"]]
    titles = {system["key"]: system["title"] for system in systems}
    head = "".join(f'<th class="num">{_text(titles[key])}</th>' for key in keys)
    rows = []
    for metric in [figure["metric"] for figure in suite["figures"][keys[0]]]:
        about, shape = _metric(suite["scorer"], metric)
        by_key = {
            key: next((f for f in suite["figures"][key] if f["metric"] == metric), None) for key in keys
        }
        ours = by_key[keys[0]]
        bar = _bar(ours) if shape == "share" and ours is not None else ""
        verdicts = "; ".join(
            f"{entry['verdict']} than {titles[entry['against']]} (p = {entry['p']:.2g})"
            if entry["verdict"] in {"better", "worse"}
            else f"{titles[entry['against']]}: {entry['verdict']} (p = {entry['p']:.2g})"
            for entry in suite["differences"]
            if entry["metric"] == metric
        )
        cells = "".join(_cell(by_key[key], shape) for key in keys)
        rows.append(
            f"<tr><td><code>{_text(metric)}</code><br><span class=soft>{_text(about)}</span></td>"
            f"<td>{bar}</td>{cells}<td class=soft>{_text(verdicts)}</td></tr>"
        )
    return (
        f'<div class="wide"><table><tr><th>Figure</th><th></th>{head}<th>Against</th></tr>'
        f"{''.join(rows)}</table></div>"
    )


def _folded(title: str, head: str, rows: str) -> str:
    """A table that is shown when asked for."""
    table = f"<div class=wide><table><tr>{head}</tr>{rows}</table></div>"
    return f"<details><summary class=soft>{title}</summary>{table}</details>"


def _categories(suite: Value) -> str:
    if not suite["categories"]:
        return ""
    name = SCORERS[suite["scorer"]].metrics[0].name
    _, shape = _metric(suite["scorer"], name)
    rows = "".join(
        f'<tr><td>{_text(category)}</td>{_cell(figure, shape)}<td class="num">{figure["cases"]}</td></tr>'
        for category, figure in suite["categories"].items()
    )
    head = f'<th>Category</th><th class="num">{_text(name)}</th><th class="num">Cases</th>'
    return _folded("By category", head, rows)


def _examples(suite: Value) -> str:
    if not suite["examples"]:
        return ""
    cases = "".join(
        f'<div class="case"><div class="note"><span class="where mono">{_text(case["where"])}</span>'
        f"{_block(case['asked'])}</div><div class=three>"
        f"<div><h3>Expected</h3><pre>{_block(case['expected'])}</pre></div>"
        f"<div><h3>Given</h3><pre>{_block(case['given']) or '(empty)'}</pre>"
        f'<div class="no">{_text(case["note"])}</div></div></div></div>'
        for case in suite["examples"]
    )
    return f"<details><summary class=soft>Cases that aren't as they should be</summary>{cases}</details>"


def _suite(suite: Value, systems: Sequence[Value]) -> str:
    of = f" of {suite['of']}, drawn by hash" if suite["of"] else ""
    about = f"<p class=soft>{_text(suite['about'])}</p>" if suite["about"] else ""
    faults = "".join(f"<li>{_text(fault, 300)}</li>" for fault in suite["faults"][:20])
    more = len(suite["faults"]) - 20
    note = (
        f'<p class="no">{len(suite["faults"])} faults; the rest ran:</p><ul>{faults}</ul>'
        + (f"<p class=soft>… and {more} more</p>" if more > 0 else "")
        if suite["faults"]
        else ""
    )
    gates = "".join(
        f"<p>{_mark(gate['passed'])} <b>{_text(gate['bound'])}</b>: {_text(gate['reason'])}</p>"
        for gate in suite["gates"]
    )
    licence = f" · {_text(suite['licence'])}" if suite["licence"] else ""
    return (
        f'<h3 id="{_text(suite["name"])}">{_text(suite["title"])}</h3>{about}'
        f"<p class=soft><code>{_text(suite['name'])}</code> · {suite['cases']} cases{of} · scorer "
        f"<code>{_text(suite['scorer'])}</code>{licence}</p>{gates}{_figures(suite, systems)}"
        f"{_categories(suite)}{confusion_table(suite['confusions'])}{note}{_examples(suite)}"
    )


def _gates(audit: Value) -> list[Value]:
    """All verdicts: of the suites' gates, and on suites whose head or gates are wrong."""
    return [*(gate for suite in audit["suites"] for gate in suite["gates"]), *audit["gates"]]


def _gate_table(gates: Sequence[Value]) -> str:
    if not gates:
        return "<p class=soft>No suite of this audit has a gate.</p>"
    rows = "".join(
        f"<tr><td>{_mark(gate['passed'])}</td><td><code>{_text(gate['gate'])}</code></td>"
        f"<td>{_text(gate['bound'])}</td><td>{_text(gate['reason'])}</td></tr>"
        for gate in sorted(gates, key=lambda gate: gate["passed"])
    )
    return (
        '<div class="wide"><table><tr><th></th><th>Gate</th><th>Bound</th><th>Measured</th></tr>'
        f"{rows}</table></div>"
    )


def _compared(suites: Sequence[Value], systems: Sequence[Value]) -> str:
    """What the file is for, and its tone, beside the others, by each such suite's first figure."""
    titles = {system["key"]: system["title"] for system in systems}
    rows = ""
    for suite in suites:
        metric, shape = SCORERS[suite["scorer"]].metrics[0].name, SCORERS[suite["scorer"]].metrics[0].shape
        for entry in suite["differences"] if suite["kind"] in {"domain", "tone"} else ():
            if entry["metric"] == metric:
                ours, theirs = written(entry["ours"], shape), written(entry["theirs"], shape)
                rows += (
                    f"<tr><td>{_text(suite['title'])}<br><code>{_text(metric)}</code></td>"
                    f"<td>{_text(titles[entry['against']])}</td>"
                    f'<td class="num">{ours}</td><td class="num">{theirs}</td><td class="num">{entry["wins"]}</td>'
                    f'<td class="num">{entry["losses"]}</td><td class="num">{entry["cases"]}</td>'
                    f"<td>{_text(entry['verdict'])} (p = {entry['p']:.2g})</td></tr>"
                )
    if not rows:
        return ""
    head = "".join(f'<th class="num">{name}</th>' for name in ("Ours", "Theirs", "Won", "Lost", "Cases"))
    return (
        "<h2>Against the others</h2><p class=soft>Cases that both were asked; won and lost are those on which one "
        "alone is better.</p>"
        f'<div class="wide"><table><tr><th>Suite</th><th>Against</th>{head}<th></th></tr>{rows}</table></div>'
    )


def render(audit: Value) -> str:
    """The whole page: styles inline, no scripts, no other place named."""
    suites, systems = audit["suites"], audit["systems"]
    gates = _gates(audit)
    passed = sum(gate["passed"] for gate in gates)
    title = f"{_text(audit['project'])} {_text(audit['version'])}"
    sections = "".join(
        f"<h2>{_text(name)}</h2>"
        + "".join(_suite(suite, systems) for suite in suites if suite["kind"] == kind)
        for kind, name in _KINDS.items()
        if any(suite["kind"] == kind for suite in suites)
    )
    faults = "".join(f"<li>{_text(fault, 300)}</li>" for fault in audit["faults"])
    part = "; ".join(audit["lacks"])
    note = (
        f'<p class="no">A part of an audit, which no release counts: {_text(part, 300)}.</p>' if part else ""
    )
    unread = f'<h2>What could not be read</h2><ul class="no">{faults}</ul>' if faults else ""
    missing = "".join(f"<li>{_text(reason, 300)}</li>" for reason in audit["left_out"])
    left_out = f"<h2>What the dataset gives no suite for</h2><ul>{missing}</ul>" if missing else ""
    files = "".join(
        f"<tr><td>{_text(system['title'])}</td><td><code>{_text(system['file']['name'])}</code></td>"
        f"<td><code>{_text(system['file']['sha256'])}</code></td></tr>"
        for system in systems
    )
    cases = sum(suite["cases"] for suite in suites)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}: report card</title><style>{STYLE}</style></head><body><main>
<header><h1>{title}: report card</h1>
<div class="soft">What an audit of the file that ships found</div></header>
<p class="lead"><b>{passed} of {len(gates)}</b> gates passed; {len(suites)} suites, {cases} cases.</p>{note}
<h2>Gates</h2>{_gate_table(gates)}
{_compared(suites, systems)}
{sections}{unread}{left_out}
<h2>What was measured</h2>
<div class="wide"><table><tr><th>System</th><th>File</th><th>SHA-256</th></tr>{files}</table></div>
<footer>Answers are greedy, from the engine that serves ({_text(audit["engine"])}). Intervals are 95 %: Wilson's for
shares of cases, bootstrap's for others. A difference is said only where a paired test shows it (p &lt; 0.05, each
figure by itself).</footer>
</main></body></html>
"""
