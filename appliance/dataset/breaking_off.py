"""Whether an answer stops where nothing can stop: inside code, JSON, a bracket or a sentence. Pure.

Judged by the answer alone. Which words end no sentence is known; that others are missing behind a word that can end
one isn't.
"""

from __future__ import annotations

import json
import re

from appliance.dataset.languages import language_of

_LEAST_WORDS = 4  # fewer are a label, a name or a piece of speech
_LEAST_PROSE = 80  # characters from which a word counts that ends a sentence now and then
# Behind it nothing stops; but for idioms, and for letters that name something (`option a`).
_NEVER_LAST = re.compile(
    r"(?:\b(?:the|an|and|or|than|my|your|our|their|its|whose|every)"
    r"|(?<!nothing )(?<!anything )(?<!everything )(?<!all )\bbut"
    r"|(?<!just )\bbecause|(?<!what )(?<!as )(?<!only )\bif"
    r"|\b(?:clear|obvious|means|ensure|ensures|fact|indicates|suggests|such) that"
    r"|(?<!type )(?<!option )(?<!plan )(?<!part )(?<!group )(?<!class )(?<!grade )(?<!vitamin )(?<!section )"
    r"(?<!answer )(?<!point )(?<!hepatitis )(?<!influenza )(?<= )a)\Z"
)
_SELDOM_LAST = re.compile(r"\b(?:of|to|with|for|from|by|as|into|is|are|was|were|which|that)\Z")
# "whom you came with", "anything I can help with": the word stands last because of one before it.
_LEFT_BEHIND = re.compile(
    r"\b(?:what|whatever|who|whom|which|where|how|that|(?:any|some|no|every)(?:thing|one|body|where)|to)\b",
    re.I,
)
_OTHER_LANGUAGES = {
    "de": "und oder der dem den des ein eine einen einer weil dass",
    "fr": "et ou le la les de du des un une que",
    "es": "y o el la los las de del un una que",
    "it": "e o il lo la i gli di del della un una che",
    "nl": "en of de het een omdat",
    "pt": "e ou o os as de do da um uma que",
}
_EARLIER_END = re.compile(r"[.!?][\"”’)]?\s+(?=\S)")
_OPENED = re.compile(r"(?:(?<![:;=8xX-])[(\[{]|[“„«])\Z")  # not the mouth of a face
_DASH = re.compile(r"\w ?[–—]\Z")


def _breaks_structure(text: str) -> bool:
    """Whether code or JSON isn't closed."""
    if text.count("```") % 2:
        return True
    if text.startswith(("{", "[")) and not text.endswith(("}", "]")):
        try:
            json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            return text.startswith(('{"', '[{"'))
    return False


def _last_word_wants_more(text: str) -> bool:
    *earlier, sentence = _EARLIER_END.split(text)
    if _NEVER_LAST.search(text):
        return True
    if len(text) < _LEAST_PROSE:
        return False
    if earlier and (match := _SELDOM_LAST.search(sentence)):
        return not _LEFT_BEHIND.search(sentence[: match.start()])
    last = text.rpartition(" ")[2]
    if not any(last in words.split() for words in _OTHER_LANGUAGES.values()):
        return False
    return last in _OTHER_LANGUAGES.get(language_of(text), "").split()


def is_truncated(answer: str) -> bool:
    """Whether an answer breaks off.

    Args:
        answer: cleaned or not.
    """
    text = answer.rstrip()
    if _breaks_structure(text):
        return True
    last_line = text.rpartition("\n")[2]
    if len(text.split()) < _LEAST_WORDS:
        return False
    if _OPENED.search(text) or (text.endswith(' "') and text.count('"') % 2) or _DASH.search(text):
        return True
    if text.endswith(","):
        # A line of few words by itself takes leave: "Looking forward to it,".
        # And `a,b,` is a command's list.
        if "," in last_line.split()[-1][:-1]:
            return False
        return "\n" not in text or len(last_line.split()) > 2 * _LEAST_WORDS
    return text[-1].isalpha() and _last_word_wants_more(text)
