"""What a passage is called in a question: its heading, and where that says little, also what it stands under. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath

from appliance.dataset.pairs.passages import Passage, shown_title
from appliance.dataset.pairs.sentences import word_set

_GENERIC = word_set(
    """about additional advice appendix aside assumptions background basics best conclusion considerations
    contents description details details discussion example examples faq features final format further future
    general goals guidance guidelines help how important information instructions introduction items key links
    list main methods misc miscellaneous more motivation name next note notes options other others overview
    practices prerequisites procedure procedures process purpose questions recommendations references related
    remarks requirements resources responsibilities results rules scope see setup standard standards steps
    strategies strategy structure summary support terms tips tools topics types usage use uses warning
    warnings what when where who why and the of for a to"""
)
_IMPERATIVE = word_set(
    """add allow apply ask assign avoid be become begin bring build call change check choose clean clone close
    collect come complete configure connect consider contact copy create decide define delete deploy determine
    develop discuss do document don't download edit enable ensure enter evaluate explain figure file fill find
    follow gather get give go have help identify import include install invite join keep know learn leave let
    list look make manage mark meet merge move navigate note notify obtain offer open organize pack plan
    practice prepare provide publish put read register remember remove report request require respect respond
    review run save schedule search select send set share show sign specify start stay stop submit take talk
    tell test think track train try turn type understand update upload use verify view visit wait watch work
    write"""
)
_ASKING = word_set(
    """how what what's which who whom whose where when why is are was were can could do does did should must may
    might will would has have am i my if wie was wer wo wann warum kann comment que quoi où quand pourquoi qué
    cómo quién dónde cuándo por"""
)
_NO_NAME = word_set(
    """how what when where why who if step play for with in on at by to from of after before during as and or but not no
    your my our their its this that these those"""
)
_NOT_ASKED = frozenset(
    ("conclusion", "conclusions", "references", "see also", "further reading", "contents", "changelog")
)
_MOST_PLACE_WORDS = 14
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_GERUND = re.compile(r"^[A-Z]?[a-z]{2,}ing\b")
_HOW = re.compile(r"^how (?:to|do i|do you|can i|should i)\s+(.+)$", re.IGNORECASE)
_FINITE = re.compile(
    r"\b(?:is|are|was|were|do|does|did|can|should|must|will|has|have|may|might|isn't|aren't|I|we|you)\b"
)


def _says_little(title: str) -> bool:
    said = re.findall(r"[^\W\d_]+", title.casefold())
    return not said or all(word in _GENERIC for word in said) or (len(said) == 1 and len(said[0]) < 4)


def lowered(title: str) -> str:
    """A title inside a sentence: its first letter small, unless the word is a name or an abbreviation."""
    plain = shown_title(title)
    head, _, rest = plain.partition(" ")
    if len(head) > 1 and head[1:].islower() and head.isalpha() and (not rest or not _is_titled(rest)):
        return plain[:1].lower() + plain[1:]
    if len(head) > 1 and head[1:].islower() and _is_titled(rest) and _all_titled(plain):
        return (
            plain.lower()
            if not any(len(word) > 1 and not word[1:].islower() for word in plain.split())
            else plain
        )
    return plain


def _is_titled(text: str) -> bool:
    return any(word[:1].isupper() for word in text.split())


def _all_titled(text: str) -> bool:
    """Whether the capitals are a title's rather than a name's."""
    return all(word[:1].isupper() or len(word) <= 4 for word in text.split())


def document_title(passage: Passage) -> str:
    """The document's title as questions show it; one that is made of its file's name in words."""
    return _document_title(passage.file, passage.title)


@lru_cache(maxsize=256)
def _document_title(file: str, title: str) -> str:
    return shown_title(_HUMP.sub(" ", title) if title == PurePosixPath(file).stem else title)


def heading_of(passage: Passage) -> str:
    """The innermost heading as it is shown; empty where there is none but the document's title."""
    for heading in reversed(passage.headings):
        shown = shown_title(heading)
        if shown.isupper() and shown not in passage.text and shown.casefold() in passage.text.casefold():
            shown = shown.capitalize()  # shouted, as its text shows: no abbreviation
        return "" if shown.casefold() == document_title(passage).casefold() else shown
    return ""


def place_of(passage: Passage) -> str:
    """Where a passage stands, for a question that quotes: the heading, and what it lies under where it says little."""
    titles = [shown_title(heading) for heading in passage.headings]
    if not titles or titles[-1].casefold() == document_title(passage).casefold():
        return ""
    if (
        _says_little(titles[-1])
        and len(titles) > 1
        and titles[-2].casefold() != document_title(passage).casefold()
    ):
        return f"{titles[-2]}: {titles[-1]}"
    return titles[-1]


def how_to(heading: str) -> str:
    """What a heading `How to …` or `How do I …` tells how to do; empty for any other."""
    match = _HOW.match(shown_title(heading).rstrip("?"))
    return match[1] if match else ""


def is_question(heading: str) -> bool:
    """Whether a heading is a question that stands by itself: as in a list of frequent questions."""
    plain = shown_title(heading)
    if plain.endswith("？"):
        return len(plain) >= 5
    said = plain.casefold().replace("’", "'").split()
    return plain.endswith("?") and len(said) >= 3 and (not plain.isascii() or said[0] in _ASKING)


def can_be_named(heading: str) -> bool:
    """Whether `tell me about HEADING` is a sentence: a name of a thing or a doing, not an order or a clause."""
    plain = shown_title(heading)
    said = plain.split()
    if not said or len(said) > 7 or _says_little(plain) or _FINITE.search(plain) or plain.endswith("?"):
        return False
    if any(mark in plain for mark in ':;/()[]{}<>="“”#@|,'):
        return False
    if _GERUND.match(plain):
        return True
    first = said[0].casefold()
    return first not in _IMPERATIVE and first not in _NO_NAME


def topic_questions(passage: Passage) -> list[str]:
    """Wordings that ask for all that a section tells; none where it has no name of its own."""
    place, title = place_of(passage), document_title(passage)
    heading = heading_of(passage)
    if heading.casefold() in _NOT_ASKED:
        return []
    if (
        not place
        or not heading
        or len(place.split()) > _MOST_PLACE_WORDS
        or heading.endswith((".", ",", ";"))
    ):
        return []
    if is_question(heading):
        # A question may lean on its document ("Who approves it?"), so one wording names that.
        return [heading, f"{heading} ({title})", f'"{title}": {heading}']
    if doing := how_to(heading):
        return [
            f"How do I {doing}?",
            f"How to {doing}?",
            f"What is the way to {doing}?",
            f"{title}: how do I {doing}?",
        ]
    quoted = [
        f'What does "{title}" say about "{place}"?',
        f'"{place}" in "{title}": what should I know?',
        f'Explain "{place}" as "{title}" does.',
        f'What is there to know about "{place}" ("{title}")?',
    ]
    if can_be_named(heading):
        name = lowered(heading)
        return [
            quoted[0],
            f"Tell me about {name} ({title}).",
            f"What should I know about {name} ({title})?",
            f"{title}: what about {name}?",
        ]
    return quoted
