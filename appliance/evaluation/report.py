"""report.html: one self-contained page for people who were not there. Pure: results in, text out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from appliance.dataset import Row
from appliance.evaluation.answers import Answer
from appliance.evaluation.certainty import LEVEL, Comparison
from appliance.evaluation.results import EvaluationResult, Share, SystemScore
from appliance.evaluation.scorers import RowScore
from appliance.evaluation.systems import BASE, BASE_SHOTS, SHIPPED, TUNED_FULL
from appliance.page_style import STYLE

SHOWN_CASES = 10  # of each kind
_LONGEST = 2000  # characters of a text in a case
# A rival to set the shipped file beside, the strongest baseline first.
_RIVALS = (BASE_SHOTS, BASE, TUNED_FULL)


@dataclass(frozen=True)
class Case:
    """One test row with what was said to it.

    Attributes:
        source: where the row came from.
        prompt: the conversation before the answer, as text.
        expected: the right answer.
        ours, theirs: the shipped file's and the rival's answer.
        ours_right, theirs_right: whether they are exactly right.
        fault: why ours isn't valid, if it isn't.
    """

    source: str
    prompt: str
    expected: str
    ours: str
    theirs: str
    ours_right: bool
    theirs_right: bool
    fault: str


def _rival(keys: Mapping[str, Any]) -> str:
    return next((key for key in _RIVALS if key in keys), SHIPPED)


def _conversation(row: Row) -> str:
    turns = [message for message in row.prompt if message["role"] != "system"]
    if len(turns) == 1:
        return str(turns[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def cases(
    rows: Sequence[Row], answers: Mapping[str, Sequence[Answer]], scores: Mapping[str, Sequence[RowScore]]
) -> list[Case]:
    """Every test row beside both answers: the shipped file's and its rival's, the strongest baseline."""
    rival = _rival(answers)
    return [
        Case(
            source=row.source,
            prompt=_conversation(row),
            expected=row.answer,
            ours=answers[SHIPPED][index].text,
            theirs=answers[rival][index].text,
            ours_right=scores[SHIPPED][index].exact,
            theirs_right=scores[rival][index].exact,
            fault=scores[SHIPPED][index].fault,
        )
        for index, row in enumerate(rows)
    ]


def inline_svg(text: str) -> str:
    """An SVG fit to stand inside a page: no prologue, no metadata, no name of any other place."""
    text = re.sub(
        r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL
    )
    text = re.sub(r"\sxmlns(:\w+)?=\"[^\"]*\"", "", text)
    if re.search(r"<script|\son\w+\s*=|[a-z]+://", text, flags=re.IGNORECASE):
        return ""  # not a drawing of ours
    return text.strip()


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _bar(share: Share) -> str:
    fill, low, high = (round(value * 200, 1) for value in (share.share, share.low, share.high))
    label = f"{_percent(share.low)} to {_percent(share.high)}"
    return (
        f'<svg class="bar" viewBox="0 0 200 16" role="img" aria-label="{label}">'
        '<rect class="track" width="200" height="16" rx="3"/>'
        f'<rect class="fill" width="{fill}" height="16" rx="3"/>'
        f'<path class="range" d="M{low} 8H{high}M{low} 4V12M{high} 4V12"/></svg>'
    )


def _interval(share: Share | None) -> str:
    if share is None:
        return "–"
    return (
        f'{_percent(share.share)}<br><span class="soft">{share.low * 100:.0f}–{share.high * 100:.0f}</span>'
    )


def _tile(value: str, label: str) -> str:
    return f'<div class="tile"><b>{value}</b><span>{label}</span></div>'


def _tiles(ours: SystemScore) -> str:
    tiles = [_tile(_percent(ours.exact.share), f"exactly right ({ours.exact.hits} of {ours.exact.total})")]
    if ours.f1 is not None:
        tiles.append(_tile(_percent(ours.f1), "field F1"))
    if ours.valid is not None:
        tiles.append(_tile(_percent(ours.valid.share), "valid answers"))
    tiles.append(_tile(_percent(ours.ended.share), "ended by themselves"))
    tiles.append(
        _tile(f"{ours.file['bytes'] / 1e6:.0f} MB", f"{ours.file['bits_per_weight']:.2f} bits per weight")
    )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _lead(result: EvaluationResult) -> str:
    ours = result.systems[-1]
    text = (
        f"The file that ships answers <b>{ours.exact.hits} of {ours.exact.total}</b> unseen test rows "
        f"exactly right (95 % interval {_percent(ours.exact.low)} to {_percent(ours.exact.high)})."
    )
    rival = _rival({score.key: score for score in result.systems})
    against = next((comparison for comparison in result.comparisons if comparison.against == rival), None)
    theirs = result.system(rival)
    if against is not None and theirs is not None and rival != TUNED_FULL:
        text += (
            f" The same base model, untuned and asked as well as a prompt allows, gets {theirs.exact.hits}."
        )
    return f'<p class="lead">{text}</p>'


def _files_table(result: EvaluationResult) -> str:
    seen: dict[str, dict[str, Any]] = {score.file["sha256"]: score.file for score in result.systems}
    rows = "".join(
        f"<tr><td><code>{escape(file['name'])}</code></td><td><code>{file['sha256']}</code></td>"
        f'<td class="num">{file["bytes"] / 1e6:.1f} MB</td>'
        f'<td class="num">{file["bits_per_weight"]:.2f}</td></tr>'
        for file in seen.values()
    )
    return (
        '<div class="wide"><table><tr><th>File</th><th>SHA-256</th><th class="num">Size</th>'
        f'<th class="num">Bits per weight</th></tr>{rows}</table></div>'
    )


def _score_table(result: EvaluationResult) -> str:
    rows = []
    for score in result.systems:
        ships = ' class="ships"' if score.key == result.shipped else ""
        f1 = "–" if score.f1 is None else _percent(score.f1)
        rows.append(
            f"<tr{ships}><td>{escape(score.title)}</td><td>{_bar(score.exact)}</td>"
            f'<td class="num">{_interval(score.exact)}</td><td class="num">{f1}</td>'
            f'<td class="num">{_interval(score.parses)}</td><td class="num">{_interval(score.valid)}</td>'
            f'<td class="num">{_interval(score.ended)}</td>'
            f'<td class="num">{score.mean_tokens:.0f}</td></tr>'
        )
    return (
        '<div class="wide"><table><tr><th>System</th><th>Exactly right, with its 95 % interval</th>'
        '<th class="num">Exact</th><th class="num">Field F1</th>'
        '<th class="num">JSON</th><th class="num">Valid</th>'
        f'<th class="num">Ended</th><th class="num">Tokens</th></tr>{"".join(rows)}</table></div>'
    )


def _verdict(comparison: Comparison) -> str:
    kind = comparison.verdict if comparison.verdict in {"better", "worse"} else "soft"
    return f'<span class="{kind}">{comparison.verdict}</span>'


def _comparison_table(result: EvaluationResult) -> str:
    if not result.comparisons:
        return ""
    titles = {score.key: score.title for score in result.systems}
    rows = "".join(
        f'<tr><td>{escape(titles[entry.against])}</td><td class="num">{entry.wins}</td>'
        f'<td class="num">{entry.losses}</td><td class="num">{entry.p:.2g}</td>'
        f"<td>{_verdict(entry)}</td></tr>"
        for entry in result.comparisons
    )
    return (
        "<h2>Is the difference real?</h2><p class=soft>The shipped file against each other system, on the "
        f"rows that only one of the two got exactly right (McNemar’s exact test). Below p = {LEVEL} "
        "we say so.</p>"
        '<div class="wide"><table><tr><th>Shipped file against</th><th class="num">Only ours right</th>'
        '<th class="num">Only theirs right</th><th class="num">p</th><th>Verdict</th></tr>'
        f"{rows}</table></div>"
    )


def _field_tables(result: EvaluationResult) -> str:
    if not result.fields:
        return ""
    fields = "".join(
        f"<tr><td><code>{escape(entry.field)}</code></td><td>{_bar(Share.of(entry.hits, entry.total))}</td>"
        f'<td class="num">{_percent(entry.hits / entry.total)}</td>'
        f'<td class="num">{entry.hits} of {entry.total}</td></tr>'
        for entry in result.fields
    )
    text = (
        "<h2>Field by field</h2><p class=soft>The shipped file; a field that is missing or too many counts "
        'as wrong.</p><div class="wide"><table><tr><th>Field</th><th>Right, with its 95 % interval</th>'
        f'<th class="num">Share</th><th class="num">Count</th></tr>{fields}</table></div>'
    )
    if not result.confusions:
        return text
    confusions = "".join(
        f"<tr><td><code>{escape(entry.field)}</code></td><td><code>{escape(_short(entry.expected))}</code></td>"
        f'<td><code>{escape(_short(entry.given))}</code></td><td class="num">{entry.count}</td></tr>'
        for entry in result.confusions
    )
    return (
        f"{text}<h2>Most frequent confusions</h2><div class=wide><table><tr><th>Field</th><th>Expected</th>"
        f'<th>Given</th><th class="num">Times</th></tr>{confusions}</table></div>'
    )


def _short(text: str, longest: int = 160) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _pretty(text: str) -> str:
    """An answer for reading: JSON one field a line, anything else as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _short(text, _LONGEST)
    return _short(json.dumps(value, indent=1, ensure_ascii=False), _LONGEST)


