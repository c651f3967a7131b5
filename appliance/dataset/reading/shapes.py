"""What the objects of a file are: conversations, pairs, columns, turns or texts; and how one of them becomes a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.config import DatasetSection
from appliance.dataset.nearest import meant
from appliance.dataset.reading.candidates import Verdict, find_verdict
from appliance.dataset.reading.chat_rows import (
    LIST_KEYS,
    chat_messages,
    roles_are_known,
    turn_keys,
)
from appliance.dataset.reading.column_rows import alpaca_messages, column_messages
from appliance.dataset.reading.columns import (
    CHOICES,
    Mapped,
    cell_text,
    is_label,
    map_columns,
    written_back,
)
from appliance.dataset.reading.material import Cut, Unfit
from appliance.dataset.reading.preferences import PROMPT_KEYS, Sides, find_sides, pair_row
from appliance.dataset.reading.tool_turns import definitions, with_definitions
from appliance.dataset.reading.turn_order import in_order
from appliance.dataset.reading.turn_tables import TurnColumns, find_turn_columns

ANSWERS_OF_ALPACA = ("output", "response", "answer", "completion")
PAIR_COLUMNS = ("text", "label")
TITLES = ("title", "name", "heading", "subject")
TEXTS = ("text", "content", "body", "full_text", "document", "markdown")


@dataclass(frozen=True)
class Shape:
    """What a file's objects were taken for.

    Attributes:
        name: `messages`, `sharegpt`, `alpaca`, `prompt-completion`, `text-label`, `preference`, `turns`,
            `dialogue`, `texts`; empty: nothing that can be read.
        evidence: in words.
        mapping: what is taken from which field, to be shown.
        fits: how many of the objects looked at have it.
        of: how many were looked at.
        key: the field that holds the turns, or the text.
        mapped, sides, columns: for the shapes that need them.
        verdict: where rows have several answers: what says which is the best.
        sure: told or unmistakable; else a guess.
        kind, refusal: why such objects can't be used, as in `BadRow`.
    """

    name: str
    evidence: str
    mapping: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    mapped: Mapped | None = None
    sides: Sides | None = None
    columns: TurnColumns | None = None
    verdict: Verdict | None = None
    sure: bool = True
    kind: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class Conversation:
    """One object made into a row, still without its place."""

    messages: Any
    group: str = ""
    rejected: str = ""
    cuts: tuple[Cut, ...] = ()


def _list_key(record: Mapping[str, Any], known: bool) -> str:
    """The field that holds turns of known roles (or of people with names)."""
    for key in LIST_KEYS:
        turns = record.get(key)
        keys = turn_keys(turns)
        if keys is not None and isinstance(turns, list) and roles_are_known(turns, keys[0]) == known:
            return key
    return ""


def _is_messages(record: Mapping[str, Any]) -> str:
    key = _list_key(record, known=True)
    if key and turn_keys(record[key]) == ("role", "content"):
        return key
    return "messages" if "messages" in record and not key else ""


def _is_sharegpt(record: Mapping[str, Any]) -> str:
    key = _list_key(record, known=True)
    return key if key and turn_keys(record[key]) != ("role", "content") else ""


def _is_dialogue(record: Mapping[str, Any]) -> str:
    return _list_key(record, known=False)


def _is_preference(record: Mapping[str, Any]) -> str:
    sides = find_sides(record)
    return f"{sides.first}, {sides.second}" if sides else ""


def _is_alpaca(record: Mapping[str, Any]) -> str:
    has = isinstance(record.get("instruction"), str) and ("input" in record or "output" in record)
    return next((key for key in ANSWERS_OF_ALPACA if key in record), "") if has else ""


_TESTS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("preference", _is_preference),
    ("messages", _is_messages),
    ("sharegpt", _is_sharegpt),
    ("dialogue", _is_dialogue),
    ("alpaca", _is_alpaca),
)


def _key_of(name: str, record: Mapping[str, Any]) -> str:
    """Under which key a record is of the shape `name`; empty: it isn't."""
    return next((test(record) for shape, test in _TESTS if shape == name), "")


