"""Text into sentences, and the words of a sentence that carry its content. Pure; English unless said otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_END = re.compile(r"(?<=[.!?])[\"'”’)\]]{0,2}\s+(?=[\"'“‘(\[]{0,2}[A-Z0-9])")
_ABBREVIATED = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|approx|Mr|Mrs|Ms|Dr|St|No|Fig|Figs|Sec|Ch|Vol|pp|Inc|Ltd|Jr|Sr|U\.S"
    r"|U\.K|a\.m|p\.m)\."
    r"|\b[A-Z]\.)[\"'”’)\]]{0,2}\s+$"
)
_NUMBERING = re.compile(r"\d{1,3}\.\s+")
_LONGEST_ABBREVIATION = 16  # characters, with the signs and spaces behind it
_WORD = re.compile(r"[^\W_]+(?:['’´][^\W_]+)*")
_NUMBER = re.compile(r"\d+(?:[.,/:]\d+)*")


def word_set(text: str) -> frozenset[str]:
    """The words of a text as a set: for lists that are read more easily as lines of words."""
    return frozenset(text.split())


STOP = word_set(
    """a about above after again against all also am an and any are as at be because been before being below
    between both but by can could did do does doing done down during each either else even ever every few for
    from further get gets got had has have having he her here hers him his how however i if in into is it its
    itself just like made make makes many may me might more most much must my neither no nor not now of off
    often on once one only onto or other others our out over own per same shall she should since so some such
    than that the their theirs them then there these they this those though through thus to too toward under
    until up upon us use used uses using very was we were what when where whether which while who whom whose
    why will with within without would yet you your yours"""
)
_LEANING = word_set(
    """it its this that these those they them their theirs he she his her hers such there here then thus
    therefore however moreover furthermore otherwise instead also likewise similarly consequently hence
    additionally besides meanwhile nevertheless nonetheless both neither another others either again further
    finally next first second third lastly and or but so because although as which who whom whose for"""
)
_POINTING = re.compile(
    r"(?:\b(?:above|below)\b(?=\s*(?:[.,:;)]|$))"
    r"|\b(?:listed|shown|described|given|mentioned|see|as|the) (?:above|below)\b)"
    r"|\b(?:the following|as follows|aforementioned|previous(?:ly)?|this (?:section|chapter"
    r"|page|figure|table|guide|"
    r"document|manual|paragraph)|(?:see|in|refer to) (?:also |the )?(?:figures?|tables?|chapters?"
    r"|appendix|section)\b|earlier|"
    r"figures? \d|tables? \d|these (?:\w+ )?(?:are|steps|items)|here(?:'s| is| are))",
    re.IGNORECASE,
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a paragraph, in order; joined by a space they are the paragraph again, but for white space."""
    pieces: list[str] = []
    begin = 0
    for match in _END.finditer(text):
        # A look at the end is enough, and keeps a paragraph of initials from being looked through again and again.
        before = text[max(begin, match.end() - _LONGEST_ABBREVIATION) : match.end()]
        if _ABBREVIATED.search(before) or _NUMBERING.fullmatch(text, begin, match.end()):
            continue
        pieces.append(text[begin : match.end()].strip())
        begin = match.end()
    pieces.append(text[begin:].strip())
    return [piece for piece in pieces if piece]


def words(text: str) -> list[str]:
    """All words and numbers, case-folded."""
    return [match[0].casefold() for match in _WORD.finditer(text)]


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    """Plurals and simple endings off, so that `stings` meets `sting`; crude, the same for both sides."""
    for ending, least in (("'s", 3), ("’s", 3), ("ies", 5), ("ing", 6), ("ed", 5), ("es", 5), ("s", 4)):
        if word.endswith(ending) and len(word) >= least + len(ending) - 1:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


def content_words(text: str) -> set[str]:
    """Stems of the words that carry content: no stop words, no single letters; numbers count."""
    return {_stem(word) for word in words(text) if word not in STOP and (len(word) > 1 or word.isdigit())}


def numbers(text: str) -> set[str]:
    """Every number in the text, as it is written but for thousands' commas."""
    return {match[0].replace(",", "") for match in _NUMBER.finditer(text)}


def points_elsewhere(text: str) -> bool:
    """Whether a text speaks of its own place in a document: the above, this section, figure 3."""
    return bool(_POINTING.search(text))


def stands_alone(sentence: str) -> bool:
    """Whether a sentence can be read without what stands before it, as far as its words tell."""
    said = words(sentence)
    return bool(said) and said[0] not in _LEANING and not _POINTING.search(sentence)


def is_sentence(text: str) -> bool:
    """Whether a text begins like a sentence and ends like one."""
    return bool(re.match(r"[\"“'(]?[A-Z0-9]", text)) and text.rstrip("\"”’')]").endswith((".", "!", "?"))


def windows(pieces: list[str], limit: int) -> Iterator[str]:
    """Sentences joined into texts of at most `limit` characters; a longer sentence stands alone."""
    held = ""
    for piece in pieces:
        if held and len(held) + 1 + len(piece) > limit:
            yield held
            held = ""
        held = f"{held} {piece}" if held else piece
    if held:
        yield held
