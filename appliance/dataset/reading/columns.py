"""Which column is the prompt and which the answer: told, known by name, or guessed from what the columns hold. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.config import DatasetSection
from appliance.dataset.nearest import meant
from appliance.errors import ConfigError

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_NAME = re.compile(r"[^\W\d][\w .-]*")

# In the order of how sure each name is; compared without case, spaces and signs, singular and plural alike.
_QUESTIONS = (
    "prompt", "question", "query", "instruction", "request", "problem", "usermessage", "user", "human",
    "frage", "pregunta", "domanda", "input",
)  # fmt: skip
_SAID = (
    "utterance", "message", "text", "sentence", "review", "comment", "tweet", "post", "ticket",
    "headline",
)  # fmt: skip
_PROMPTS = (*_QUESTIONS, *_SAID)
_REPLIES = (
    "answer", "completion", "response", "output", "reply", "solution", "assistant", "target", "ideal",
    "expected", "antwort", "respuesta", "reponse", "risposta", "bot", "summary", "translation",
)  # fmt: skip
_LABELS = ("label", "intent", "category", "class", "sentiment", "topic")
_ANSWERS = (*_REPLIES, *_LABELS)
_TITLES = ("title", "subject", "heading", "term", "name")
_BODIES = ("statement", "description", "definition", "body", "content", "text", "detail", "abstract")
_NOT_THOSE = ("incorrect", "wrong", "bad", "rejected", "hallucinated", "unsafe")
_CONTEXTS = ("context", "passage", "knowledge")
_NEVER = (
    "id", "uuid", "index", "no", "nr", "number", "row", "source", "url", "link", "date", "time",
    "timestamp", "license", "licence", "split", "language", "lang", "group", "file", "path", "spans",
    "created",
)  # fmt: skip
HEADER_NAMES = frozenset(
    {*_PROMPTS, *_ANSWERS, *_CONTEXTS, "id", "title", "speaker", "timestamp", "chosen", "rejected"}
)
CHOICES = ("choices", "options", "endings")
_LABEL_VALUES = 0.2  # a label's distinct values, as a share of the rows looked at


@dataclass(frozen=True)
class Mapped:
    """What is taken from which column.

    Attributes:
        prompt, answer: their columns; a prompt that a template makes of other columns is empty.
        context: a column put before the prompt; empty: none.
        why: the evidence in words.
        sure: told or known by name; else guessed from content.
    """

    prompt: str
    answer: str
    context: str = ""
    why: str = ""
    sure: bool = True


def cell_text(value: Any) -> str:
    """A value as text: lists of one and SQuAD's answers as their text, numbers and objects as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return str(value[0])
    if isinstance(value, (list, dict)) and not value:
        return ""
    return json.dumps(value, ensure_ascii=False, default=str)


def _plain(name: str) -> str:
    plain = "".join(character for character in name.casefold() if character.isalnum())
    return plain[:-1] if plain.endswith("s") and not plain.endswith("ss") else plain


def _named(columns: Sequence[str], names: Sequence[str]) -> str:
    known = {_plain(column): column for column in reversed(columns)}
    return next((known[_plain(name)] for name in names if _plain(name) in known), "")


def _ending(columns: Sequence[str], names: Sequence[str]) -> str:
    """The first column whose last word is one of `names` (`best_answer`, `User question`)."""
    for column in columns:
        words = [_plain(word) for word in re.split(r"[\s_-]+|(?<=[a-z])(?=[A-Z])", column) if word]
        if len(words) > 1 and words[-1] in names and not set(words) & set(_NOT_THOSE):
            return column
    return ""


