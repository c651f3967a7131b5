"""A row of columns, or of Alpaca's fields, as a conversation of one question and one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.config import DatasetSection, ToolForm
from appliance.dataset.nearest import meant
from appliance.dataset.reading.candidates import Verdict, choose
from appliance.dataset.reading.chat_rows import chat_messages, roles_are_known, turn_keys
from appliance.dataset.reading.columns import Mapped, cell_text, fill_template, is_label
from appliance.dataset.reading.material import Cut, Unfit
from appliance.dataset.reading.turn_order import in_order


@dataclass(frozen=True)
class Made:
    """Messages, of several answers the worst, and what was changed of them; the latter two may be empty."""

    messages: list[Any]
    rejected: str = ""
    cuts: tuple[Cut, ...] = ()


def _parts(value: Any) -> str:
    """A text, or texts that belong together (passages), one under the other."""
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return "\n\n".join(value)
    return cell_text(value)


def _asked(value: Any, column: str) -> str:
    """What is asked.

    Raises:
        Unfit: it is several texts: the wordings of one question, or its parts.
    """
    if isinstance(value, list) and len(value) > 1 and all(isinstance(one, str) for one in value):
        raise Unfit(
            "content", f"`{column}` holds {len(value)} texts: make a row of each, or one text of them"
        )
    return cell_text(value)


def _answer(record: Mapping[str, Any], column: str, verdict: Verdict | None) -> tuple[str, str]:
    """The answer, and of several the worst.

    Raises:
        Unfit: several, and it isn't said which is the best.
    """
    value = record[column]
    if is_label(column) and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value), ""
    if (chosen := choose(record, column, verdict)) is not None:
        return chosen.answer, chosen.rejected
    return cell_text(value), ""


def _turns(record: Mapping[str, Any], mapped: Mapped, tools: ToolForm) -> Made | None:
    """A row whose answer is turns, with those of its prompt before them; None: it is none."""
    answer, prompt = record[mapped.answer], record.get(mapped.prompt)
    keys = turn_keys(answer)
    if keys is None or not roles_are_known(answer, keys[0]):
        return None
    before = [{keys[0]: "user", keys[1]: prompt}] if isinstance(prompt, str) else prompt
    if not isinstance(before, list) or (before and turn_keys(before) != keys):
        raise Unfit(
            "messages", f"`{mapped.answer}` holds turns, and `{mapped.prompt}` neither turns nor a text"
        )
    messages, cuts = chat_messages([*before, *answer], keys, tools)
    ordered, changes = in_order(messages)
    return Made(ordered, "", (*cuts, *changes))


def column_messages(
    record: Mapping[str, Any], mapped: Mapped, section: DatasetSection, verdict: Verdict | None = None
) -> Made:
    """A row of columns as a conversation of one question and one answer; turns in place of texts are taken as such.

    Args:
        record: its values by their columns.
        mapped: what is in which column.
        section: `[dataset]`: the template.
        verdict: what says which of several answers is the best.

    Raises:
        Unfit: a column is missing or empty, or the row says that its answer isn't wanted, or not which it is.
        ConfigError: the template names a column that isn't there.
    """
    for column in filter(None, (mapped.prompt, mapped.answer)):
        if column not in record:
            keys = ", ".join(map(repr, list(record)[:8]))
            raise Unfit("columns", f"no `{column}`; its keys are {keys}{meant(column, record)}")
    if record.get("label") is False and mapped.answer != "label":
        raise Unfit("unwanted", "its `label` is false: the answer isn't one to learn")
    if (made := _turns(record, mapped, section.tools)) is not None:
        return made
    answer, rejected = _answer(record, mapped.answer, verdict)
    values = {str(name): cell_text(value) for name, value in record.items()}
    values[mapped.answer] = answer
    prompt = _asked(record[mapped.prompt], mapped.prompt) if mapped.prompt else ""
    if mapped.prompt and not prompt.strip():
        raise Unfit("empty", f"column `{mapped.prompt}` is empty")
    if not answer.strip():
        raise Unfit("empty", f"empty answer (column `{mapped.answer}`)")
    above = [text for column in mapped.context if (text := _parts(record.get(column))).strip()]
    prompt = "\n\n".join([*above, prompt])
    filled = fill_template(section.prompt_template, {**values, "prompt": prompt})
    return Made([{"role": "user", "content": filled}, {"role": "assistant", "content": answer}], rejected)


def _history(record: Mapping[str, Any]) -> list[dict[str, str]]:
    turns = record.get("history")
    earlier: list[dict[str, str]] = []
    for turn in turns if isinstance(turns, list) else []:
        if isinstance(turn, (list, tuple)) and len(turn) == 2:
            earlier += [
                {"role": "user", "content": str(turn[0])},
                {"role": "assistant", "content": str(turn[1])},
            ]
    return earlier


def alpaca_messages(record: Mapping[str, Any], key: str, verdict: Verdict | None = None) -> Made:
    """A row of Alpaca's fields, `key` the answer's.

    Raises:
        Unfit: several instructions, or several answers and it isn't said which is the best.
    """
    extra = _parts(record.get("input")).strip()
    prompt = _asked(record.get("instruction"), "instruction")
    if extra and extra.lower() not in {"<noinput>", "nan", "n/a"}:
        prompt = f"{prompt}\n\n{extra}" if prompt.strip() else extra
    answer, rejected = _answer(record, key, verdict) if key in record else ("", "")
    messages = [
        *_history(record),
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": answer},
    ]
    return Made(messages, rejected)
