"""Chats as people have them put in order: greetings before a question and thanks after an answer go. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.dataset.reading.material import Cut

_SHOWN = 80  # characters of what was left out


def turn_text(content: Any) -> str | None:
    """The text of a turn's `content`, text or a list of text parts; None: it is something else."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return None
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    kinds = {part.get("type") if isinstance(part, dict) else None for part in content}
    return (
        "".join(map(str, texts))
        if kinds <= {"text"} and all(isinstance(text, str) for text in texts)
        else None
    )


def _quoted(texts: Sequence[str]) -> str:
    text = " ".join(" ".join(texts).split())
    return f"“{text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}”"


def _turns(count: int, of: str = "") -> str:
    return f"{count} {of}{' ' if of else ''}turn{'s' if count > 1 else ''}"


def _merged(turns: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[Cut]]:
    """Turns of one side that follow each other as one, line by line; who says the same again says it once."""
    result: list[tuple[str, str]] = []
    joined: list[str] = []
    for role, text in turns:
        if not result or result[-1][0] != role:
            result.append((role, text))
            continue
        joined.append(text)
        before = result[-1][1]
        if text.strip() and text.strip() not in {before.strip(), *before.split("\n")}:
            result[-1] = (role, f"{before}\n{text}" if before.strip() else text)
    if not joined:
        return result, []
    text = f"{_turns(len(joined))} put to the one before, of the same side: {_quoted(joined)}"
    return result, [("merged", text)]


def in_order(messages: Sequence[Any]) -> tuple[list[Any], list[Cut]]:
    """A conversation from the user's first turn to the assistant's last, the sides in turn, and what that changed.

    A conversation that is in order already comes back as it is. So does one that can't be put in order (nothing would
    be left; a turn is empty, no text or of an unknown role; a late system turn): who checks it names its first fault.

    Args:
        messages: in OpenAI's form, not checked.
    """
    turns: list[tuple[str, str]] = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        text = turn_text(message.get("content")) if isinstance(message, dict) else None
        if role not in {"system", "user", "assistant"} or text is None:
            return list(messages), []
        turns.append((role, text))
    frame = next((place for place, (role, _) in enumerate(turns) if role != "system"), len(turns))
    first = next((place for place, (role, _) in enumerate(turns) if role == "user"), len(turns))
    last = max((place for place, (role, _) in enumerate(turns) if role == "assistant"), default=-1)
    if first > last or any(role == "system" for role, _ in turns[frame:]):
        return list(messages), []
    cuts: list[Cut] = []
    if first > frame:
        shown = _quoted([text for _, text in turns[frame:first]])
        cuts.append(("beginning", f"{_turns(first - frame, 'assistant')} before the first question: {shown}"))
    if left := turns[last + 1 :]:
        shown = _quoted([text for _, text in left])
        cuts.append(("ending", f"{_turns(len(left), 'user')} after the last answer: {shown}"))
    kept, merged = _merged([*turns[:frame], *turns[first : last + 1]])
    cuts += merged
    if not cuts or not all(text.strip() for _, text in kept):
        return list(messages), []
    return [{"role": role, "content": text} for role, text in kept], cuts