def _text_columns(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The columns that hold text, not numbers, dates, ids or lists, each with its filled values."""
    texts: dict[str, list[str]] = {}
    for column in columns:
        filled = [
            str(value).strip() for row in rows if isinstance(value := row.get(column), str) and value.strip()
        ]
        words = re.split(r"[\s_-]+|(?<=[a-z])(?=[A-Z])", column)
        if len(filled) * 2 < len(rows) or _plain(words[-1]) in _NEVER or _plain(column) in _NEVER:
            continue
        constant = len(rows) > 1 and len(set(filled)) == 1
        if not constant and sum(map(_is_number, filled)) * 2 <= len(filled):
            texts[column] = filled
    return texts


def by_name(columns: Sequence[str]) -> Mapped | None:
    """The mapping that names alone give: a question and a reply, or something said and a label; None: they don't."""
    prompt = _named(columns, _QUESTIONS) or _ending(columns, _QUESTIONS)
    rest = [column for column in columns if column != prompt]
    answer = _named(rest, _REPLIES) or _ending(rest, _REPLIES)
    if not prompt or not answer:
        prompt = _named(columns, _SAID) or _ending(columns, _SAID)
        rest = [column for column in columns if column != prompt]
        answer = _named(rest, _ANSWERS) or _ending(rest, _ANSWERS)
    if not prompt or not answer:
        return None
    context = _named([column for column in columns if column not in {prompt, answer}], _CONTEXTS)
    return Mapped(prompt, answer, context, f"columns `{prompt}` and `{answer}` by their names")


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def by_content(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Mapped | None:
    """A guess from what the columns hold, where little else is possible.

    That is: two columns of text, a text and a label, or a title and its body. A label has few values, a prompt is
    text that hardly ever recurs.
    """
    texts = _text_columns(columns, rows)
    mean = {column: sum(map(len, filled)) / len(filled) for column, filled in texts.items()}
    distinct = {column: len(set(filled)) for column, filled in texts.items()}
    labels = [
        column
        for column in texts
        if len(rows) >= 10
        and distinct[column] <= max(2, len(texts[column]) * _LABEL_VALUES)
        and mean[column] < 60
    ]
    varied = [column for column in texts if column not in labels]
    prompt = answer = ""
    title = _named(varied, _TITLES)
    body = _named([column for column in varied if column != title], _BODIES)
    if title and body:
        prompt, answer = title, body
    elif len(varied) == 1 and len(labels) == 1:
        prompt, answer = varied[0], labels[0]
    elif len(varied) == 2 and len(texts) == 2:
        prompt, answer = varied
        if _named([prompt], _ANSWERS) or _named([answer], _PROMPTS):
            prompt, answer = answer, prompt
    if not prompt:
        return None
    if answer in labels:
        what = f"`{answer}` holds {distinct[answer]} different values in {len(rows)} rows, a label"
    else:
        what = f"`{answer}` holds text of {mean[answer]:.0f} characters on average"
    why = (
        f"a guess from what the columns hold: `{prompt}` has {distinct[prompt]} different texts, and {what}; "
        "dataset.prompt_column and answer_column tell it"
    )
    return Mapped(prompt, answer, "", why, sure=False)


def told_columns(section: DatasetSection, columns: Sequence[str]) -> tuple[str, str]:
    """The prompt's and answer's column where the configuration names them; empty: it doesn't.

    A prompt column isn't needed where the template makes the prompt of others.
    """
    needed = "{prompt}" in section.prompt_template
    return (
        section.prompt_column if needed or section.prompt_column in columns else ""
    ), section.answer_column


_NAMED = 30  # columns that an error names


def missing_column(name: str, columns: Sequence[str]) -> str:
    """Why a column that is told can't be used, with the nearest one."""
    more = f" and {len(columns) - _NAMED} more" if len(columns) > _NAMED else ""
    return f"no column `{name}`; found: {', '.join(columns[:_NAMED]) or 'none'}{more}{meant(name, columns)}"


def map_columns(
    section: DatasetSection, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> Mapped | None:
    """The mapping of a table or of flat objects; None: neither told nor to be guessed.

    Columns that are told must be there (`missing_column` says what is wrong otherwise).
    """
    prompt, answer = told_columns(section, columns)
    if prompt and answer:
        return Mapped(prompt, answer, "", f"columns `{prompt}` and `{answer}`, as dataset tells")
    templated = "{prompt}" not in section.prompt_template
    guess = by_name(columns) or by_content(columns, rows)
    if not prompt and not answer:
        if guess is not None or not templated:
            return guess
        answer = _named(columns, _ANSWERS)
        return (
            Mapped("", answer, "", f"column `{answer}` by its name, the prompt by the template")
            if answer
            else None
        )
    rest = [column for column in columns if column not in {prompt, answer}]
    if not answer:
        answer = _named(rest, _ANSWERS) or (
            guess.answer if guess and guess.answer != prompt else rest[0] if len(rest) == 1 else ""
        )
    elif not prompt and not templated:
        prompt = _named(rest, _PROMPTS) or (
            guess.prompt if guess and guess.prompt != answer else rest[0] if len(rest) == 1 else ""
        )
    if not answer or not (prompt or templated):
        return None
    told = section.prompt_column or section.answer_column
    return Mapped(prompt, answer, "", f"column `{told}` as dataset tells, the other one guessed", sure=False)


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """`template` with each `{name}` replaced by its value; `{{` and `}}` stand for braces.

    Braces around something that is no name (JSON in a prompt) are left as they are.

    Raises:
        ConfigError: a name that isn't among `values`, with the nearest one.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if match[1] in values:
            return values[match[1]]
        if not _NAME.fullmatch(match[1]):
            return match[0]
        raise ConfigError(
            f"dataset.prompt_template: `{{{match[1]}}}` is no column{meant(match[1], values)}; "
            f"there are {', '.join(list(values)[:_NAMED])}",
            "write {{ and }} for braces that are meant as such",
        )

    return _PLACE.sub(replace, template)