def _answer(title: str, text: str, right: bool | None, fault: str = "") -> str:
    mark = (
        ""
        if right is None
        else ' <span class="ok">✓ right</span>'
        if right
        else ' <span class="no">✗ wrong</span>'
    )
    note = f'<div class="no">{escape(_short(fault))}</div>' if fault else ""
    said = escape(_pretty(text)) or '<span class="soft">(empty)</span>'
    return f"<div><h3>{title}{mark}</h3><pre>{said}</pre>{note}</div>"


def _case(case: Case, rival_title: str) -> str:
    theirs = _answer(rival_title, case.theirs, case.theirs_right) if rival_title else ""
    return (
        f'<div class="case"><div class="note"><span class="where mono">{escape(case.source)}</span>'
        f"{escape(_short(case.prompt, _LONGEST))}</div>"
        f'<div class="three">{_answer("Expected", case.expected, None)}'
        f"{_answer('Shipped file', case.ours, case.ours_right, case.fault)}{theirs}</div></div>"
    )


def _case_sections(result: EvaluationResult, rows: Sequence[Case]) -> str:
    rival = _rival({score.key: score for score in result.systems})
    score = result.system(rival)
    title = escape(score.title) if score is not None and rival != SHIPPED else ""
    kinds = [("What it still gets wrong", [case for case in rows if not case.ours_right])]
    if title:
        kinds = [
            (
                f"Wins: right where “{title}” is wrong",
                [c for c in rows if c.ours_right and not c.theirs_right],
            ),
            (
                f"Losses: wrong where “{title}” is right",
                [c for c in rows if c.theirs_right and not c.ours_right],
            ),
            ("Wrong in both", [c for c in rows if not c.ours_right and not c.theirs_right]),
        ]
    text = []
    for heading, held in kinds:
        if not held:
            text.append(f"<h2>{heading}</h2><p class=soft>None.</p>")
            continue
        count = f"{len(held)} rows" if len(held) > 1 else "1 row"
        shown = f"; {SHOWN_CASES} of them, in the order of their hashes" if len(held) > SHOWN_CASES else ""
        body = "".join(_case(case, title) for case in held[:SHOWN_CASES])
        text.append(f"<h2>{heading}</h2><p class=soft>{count}{shown}.</p>{body}")
    return "".join(text)


