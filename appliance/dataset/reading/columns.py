"""Which column is the prompt and which the answer: told, known by name, or guessed from what the columns hold. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.config import DatasetSection
from appliance.dataset.nearest import meant
from appliance.errors import ConfigError

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_NAME = re.compile(r"[^\W\d][\w .-]*")

# In the order of how sure each name is; compared without case, accents, spaces and signs, singular and plural alike.
_QUESTIONS = (
    "prompt", "question", "query", "instruction", "request", "problem", "usermessage",
    "frage", "anfrage", "pregunta", "consulta", "domanda", "pergunta", "vraag", "input",
)  # fmt: skip
_WHO = ("user", "human")  # who asked, or what they asked
_SAID = (
    "utterance", "message", "text", "sentence", "review", "comment", "tweet", "post", "ticket",
    "headline",
)  # fmt: skip
_PROMPTS = (*_QUESTIONS, *_WHO, *_SAID)
# What somebody writes back: such a column is the answer whatever the others are called.
_WRITTEN_BACK = (
    "answer", "completion", "response", "output", "reply", "solution", "resolution", "assistant",
    "antwort", "losung", "loesung", "respuesta", "solucion", "resolucion", "reponse", "risposta",
    "soluzione", "risoluzione", "resposta", "solucao", "resolucao", "antwoord", "oplossing",
)  # fmt: skip
_REPLIES = (*_WRITTEN_BACK, "target", "ideal", "expected", "bot", "summary", "translation")
_LABELS = ("label", "intent", "category", "class", "sentiment", "topic")
_ANSWERS = (*_REPLIES, *_LABELS)
_SUBJECTS = ("subject", "heading", "betreff", "asunto", "sujet", "objet", "oggetto", "assunto", "onderwerp")
_ABOVE = (*_SUBJECTS, "title", "titel", "titulo", "titre", "titolo")  # above what is asked: part of it
_TITLES = ("title", "subject", "heading", "term", "name")
_BODIES = ("statement", "description", "definition", "body", "content", "text", "detail", "abstract")
# What somebody writes in the first place, where a column holds what was written back.
_WRITTEN = (
    "message", "utterance", "complaint", "body", "description", "text", "content", "issue", "detail", "sentence",
    "beschreibung", "nachricht", "inhalt", "descripcion", "mensaje", "cuerpo", "contenido", "texto",
    "corps", "contenu", "texte", "descrizione", "messaggio", "corpo", "testo", "descricao", "mensagem",
    "omschrijving", "beschrijving", "bericht", "tekst", *_SAID, "statement", "email",
)  # fmt: skip
_NOT_THOSE = ("incorrect", "wrong", "bad", "rejected", "hallucinated", "unsafe")
_NOT_WRITTEN = (*_NOT_THOSE, "time", "date", "hour", "minute", "id", "type", "status")
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
# A date, an address, a name of a link: not what anybody writes to somebody.
_BARE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ,].{0,20})?|[^\s@]+@[^\s@]+|https?://\S+")
_LABEL_VALUES = 0.2  # a label's distinct values, as a share of the rows looked at


@dataclass(frozen=True)
class Mapped:
    """What is taken from which column.

    Attributes:
        prompt, answer: their columns; a prompt that a template makes of other columns is empty.
        context: columns put before the prompt, outermost first.
        why: the evidence in words.
        sure: told or known by name; else guessed from content.
    """

    prompt: str
    answer: str
    context: tuple[str, ...] = ()
    why: str = ""
    sure: bool = True


def cell_text(value: Any) -> str:
    """A value as text: a list of one text and the first of SQuAD's answers as they are, what else is no text as
    JSON.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"][:1]  # SQuAD's: each of them is right
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    if isinstance(value, (list, dict)) and not value:
        return ""
    return json.dumps(value, ensure_ascii=False, default=str)


def plain_name(name: str) -> str:
    """A name without case, accents, signs and a plural's s."""
    parts = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(character for character in parts if character.isalnum())
    return plain[:-1] if plain.endswith("s") and not plain.endswith("ss") else plain


def words_of(name: str) -> list[str]:
    """The words of a name (`best_answer`, `bestAnswer`), each plain."""
    return [plain_name(word) for word in re.split(r"[\s_-]+|(?<=[a-z])(?=[A-Z])", name) if word]


def is_label(column: str) -> bool:
    """Whether a column's name says that it holds labels, of which a row may have several."""
    return plain_name(column) in _LABELS or words_of(column)[-1:] in [[label] for label in _LABELS]


def _named(columns: Sequence[str], names: Sequence[str]) -> str:
    known = {plain_name(column): column for column in reversed(columns)}
    return next((known[plain_name(name)] for name in names if plain_name(name) in known), "")


