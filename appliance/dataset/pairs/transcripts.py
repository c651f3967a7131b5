"""A transcript into conversations of two sides, and those into rows: whole where they fit, else in windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.config import PairsSection
from appliance.dataset.lengths import CountTokens
from appliance.dataset.pairs.noise import gives_thanks, is_noise, topic_words
from appliance.dataset.pairs.pair import Messages, Tally, place_of
from appliance.dataset.pairs.speakers import Sides
from appliance.dataset.pairs.threads import is_question, threads
from appliance.dataset.pairs.times import Clock
from appliance.dataset.reading.material import Transcript, Turn
from appliance.storage import sha256_json

_LEAST_ANSWER_WORDS = 3
_CONTEXT_SHARE = 3  # the context of a window takes at most one part in so many of its tokens


@dataclass(frozen=True)
class Conversation:
    """A conversation of a user's and an assistant's side, in turn, the user first and the assistant last.

    Attributes:
        file: name relative to the project.
        group: of its rows.
        messages: with roles `user` and `assistant`.
        lines: where each begins.
    """

    file: str
    group: str
    messages: tuple[dict[str, Any], ...]
    lines: tuple[int, ...]


def _joined(turns: Sequence[tuple[str, str, int]]) -> tuple[Messages, list[int]]:
    """Consecutive turns of one side as one, from the first of the user to the last of the assistant."""
    messages: Messages = []
    lines: list[int] = []
    for role, text, line in turns:
        if messages and messages[-1]["role"] == role:
            if text in str(messages[-1]["content"]).split("\n"):
                continue  # who gets no answer asks again
            messages[-1] = {"role": role, "content": f"{messages[-1]['content']}\n{text}"}
        elif messages or role == "user":
            messages.append({"role": role, "content": text})
            lines.append(line)
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
        lines.pop()
    return messages, lines


def _stretches(turns: Sequence[Turn], gap: float) -> Iterator[list[Turn]]:
    """The turns, parted where nobody spoke for more than `gap` minutes."""
    clock = Clock()
    held: list[Turn] = []
    last: float | None = None
    for turn in turns:
        now = clock.read(turn.time) if turn.time else None
        if held and now is not None and last is not None and now - last > gap:
            yield held
            held = []
        held.append(turn)
        last = now if now is not None else last
    if held:
        yield held


def _two_sided(
    transcript: Transcript, sides: Sides, section: PairsSection, tally: Tally
) -> Iterator[Conversation]:
    for number, stretch in enumerate(_stretches(transcript.turns, section.gap_minutes)):
        said = [turn for turn in stretch if turn.speaker and not is_noise(turn)]
        others = {turn.speaker for turn in said if turn.speaker not in sides.names}
        turns = []
        for turn in said:
            assistant = turn.speaker in sides.names
            # Where several speak on the user's side, who says what is part of what is said.
            text = f"{turn.speaker}: {turn.text}" if not assistant and len(others) > 1 else turn.text
            turns.append(("assistant" if assistant else "user", text, turn.line))
        messages, lines = _joined(turns)
        if not messages:
            tally.drop("no-answer", transcript.file, stretch[0].line, stretch[0].text)
            continue
        group = sha256_json([place_of(transcript.file), transcript.name, transcript.line, number])[:16]
        yield Conversation(transcript.file, group, tuple(messages), tuple(lines))


def _threaded(transcript: Transcript, section: PairsSection, tally: Tally) -> Iterator[Conversation]:
    for asker, _, turns in threads(transcript.turns, section.reply_turns):
        messages, lines = _joined(turns)
        answers = [str(message["content"]) for message in messages if message["role"] == "assistant"]
        if not messages:
            continue
        if max(len(answer.split()) for answer in answers) < _LEAST_ANSWER_WORDS:
            tally.drop("short-answer", transcript.file, lines[0], f"{messages[0]['content']} → {answers[0]}")
            continue
        if all(is_question(answer) and answer.rstrip().endswith("?") for answer in answers):
            tally.drop("asks-back", transcript.file, lines[0], f"{messages[0]['content']} → {answers[0]}")
            continue
        asked = str(messages[0]["content"])
        if gives_thanks(answers[0]) or not topic_words(asked) or len(topic_words(" ".join(answers))) < 3:
            tally.drop("no-help", transcript.file, lines[0], f"{asked} → {answers[0]}")
            continue
        # All that one person asks stays together: they ask the same again when nobody answers.
        group = sha256_json([place_of(transcript.file), asker])[:16]
        yield Conversation(transcript.file, group, tuple(messages), tuple(lines))


def conversations(
    transcript: Transcript, sides: Sides, section: PairsSection, tally: Tally
) -> Iterator[Conversation]:
    """The conversations of a transcript, parted by silences or by who speaks to whom."""
    if sides.how == "threads":
        yield from _threaded(transcript, section, tally)
    elif sides.names:
        yield from _two_sided(transcript, sides, section, tally)


def rows_of(
    conversation: Conversation, window: int, limit: int, count: CountTokens
) -> Iterator[tuple[Messages, int]]:
    """(messages, line) of the rows of a conversation.

    Every assistant's turn of a row is learnt. So a conversation that fits is one row, which learns each turn once;
    a longer one is cut, and each piece after the first begins with up to `window` turns from before the cut.

    Args:
        conversation: of two sides.
        window: turns of context.
        limit: tokens of a row.
        count: of tokens.
    """
    messages, lines = list(conversation.messages), conversation.lines
    (whole,) = count([messages])
    if whole <= limit:
        yield messages, lines[0]
        return
    sizes = count([[message] for message in messages])
    begin = 0
    while begin < len(messages):
        end, size = begin, 0
        context = _context(sizes, begin, window, limit // _CONTEXT_SHARE)
        size = sum(sizes[context:begin])
        while end + 1 < len(messages) and size + sizes[end] + sizes[end + 1] <= limit:
            size += sizes[end] + sizes[end + 1]
            end += 2
        if end == begin:  # one exchange that is too long even without context: told as too long later
            context, end = begin, begin + 2
        yield messages[context:end], lines[begin]
        begin = end


def _context(sizes: Sequence[int], begin: int, window: int, limit: int) -> int:
    """Where the context of a piece begins: whole exchanges, at most `window` turns and `limit` tokens."""
    context = begin
    while begin - (context - 2) <= window and context >= 2 and sum(sizes[context - 2 : begin]) <= limit:
        context -= 2
    return context