def _count(fits: int, of: int) -> str:
    return f"{fits} of the first {of} objects" if of > 1 else "the one object"


def _named_shape(name: str, key: str, records: Sequence[Any], fits: int) -> Shape:
    of = len(records)
    count = _count(fits, of)
    first = next(record for record in records if isinstance(record, dict) and _key_of(name, record))
    if name == "preference":
        sides = find_sides(first)
        assert sides is not None
        prompt = next((field for field in PROMPT_KEYS if field in first), "inside both sides")
        mapping = {"prompt": prompt, "chosen": sides.first, "rejected": sides.second}
        if sides.verdict or not sides.labeled:
            told = f"by {sides.verdict}" if sides.verdict else "not told"
            mapping = {"prompt": prompt, "sides": f"{sides.first}, {sides.second}", "chosen": told}
        what = "preference pairs" if sides.labeled else "pairs of answers, not told which is better"
        evidence = f"{what}: {count} have `{sides.first}` and `{sides.second}`"
        return Shape(name, evidence, mapping, sides=sides)
    if name == "alpaca":
        mapping = {"prompt": "instruction" + (", input" if "input" in first else ""), "answer": key}
        verdict, which = _several([record for record in records if isinstance(record, dict)], key)
        evidence = f"Alpaca: {count} have `instruction` and `{key}`{which}"
        return Shape(name, evidence, mapping, key, verdict=verdict)
    role, text = turn_keys(first[key]) or ("role", "content")
    told = {"messages": "chat messages", "sharegpt": "ShareGPT", "dialogue": "conversations between people"}[
        name
    ]
    mapping = {"turns": key, "role" if name != "dialogue" else "speaker": role, "text": text}
    return Shape(name, f"{told}: {count} have `{key}` with `{role}` and `{text}`", mapping, key)


def _of_lists(records: Sequence[Any]) -> Shape | None:
    lists = [record for record in records if isinstance(record, list)]
    pairs = [
        one
        for one in lists
        if len(one) == 2
        and all(isinstance(part, (str, int, float)) for part in one)
        and isinstance(one[0], str)
    ]
    if len(pairs) * 2 > len(records):
        labels = len({str(label) for _, label in pairs})
        evidence = (
            f"pairs of text and label: {len(pairs)} of the first {len(records)} values are lists of two, "
            f"with {labels} different second values"
        )
        mapped = Mapped(*PAIR_COLUMNS)
        mapping = {"prompt": "first value", "answer": "second value"}
        return Shape("text-label", evidence, mapping, mapped=mapped)
    turns = [one for one in lists if turn_keys(one) is not None]
    if len(turns) * 2 > len(records):
        role, text = turn_keys(turns[0]) or ("role", "content")
        count = f"{len(turns)} of the first {len(records)} values"
        evidence = f"chat messages: {count} are lists of turns with `{role}` and `{text}`"
        return Shape("messages", evidence, {"role": role, "text": text})
    return None


def _refused(kind: str, reason: str) -> Shape:
    return Shape("", reason, kind=kind, refusal=reason)


def _of_columns(records: Sequence[Mapping[str, Any]], section: DatasetSection) -> Shape:
    columns = list(dict.fromkeys(key for record in records for key in record))
    of = len(records)
    turns = find_turn_columns(columns, records)
    told = section.prompt_column in columns or section.answer_column in columns
    if turns is not None and not told and not _replies_beside(columns, records):
        return Shape("turns", turns.evidence, turns.mapping, columns=turns)
    mapped = map_columns(section, columns, records)
    if any(isinstance(records[0].get(key), list) for key in CHOICES) and not told:
        return _refused("multiple-choice", "multiple-choice questions: their choices make no conversation")
    wanted = {mapped.prompt, mapped.answer} - {""} if mapped else set()
    if mapped is not None and (mapped.sure or told) and any(wanted <= set(record) for record in records):
        return _columns_shape(mapped, records)
    text = next((key for key in TEXTS if isinstance(records[0].get(key), str)), "")
    if text and not told:
        title = next((key for key in TITLES if key in columns and key != text), "")
        fits = sum(isinstance(record.get(text), str) for record in records)
        mapping = {"text": text, **({"title": title} if title else {})}
        return Shape("texts", f"texts: {_count(fits, of)} have `{text}` and no answer", mapping, key=text)
    if mapped is not None and any(wanted <= set(record) for record in records):
        return _columns_shape(mapped, records)
    keys = ", ".join(map(repr, columns[:8])) or "none"
    reason = f"no conversation, and no prompt with an answer to be sure of among {keys}"
    return _refused("columns", f"{reason}; dataset.prompt_column and answer_column tell them")