def _ending(columns: Sequence[str], names: Sequence[str], unless: Sequence[str] = _NOT_THOSE) -> str:
    """The first column whose last word is one of `names` (`best_answer`, `User question`), and no word of `unless`."""
    for column in columns:
        words = words_of(column)
        if len(words) > 1 and words[-1] in names and not set(words) & set(unless):
            return column
    return ""


def _text_columns(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The columns that hold text, not numbers, dates, ids or lists, each with its filled values."""
    texts: dict[str, list[str]] = {}
    for column in columns:
        filled = [
            str(value).strip() for row in rows if isinstance(value := row.get(column), str) and value.strip()
        ]
        words = words_of(column)
        if (
            len(filled) * 2 < len(rows)
            or words[-1:] in [[name] for name in _NEVER]
            or plain_name(column) in _NEVER
        ):
            continue
        constant = len(rows) > 1 and len(set(filled)) == 1
        if not constant and sum(map(_is_number, filled)) * 2 <= len(filled):
            texts[column] = filled
    return texts


def _either(columns: Sequence[str], names: Sequence[str]) -> str:
    """The column that bears the first of the names, whole or as its last word."""
    return next(
        (
            found
            for name in names
            if (found := _named(columns, [name]) or _ending(columns, [plain_name(name)], _NOT_WRITTEN))
        ),
        "",
    )


def _is_written(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether somebody wrote what a column holds: no numbers, dates and addresses, as far as `rows` show."""
    filled = [value for row in rows if (value := row.get(column)) is not None and str(value).strip()]
    bare = sum(
        isinstance(value, (int, float))
        or (isinstance(value, str) and (_is_number(value) or bool(_BARE.fullmatch(value.strip()))))
        for value in filled
    )
    return not filled or bare * 2 <= len(filled)


def written_back(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Mapped | None:
    """A column named as a reply, and one that holds what it replies to: a ticket, a letter, a question; None: not both.

    A subject stands above what was asked and is part of it. The title beside a question may be an article's, so it
    stays where it is.
    """
    written = [column for column in columns if _is_written(column, rows)]
    answer = _named(written, _WRITTEN_BACK) or _either(written, _WRITTEN_BACK)
    rest = [column for column in written if column != answer]
    asked = _named(rest, _QUESTIONS) or _ending(rest, _QUESTIONS)
    prompt = asked or _either(rest, _WRITTEN) or _named(rest, _WHO) or _ending(rest, _WHO)
    if not answer or not prompt:
        return None
    rest = [column for column in rest if column != prompt]
    above = _either(rest, _SUBJECTS if asked else _ABOVE)
    context = tuple(filter(None, (_named(rest, _CONTEXTS), above)))
    told = "".join(f", `{column}` in front" for column in context)
    return Mapped(prompt, answer, context, f"columns `{prompt}` and `{answer}` by their names{told}")


def by_name(columns: Sequence[str], rows: Sequence[Mapping[str, Any]] = ()) -> Mapped | None:
    """The mapping that names alone give: a question and a reply, or something said and a label; None: they don't.

    Args:
        columns: their names.
        rows: some values, so that a column of numbers isn't taken for what somebody wrote.
    """
    if (mapped := written_back(columns, rows)) is not None:
        return mapped
    questions = (*_QUESTIONS, *_WHO)
    prompt = _named(columns, questions) or _ending(columns, questions)
    rest = [column for column in columns if column != prompt]
    answer = _named(rest, _REPLIES) or _ending(rest, _REPLIES)
    if not prompt or not answer:
        prompt = _named(columns, _SAID) or _ending(columns, _SAID)
        rest = [column for column in columns if column != prompt]
        answer = _named(rest, _ANSWERS) or _ending(rest, _ANSWERS)
    if not prompt or not answer:
        return None
    context = _named([column for column in columns if column not in {prompt, answer}], _CONTEXTS)
    told = f"columns `{prompt}` and `{answer}` by their names"
    return Mapped(prompt, answer, (context,) if context else (), told)


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
    if title and body and not _either(varied, _WRITTEN_BACK):  # what is asked isn't the answer
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
    return Mapped(prompt, answer, (), why, sure=False)


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
        return Mapped(prompt, answer, (), f"columns `{prompt}` and `{answer}`, as dataset tells")
    templated = "{prompt}" not in section.prompt_template
    guess = by_name(columns, rows) or by_content(columns, rows)
    if not prompt and not answer:
        if guess is not None or not templated:
            return guess
        answer = _named(columns, _ANSWERS)
        return (
            Mapped("", answer, (), f"column `{answer}` by its name, the prompt by the template")
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
    return Mapped(prompt, answer, (), f"column `{told}` as dataset tells, the other one guessed", sure=False)


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
