"""From a conversation to the same without personal data, and one finding for each place that was looked at."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from appliance.dataset.redaction.conversation import Field, Placeholders, find_all, put_together, take_apart
from appliance.dataset.redaction.decisions import Decision, with_told
from appliance.dataset.redaction.finding import Options
from appliance.dataset.redaction.surrogates import Surrogates, normal

Mode = Literal["placeholder", "surrogate"]


@dataclass(frozen=True)
class Finding:
    """One place where personal data was found.

    Attributes:
        turn: number of the turn, from 1.
        key: the JSON key above it, empty in plain text.
        kind, start, end, score, why: as of `Span`; the places are of the turn's text, or of the JSON string's.
        value: what stood there. Never written unless it is asked for.
        done: `redact`: replaced; `keep`: a decision said so; `left`: a JSON number, which can't be replaced.
        replacement: what stands there now; empty unless it was replaced.
        value_id: the same for the same value of the dataset; tells nothing without the key.
        id: of this very place.
    """

    turn: int
    key: str
    kind: str
    start: int
    end: int
    score: float
    why: str
    value: str
    done: Literal["redact", "keep", "left"]
    replacement: str
    value_id: str
    id: str

    @property
    def masked(self) -> str:
        """The value's form: letters as `*`, digits as `#`; of words the first letter stays."""
        wordy = self.kind in {"name", "address", "email"}
        return re.sub(r"\d", "#", re.sub(r"(?<=[^\W\d_])[^\W\d_]" if wordy else r"[^\W\d_]", "*", self.value))

    def to_json(self, raw: bool = False) -> dict[str, Any]:
        """The finding as a line of the report; with the value itself only if `raw`."""
        names = (
            "id",
            "value_id",
            "turn",
            "key",
            "kind",
            "start",
            "end",
            "score",
            "why",
            "masked",
            "done",
            "replacement",
        )
        fields = {name: getattr(self, name) for name in names}
        return {**fields, "value": self.value} if raw else fields


@dataclass(frozen=True)
class Redacted:
    """A conversation after redaction, and what was found in it."""

    messages: list[dict[str, Any]]
    findings: list[Finding]


class Redactor:
    """Redacts conversations of one dataset.

    Args:
        mode: what stands in for what is found.
        key: secret bytes of the dataset; surrogates and ids of values come from it.
        options: what to look for.
        decisions: by a finding's or a value's id: a person's word that it stays, or what kind it is.
        own_system: a system prompt of the builder's own, which is no data and stays as it is.
    """

    def __init__(
        self,
        mode: Mode,
        key: bytes,
        options: Options,
        decisions: Mapping[str, Decision] | None = None,
        own_system: str = "",
    ) -> None:
        self._mode = mode
        self._key = key
        self._options = options
        self._decisions = decisions or {}
        self._own_system = own_system
        self._surrogates = Surrogates(key)

    def keyed(self, *parts: str) -> str:
        """16 hex digits that stand for `parts` and tell nothing of them without the key."""
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:16]

    def conversation(
        self,
        messages: Sequence[dict[str, Any]],
        fault: Callable[[str], str] = lambda _: "",
        told: Sequence[tuple[str, str, str]] = (),
    ) -> Redacted:
        """A conversation without what was found in it.

        JSON turns stay JSON: only string values change.

        Args:
            messages: cleaned turns.
            fault: what is wrong with the last answer after redaction, as a schema sees it; where placeholders
                break an answer, surrogates are tried.
            told: (column, kind, value) of the row's cells whose kind is told: replaced wherever the value stands.
        """
        options = with_told(self._options, told) if told else self._options
        redacted = self._redact(messages, self._mode, options)
        if self._mode == "placeholder" and redacted.findings and fault(str(redacted.messages[-1]["content"])):
            by_surrogates = self._redact(messages, "surrogate", options)
            if not fault(str(by_surrogates.messages[-1]["content"])):
                return by_surrogates
        return redacted

    def text(self, text: str) -> str:
        """One text, redacted as a conversation of one turn."""
        return str(self.conversation([{"role": "user", "content": text}]).messages[0]["content"])

    def _is_own(self, message: dict[str, Any]) -> bool:
        return message.get("role") == "system" and message["content"] == self._own_system

    def _redact(self, messages: Sequence[dict[str, Any]], mode: Mode, options: Options) -> Redacted:
        turns = take_apart(messages, self._is_own)
        find_all(turns, options)
        placeholders = Placeholders([turn.content for turn in turns])
        stand_in = placeholders.of if mode == "placeholder" else self._surrogates.of
        conversation = self.keyed(*(turn.content for turn in turns))
        findings: list[Finding] = []
        changed = []
        for turn, message in zip(turns, messages, strict=True):
            replaced: dict[int | None, str] = {}
            for part in turn.fields:
                text, found = self._apply(part, stand_in, conversation)
                findings += found
                if text != part.text:
                    replaced[part.place] = text
            content = put_together(turn, replaced)
            changed.append({**message, "content": content} if replaced else dict(message))
        return Redacted(changed, findings)

    def _apply(
        self, part: Field, stand_in: Callable[[str, str], str], conversation: str
    ) -> tuple[str, list[Finding]]:
        pieces: list[str] = []
        findings: list[Finding] = []
        taken = 0
        for span in part.spans:
            value = part.text[span.start : span.end]
            value_id = self.keyed("value", span.kind, normal(span.kind, value))
            place = "" if part.place is None else str(part.place)
            own_id = self.keyed("place", conversation, str(part.turn), place, str(span.start), span.kind)
            decision = self._decisions.get(own_id) or self._decisions.get(value_id)
            kind = decision.kind if decision is not None and decision.kind else span.kind
            kept = decision is not None and decision.decision == "keep"
            finding = Finding(
                part.turn, part.key, kind, span.start, span.end, span.score, span.why, value,
                "redact", "", value_id, own_id,
            )  # fmt: skip
            if kept or part.fixed:
                findings.append(replace(finding, done="keep" if kept else "left"))
                continue
            replacement = stand_in(kind, value)
            pieces += [part.text[taken : span.start], replacement]
            taken = span.end
            findings.append(replace(finding, replacement=replacement))
        return "".join(pieces) + part.text[taken:], findings