def _replies_beside(columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether most rows hold what was said and what was written back, so that a row is no single turn."""
    mapped = written_back(columns, records)
    if mapped is None:
        return False
    return sum(bool(cell_text(record.get(mapped.answer)).strip()) for record in records) * 2 > len(records)


def _columns_shape(mapped: Mapped, records: Sequence[Mapping[str, Any]]) -> Shape:
    wanted = {mapped.prompt, mapped.answer} - {""}
    fits = sum(wanted <= set(record) for record in records)
    mapping = {
        "prompt": mapped.prompt or "the template",
        "answer": mapped.answer,
        **({"context": ", ".join(mapped.context)} if mapped.context else {}),
    }
    verdict, which = _several(records, mapped.answer)
    told = f"prompt and answer: {mapped.why}; {fits} of the first {len(records)} rows have both{which}"
    return Shape("prompt-completion", told, mapping, mapped=mapped, verdict=verdict, sure=mapped.sure)


def _several(records: Sequence[Mapping[str, Any]], column: str) -> tuple[Verdict | None, str]:
    """What says which of several answers is the best, and that in words; nothing where rows have one."""
    verdict = None if is_label(column) else find_verdict(records, column)
    if verdict is None:
        return None, ""
    if not verdict.told:
        return verdict, "; several answers a row, and nothing says which is the best"
    return verdict, f"; of several answers a row the best by {verdict.told} is learnt"


def _commonest(dicts: Sequence[Mapping[str, Any]], of: int) -> tuple[str, list[str]] | None:
    """Where no shape has most of the objects but each of them has one (each is read for what it is): the commonest."""
    keys: dict[str, list[str]] = {}
    for record in dicts:
        found = next(((name, key) for name, test in _TESTS if (key := test(record))), None)
        if found is not None:
            keys.setdefault(found[0], []).append(found[1])
    if sum(map(len, keys.values())) * 2 <= of:
        return None
    name = max(keys, key=lambda each: len(keys[each]))
    return name, keys[name]


def find_shape(records: Sequence[Any], section: DatasetSection, told: str = "") -> Shape:
    """What the objects of a file are, from a sample of them.

    Args:
        records: the first values of the file, parsed.
        section: `[dataset]`: columns that are told, the template.
        told: the name of a shape, where the configuration tells it; empty: judge.
    """
    if not records:
        return _refused("empty-file", "no value in it")
    dicts = [record for record in records if isinstance(record, dict)]
    for name, test in _TESTS:
        keys = [key for record in dicts if (key := test(record))]
        if told == name and not keys:
            return _refused("format", f"no {name}, which dataset.formats tells")
        if keys and (told == name or (not told and len(keys) * 2 > len(records))):
            return _named_shape(name, max(set(keys), key=keys.count), records, len(keys))
    if not told and (mixed := _commonest(dicts, len(records))) is not None:
        name, keys = mixed
        return _named_shape(name, max(set(keys), key=keys.count), records, len(keys))
    if told not in {"prompt-completion", "turns", "texts"} and (shape := _of_lists(records)) is not None:
        return shape
    if dicts and len(dicts) * 2 > len(records):
        shape = _of_columns(dicts, section)
        if told and shape.name != told:
            return _refused("format", f"not {told}, as dataset.formats tells, but {shape.evidence}")
        return shape
    kinds = sorted({type(record).__name__ for record in records})
    return _refused("values", f"a list of {', '.join(kinds)} values, no rows to learn from")


def _group(record: Mapping[str, Any], section: DatasetSection) -> str:
    for key in ("group", section.group_column):
        group = record.get(key) if key else None
        if isinstance(group, (str, int)) and not isinstance(group, bool) and str(group).strip():
            return str(group).strip()
    return ""


def _with_system(record: Mapping[str, Any], messages: list[Any]) -> list[Any]:
    system = record.get("system", record.get("system_prompt"))
    first = messages[0] if messages else None
    if not isinstance(system, str) or not system.strip():
        return messages
    if isinstance(first, dict) and first.get("role") == "system":
        return messages
    return [{"role": "system", "content": system}, *messages]


def _framed(record: Mapping[str, Any], messages: list[Any], section: DatasetSection) -> list[Any]:
    """The conversation behind the system prompt of its record, and the tools that the record defines."""
    framed = _with_system(record, messages)
    if section.tools == "text":
        framed = with_definitions(framed, definitions(record), section.system)
    return framed


def _chat(
    record: Mapping[str, Any],
    turns: Sequence[Any],
    keys: tuple[str, str],
    section: DatasetSection,
    group: str = "",
) -> Conversation:
    messages, cuts = chat_messages(turns, keys, section.tools)
    ordered, changes = in_order(messages)
    return Conversation(_framed(record, ordered, section), group, cuts=(*cuts, *changes))


def _certain(record: Mapping[str, Any]) -> tuple[str, str]:
    """The shape of one object that is unlike the others of its file; empty: none for sure."""
    return next(((name, key) for name, test in _TESTS if (key := test(record))), ("", ""))


def to_conversation(record: Any, shape: Shape, section: DatasetSection) -> Conversation:
    """One value of a file as a row.

    Raises:
        Unfit: with the reason.
        ConfigError: the template names a column that isn't there.
    """
    if isinstance(record, list):
        if shape.name == "text-label" and len(record) == 2:
            values = dict(zip(PAIR_COLUMNS, record, strict=True))
            return Conversation(column_messages(values, Mapped(*PAIR_COLUMNS), section).messages)
        if (keys := turn_keys(record)) is not None:
            return _chat({}, record, keys, section)
    if not isinstance(record, dict):
        raise Unfit("messages", f"a JSON {type(record).__name__}, not an object with `messages`")
    group = _group(record, section)
    name, key = shape.name, shape.key
    if name == "prompt-completion":
        assert shape.mapped is not None
        if shape.mapped.answer in record:
            made = column_messages(record, shape.mapped, section, shape.verdict)
            return Conversation(_with_system(record, made.messages), group, made.rejected, made.cuts)
    if not _key_of(name, record):
        name, key = _certain(record)
    elif key and key not in record:
        key = _key_of(name, record)
    if name == "preference":
        sides = find_sides(record)
        assert sides is not None
        messages, rejected, cuts = pair_row(record, sides, section.tools)
        return Conversation(_framed(record, messages, section), group, rejected, tuple(cuts))
    if name == "alpaca":
        made = alpaca_messages(record, key, shape.verdict)
        return Conversation(_with_system(record, made.messages), group, made.rejected)
    if name in {"messages", "sharegpt", "dialogue"}:
        turns = record.get(key)
        keys = turn_keys(turns)
        if keys is None or not isinstance(turns, list):
            return Conversation(turns, group)
        return _chat(record, turns, keys, section, group)
    if shape.name == "prompt-completion" and shape.mapped is not None:
        column_messages(record, shape.mapped, section)  # says which column is missing
    wanted = shape.key or "messages"
    there = ", ".join(map(repr, list(record)[:8])) or "none"
    raise Unfit("messages", f"no `{wanted}`; its keys are {there}{meant(wanted, record)}")
