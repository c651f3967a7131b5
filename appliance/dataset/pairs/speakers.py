"""Whose turns are learnt: told by the configuration, told by roles, or guessed from who is in every conversation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from appliance.dataset.pairs.noise import is_noise
from appliance.dataset.pairs.sentences import word_set
from appliance.dataset.reading.material import Transcript, Turn

How = Literal["told", "role", "everywhere", "answers", "threads", "nobody"]
_ASSISTANT_WORDS = word_set(
    """agent assistant bot chatbot support operator advisor adviser representative rep helpdesk csr gpt
    consultant expert tutor teacher doctor therapist counselor counsellor librarian clerk specialist
    technician moderator service system answerer helper staff berater kundenservice conseiller agente
    asistente soporte"""
)
_USER_WORDS = word_set(
    """user customer client caller human visitor patient student guest member shopper passenger buyer applicant
    seeker asker kunde cliente usuario utilisateur consumer requester prompter"""
)
_WORDS = re.compile(r"[^\W\d_]+")
_ROLE_FIELDS = re.compile(
    r"(?:^|_|\b)(?:role|type|side|party|participant|author_?role|speaker_?type)$", re.IGNORECASE
)
_EVERYWHERE = 0.6
_LEAST_CONVERSATIONS = 3


@dataclass(frozen=True)
class Sides:
    """Who is the assistant in a transcript.

    Attributes:
        names: the speakers whose turns are learnt; empty: nobody's, or in `threads` whoever answers.
        how: how it was found.
    """

    names: frozenset[str]
    how: How


def roles_of(turn: Turn) -> list[str]:
    """The speaker's name, and what columns of roles say."""
    return [turn.speaker, *(value for key, value in turn.fields.items() if _ROLE_FIELDS.search(key))]


def _has_word(name: str, known: frozenset[str]) -> bool:
    return any(word in known for word in _WORDS.findall(name.casefold()))


@dataclass
class Speakers:
    """What the whole collection tells of its speakers, and the decision for each transcript.

    Attributes:
        patterns: `dataset.pairs.assistant`, case-folded.
        conversations: how many had two speakers.
        present: in how many of those each name spoke.
    """

    patterns: Sequence[str] = ()
    conversations: int = 0
    present: Counter[str] = field(default_factory=Counter)

    def see(self, transcript: Transcript) -> None:
        """Count a transcript."""
        names = {turn.speaker for turn in transcript.turns if turn.speaker and turn.kind == "said"}
        if len(names) == 2:
            self.conversations += 1
            self.present.update(names)

    def _told(self, turn: Turn) -> bool:
        return any(
            fnmatchcase(role.casefold(), pattern.casefold())
            for role in roles_of(turn)
            for pattern in self.patterns
        )

    def sides(self, transcript: Transcript) -> Sides:
        """Whose turns of a transcript are learnt."""
        said = [turn for turn in transcript.turns if turn.speaker and not is_noise(turn)]
        names = dict.fromkeys(turn.speaker for turn in said)
        if len(names) < 2:
            return Sides(frozenset(), "nobody")
        if self.patterns:
            told = frozenset(turn.speaker for turn in said if self._told(turn))
            return Sides(told, "told") if told and len(told) < len(names) else Sides(frozenset(), "nobody")
        assistants = frozenset(
            turn.speaker for turn in said if any(_has_word(role, _ASSISTANT_WORDS) for role in roles_of(turn))
        )
        users = frozenset(
            turn.speaker for turn in said if any(_has_word(role, _USER_WORDS) for role in roles_of(turn))
        )
        if len(names) <= 4 and assistants - users and len(assistants - users) < len(names):
            return Sides(assistants - users, "role")
        if len(names) == 2 and len(users) == 1:
            return Sides(frozenset(names) - users, "role")
        if len(names) == 2:
            return self._of_two(list(names), said)
        return Sides(frozenset(), "threads")

    def _of_two(self, names: list[str], said: Sequence[Turn]) -> Sides:
        if self.conversations >= _LEAST_CONVERSATIONS:
            often = [name for name in names if self.present[name] >= _EVERYWHERE * self.conversations]
            if len(often) == 1:
                return Sides(frozenset(often), "everywhere")
        # Who is asked more often than they ask; on a tie who didn't begin.
        asked = Counter(turn.speaker for turn in said if turn.text.rstrip().endswith("?"))
        return Sides(frozenset([min(reversed(names), key=lambda name: asked[name])]), "answers")


def told(how: How, names: Sequence[str]) -> str:
    """A guess in words, for the warning that shows it; empty where nothing was guessed."""
    listed = ", ".join(names)
    mend = "[dataset.pairs] assistant names whose turns are to be learnt"
    return {
        "role": f"taken for the assistant's side by the role: {listed}; {mend}",
        "everywhere": f"taken for the assistant's side, for being in nearly every conversation: {listed}; {mend}",
        "answers": f"guessed to be the assistant's side, for asking less: {listed}; {mend}",
        "threads": f"a conversation of many, nobody the assistant: what answers a question is learnt; {mend}",
    }.get(how, "")
