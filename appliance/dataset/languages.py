"""Which language a text is in, by its script and its small words; short or mixed texts are of none. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from appliance.dataset.language_words import SCRIPTS, WORDS

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_MOST_CHARACTERS = 4000
_SCRIPT_CHARACTERS = 1000  # of a text that tell its script
_LEAST_HITS = 3.0
_LEAST_DIFFERENT = 4
_LEAST_SHARE = 0.12  # of the words; prose has about 0.4, code and lists of names hardly any
_LEAD = 1.4  # over the next language
_LISTS = {code: frozenset(text.split()) for code, text in WORDS.items()}
_CODES: dict[str, tuple[str, ...]] = {}
for _code, _list in _LISTS.items():
    for _word in _list:
        _CODES[_word] = (*_CODES.get(_word, ()), _code)


@lru_cache(maxsize=65536)
def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0].partition("-")[0]


def language_of(text: str) -> str:
    """The code of a text's language (ISO 639-1); empty where too little tells.

    Scripts of one language tell at once; for Latin and Cyrillic the small words are counted, and the leading language
    must have enough of them and be well ahead of the next.
    """
    piece = text[:_MOST_CHARACTERS]
    letters = Counter(_script(character) for character in piece[:_SCRIPT_CHARACTERS] if character.isalpha())
    total = letters.total()
    if total < 4:
        return ""
    if letters["HIRAGANA"] + letters["KATAKANA"] > 0.1 * total:
        return "ja"
    script, count = letters.most_common(1)[0]
    if script in SCRIPTS:
        return SCRIPTS[script] if count > 0.6 * total and count >= 6 else ""
    hits: dict[str, float] = {}
    different: dict[str, set[str]] = {}
    said = [word.replace("’", "'") for word in _WORD.findall(piece.casefold())]
    for word in said:
        codes = _CODES.get(word, ())
        for code in codes:
            # A word of one list alone counts most: that tells relatives (Danish, Norwegian) apart.
            hits[code] = hits.get(code, 0.0) + 1 / len(codes)
            if len(word) > 1:  # single letters are options and names of things too
                different.setdefault(code, set()).add(word)
    if not hits:
        return ""
    code, *others = sorted(hits, key=lambda each: -hits[each])
    if len(different.get(code, ())) < _LEAST_DIFFERENT or hits[code] < max(
        _LEAST_HITS, _LEAST_SHARE * len(said)
    ):
        return ""
    if others and hits[code] < _LEAD * hits[others[0]]:
        return ""
    return code