def render(result: EvaluationResult, rows: Sequence[Case], curve_svg: str = "", description: str = "") -> str:
    """The whole page.

    Args:
        result: the numbers.
        rows: every test row with its answers.
        curve_svg: the loss curve, as an SVG file's text; left out when empty.
        description: of the project.

    Returns:
        HTML that names no other place: styles and drawings are inline, scripts there are none.
    """
    title = f"{escape(result.project)} {escape(result.version)}"
    curve = inline_svg(curve_svg)
    figure = f"<h2>How it learnt</h2><figure>{curve}</figure>" if curve else ""
    about = f'<p class="soft">{escape(description)}</p>' if description else ""
    how = (
        "Exact: the answer is JSON equal to the expected one, field for field. Field F1 counts every "
        "<code>path = value</code>, entries of plain lists one by one, over all rows. JSON: the answer parses. "
        "Valid: it also satisfies the schema, where there is one."
        if result.scorer == "json"
        else "Exact: the answer equals the expected text, white space at its ends apart."
    )
    if result.held_to:
        how += " All but the base, asked plainly, could write only what fits the schema, as on the device."
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}: report</title><style>{STYLE}</style></head><body><main>
<header><h1>{title}</h1>
<div class="soft">How the file that ships does on rows it has never seen</div></header>
{about}{_lead(result)}
{_tiles(result.systems[-1])}
<h2>Scores</h2>{_score_table(result)}
<p class="soft">{how} Ended: the answer stopped by its end token, not by the limit. Answers are greedy
(temperature 0), from the same engine that serves.</p>
{_comparison_table(result)}
{figure}
{_field_tables(result)}
{_case_sections(result, rows)}
<h2>What was measured</h2>{_files_table(result)}
<footer>{result.rows} test rows · dataset <code>{escape(result.dataset)}</code>
· intervals are Wilson’s, 95 %</footer>
</main></body></html>
"""
