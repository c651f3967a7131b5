"""Names of persons, by lists, by how words are written and by what stands around them; no model.

Two ways, by the text. Where upper case means something, runs of capitalised words are scored. Where it means nothing
(chat), names are what introductions introduce, and words that are common names and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from appliance.dataset.redaction import name_words as around
from appliance.dataset.redaction.gazetteers import Gazetteers, gazetteers
from appliance.dataset.redaction.spans import Span
from appliance.dataset.redaction.words_of import Word, minds_case, words_of

_LONGEST = 5  # words of one name
_BEFORE, _AFTER = 48, 40
_PLAIN_RANK = 16_000  # rarer words of the lists are names of persons and places as often as not


def find_names(text: str, before: str = "") -> Iterator[Span]:
    """Names of persons.

    Args:
        text: where to look.
        before: what was said before it: a question that a bare name answers.
    """
    words = words_of(text)
    if not words:
        return
    lists = gazetteers()
    if minds_case(text):
        yield from _written(text, before, words, lists)
    yield from _introduced(text, before, words, lists, minds_case(text))


# --- where capitals mean something -------------------------------------------------------------------------------


def _joins(text: str, left: Word, right: Word) -> bool:
    """Whether two neighbouring words may be of one name: a blank between them, or an initial's full stop."""
    between = text[left.end : right.start]
    if left.possessive:
        return False
    return between in {" ", "  "} or (between in {". ", "."} and len(left.text) <= 2 and left.capital)


def _runs(text: str, words: list[Word], lists: Gazetteers) -> Iterator[list[Word]]:
    """Capitalised words side by side, with particles and initials between them."""
    run: list[Word] = []
    for place, word in enumerate(words):
        follows = bool(run) and _joins(text, run[-1], word)
        if run and not follows:
            yield run
            run = []
        plain = _is_plain(word, lists)
        if (word.capital and not plain) or (
            run
            and word.lower in around.PARTICLES
            and place + 1 < len(words)
            and _joins(text, word, words[place + 1])
            and (words[place + 1].capital or words[place + 1].lower in around.PARTICLES)
        ):
            run.append(word)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _is_plain(word: Word, lists: Gazetteers) -> bool:
    """Whether a capitalised word breaks a run: no name's, or a plain word that no list of names holds."""
    if word.lower in around.NO_NAME:
        return True
    named = word.lower in lists.first_names or word.lower in lists.last_names
    if len(word.text) == 1:
        return word.lower == "i"
    return lists.is_word(word.lower, 1500 if named else _PLAIN_RANK) and not lists.is_first(word.lower)


def _starts_sentence(text: str, word: Word) -> bool:
    place = word.start
    while place and text[place - 1] in " \t\"'“‘([*>-":
        place -= 1
    return not place or text[place - 1] in ".!?\n:;"


def _written(text: str, before: str, words: list[Word], lists: Gazetteers) -> Iterator[Span]:
    for run in _runs(text, words, lists):
        while run and run[-1].lower in around.PARTICLES and not run[-1].capital:
            run = run[:-1]
        while len(run) > 1 and around.TITLE_BEFORE.fullmatch(f"{run[0].lower} "):
            run = run[1:]
        if run and len(run[0].text) == 1 and len(run) == 1:
            continue
        if run and len(run) <= _LONGEST:
            score, why = _score(text, before, run, lists)
            if score >= 0.3:
                yield Span(run[0].start, run[-1].end, "name", round(min(score, 0.95), 2), why)


def _alone_on_line(text: str, run: list[Word]) -> bool:
    start, end = run[0].start, run[-1].end
    while start and text[start - 1] != "\n" and text[start - 1].isspace():
        start -= 1
    while end < len(text) and text[end] in " ,\t":
        end += 1
    begins = not start or text[start - 1] == "\n"
    return begins and (end == len(text) or text[end] == "\n") and "\n" in text


def _score(text: str, before: str, run: list[Word], lists: Gazetteers) -> tuple[float, str]:
    """How likely a run of capitalised words is a person, and the strongest reason."""
    solid = [word for word in run if word.capital and len(word.text) > 1]
    initials = sum(len(word.text) == 1 for word in run)
    firsts = [word for word in solid if lists.is_first(word.lower)]
    weak_firsts = [word for word in solid if word.lower in lists.first_names and word not in firsts]
    lasts = [word for word in solid if word.lower in lists.last_names]
    unknown = [word for word in solid if not _listed(word.lower, lists)]
    whole = text[run[0].start : run[-1].end].lower()
    is_place = whole in lists.places
    shouted = any(word.shouted and len(word.text) > 1 for word in solid)
    said = text[max(0, run[0].start - _BEFORE) : run[0].start]
    if not said.strip():
        said = before[-_BEFORE:] + " " + said
    following = text[run[-1].end : run[-1].end + _AFTER]
    starts = _starts_sentence(text, run[0])
    why = "written like a name"
    if len(solid) + initials >= 2 and solid:
        if firsts:
            score, why = 0.6 + 0.15 * bool(len(lasts) > 1 or unknown or initials), "a given name and another"
        elif weak_firsts and (lasts or unknown):
            score, why = 0.5, "a given name and another"
        elif lasts:
            score, why = 0.45, "a family name and another"
        else:
            score, why = 0.42, "two capitalised words that are no plain words"
    elif firsts:
        score, why = 0.5, "a given name"
    elif weak_firsts and weak_firsts[0].lower in lists.common_first and not starts:
        score, why = 0.5, "a given name in the midst of a sentence"
    elif weak_firsts:
        score, why = 0.25, "a word that is a name too"
    elif lasts:
        score, why = 0.3, "a family name"
    else:
        score = 0.2
    if is_place:
        score -= 0.1 if firsts and firsts[0].lower in lists.common_first else 0.3
    if shouted:
        score -= 0.25
    if any(word.lower.strip(".") in around.ORGANISATION for word in run) or _organisation_follows(following):
        score -= 0.6
    if around.NOT_A_PERSONS.search(said):
        score -= 0.3
    elif around.TITLE_BEFORE.search(said):
        score, why = score + 0.5, "after a title"
    elif around.INTRODUCED.search(said):
        score, why = score + 0.5, "after a word that introduces a name"
    elif around.SPEECH_BEFORE.search(said):
        score, why = score + 0.4, "after a word for speaking"
    elif around.FAMILY_BEFORE.search(said):
        score, why = score + 0.4, "after a word for a relative or the like"
    elif around.ROLE_BEFORE.search(said):
        score += 0.25
    elif around.SIGN_OFF.search(said):
        score, why = score + 0.4, "under a letter's last words"
    elif around.ADDRESSED.search(said) and not (starts and not said.strip()):
        score += 0.12 if not around.NOT_PLACE_BEFORE.search(said) else 0.0
    if around.NOT_PLACE_BEFORE.search(said) and not firsts:
        score -= 0.2
    if re.search(r"\b[Tt]he\s+$", said):
        score -= 0.25
    if around.SPEECH_AFTER.match(following) or around.LIFE_AFTER.match(following):
        score += 0.35
    elif around.PERSON_AFTER.match(following) or (
        run[-1].possessive and re.match(r"['’]s\s+[a-z]", following)
    ):
        score += 0.15
    if re.search(r"[A-Z]\w+['’]s\s+$", said) and len(solid) > 1:
        score += 0.1
    if _alone_on_line(text, run) and len(solid) > 1:
        score += 0.2
    return score, why


def _organisation_follows(following: str) -> bool:
    match = re.match(r"[\s,&]*(?:and\s+)?(\w+)", following)
    return bool(match and match[1].lower() in around.ORGANISATION and match[1][0].isupper())


def _listed(word: str, lists: Gazetteers) -> bool:
    return (
        word in lists.first_names
        or word in lists.last_names
        or word in lists.place_words
        or lists.is_word(word, _PLAIN_RANK)
    )


# --- where they don't, and after introductions ------------------------------------------------------------------

_REPLY = re.compile(
    r"^\W*(?:(?:ok|okay|oh|yes|ya|sure|hmm+|well|so|no problem|its|it is|sorry)\W+){0,3}", re.IGNORECASE
)
_NUMBER_AFTER = re.compile(
    r"\W+(?:and\s+|,\s*)?(?:(?:the\s+|my\s+)?(?:ssn|social|account|ac\b|acct|card|policy|claim|phone|dob)\b|(?!(?:19|20)\d\d\b)\d{4}\b(?!\s*[a-z]{3,}))",
    re.IGNORECASE,
)
_NAME_ASKED = re.compile(
    r"\bname\b[^.!?]*\??\s*$|\bname\b.*\?|\bwho\b.*\b(?:speaking|talking|calling)\b", re.IGNORECASE
)


def _takes(word: Word, lists: Gazetteers, strength: int, position: int) -> bool:
    """Whether `word` may be a part of a name that was introduced: 2 strongly, 1 weakly."""
    lower = word.lower
    if lower in around.STOPS or lower in around.NO_NAME or len(lower) < 2:
        return False
    if lists.is_first(lower) or (lists.is_last(lower) and strength == 2):
        return True
    if strength == 2:
        named = lower in lists.first_names or lower in lists.last_names
        return named or not lists.is_word(lower, 3000 if position == 0 else 8000)
    return not lists.is_word(lower) and lower not in lists.words and (position > 0 or len(lower) > 2)


def _is_nothing_else(word: str, lists: Gazetteers) -> bool:
    """Whether a lower-case word among others with capitals can hardly be anything but a name."""
    return len(word) > 2 and (lists.is_first(word) or not lists.is_word(word)) and word not in around.STOPS


def _gather(
    text: str, words: list[Word], start: int, lists: Gazetteers, strength: int, cased: bool
) -> list[Word]:
    taken: list[Word] = []
    for word in words[start : start + 4]:
        if taken and not _joins(text, taken[-1], word):
            break
        small = not word.capital and not (taken and word.lower in around.PARTICLES)
        if cased and small and not (strength == 2 and _is_nothing_else(word.lower, lists) and len(taken) < 2):
            break
        if taken and word.lower in around.PARTICLES - {"e", "y", "o"}:
            taken.append(word)
            continue
        if not _takes(word, lists, strength, len(taken)):
            break
        taken.append(word)
    while taken and taken[-1].lower in around.PARTICLES:
        taken.pop()
    return taken


def _introduced(text: str, before: str, words: list[Word], lists: Gazetteers, cased: bool) -> Iterator[Span]:
    reply = _REPLY.match(text)
    opening = reply.end() if reply else 0
    place = 0
    while place < len(words):
        word = words[place]
        if not _may_begin(word, lists, cased):
            place += 1
            continue
        said = text[max(0, word.start - _BEFORE) : word.start]
        strength, why = 0, ""
        if around.NOT_A_PERSONS.search(said):
            pass
        elif around.INTRODUCED.search(said) or around.TITLE_BEFORE.search(said):
            strength, why = 2, "after a word that introduces a name"
        elif not cased and around.SAID_OF_ONESELF.search(said):
            strength, why = 1, "after a word that may introduce a name"
        elif word.start == opening and before and _NAME_ASKED.search(before[-160:]):
            strength, why = 2, "answers a question for a name"
        taken = _gather(text, words, place, lists, strength, cased) if strength else []
        if taken:
            yield Span(taken[0].start, taken[-1].end, "name", 0.8 if strength == 2 else 0.6, why)
        elif cased:
            follows = _family(text, words, place + 1, lists)
            if (
                word.lower in lists.common_first
                and lists.is_first(word.lower)
                and not word.capital
                and follows
            ) and (lists.is_last(follows[0].lower) or not _listed(follows[0].lower, lists)):
                taken = [word, follows[0]]
                yield Span(word.start, follows[0].end, "name", 0.55, "a given name and another")
        else:
            if word.start in {0, opening}:
                taken = _gather(text, words, place, lists, 1, cased) or _listed_names(
                    text, words, place, lists
                )
                if taken and _NUMBER_AFTER.match(text, taken[-1].end):
                    yield Span(taken[0].start, taken[-1].end, "name", 0.6, "before a number that is named")
                else:
                    taken = []
            if not taken and lists.is_first(word.lower) and _is_common_name(word.lower, lists):
                taken = [word, *_family(text, words, place + 1, lists)]
                score = 0.6 if len(taken) > 1 or word.lower in lists.common_first else 0.5
                yield Span(taken[0].start, taken[-1].end, "name", score, "a given name")
        place += max(1, len(taken))


def _listed_names(text: str, words: list[Word], place: int, lists: Gazetteers) -> list[Word]:
    """Words side by side that lists of names hold, though they may be rare plain words too."""
    taken: list[Word] = []
    for word in words[place : place + 3]:
        named = word.lower in lists.first_names or word.lower in lists.last_names
        if (taken and not _joins(text, taken[-1], word)) or not named or word.lower in around.STOPS:
            break
        if lists.is_word(word.lower, 2500):
            break
        taken.append(word)
    return taken


def _may_begin(word: Word, lists: Gazetteers, cased: bool) -> bool:
    """Whether a name may begin here whatever stands before: what spares most words the look around them."""
    if word.lower in around.STOPS or word.lower in around.NO_NAME:
        return False
    if cased:
        return word.capital or _is_nothing_else(word.lower, lists)
    named = word.lower in lists.first_names or word.lower in lists.last_names
    return named or not lists.is_word(word.lower, 3000)


def _is_common_name(word: str, lists: Gazetteers) -> bool:
    """Whether a lower-case word is a given name with nothing that speaks against it."""
    return len(word) > 3 and word not in lists.place_words and word not in around.STOPS


def _family(text: str, words: list[Word], place: int, lists: Gazetteers) -> list[Word]:
    if place >= len(words) or not _joins(text, words[place - 1], words[place]):
        return []
    word = words[place]
    known = word.lower in lists.last_names or word.lower in lists.first_names or not lists.is_word(word.lower)
    plain = word.lower in around.STOPS or lists.is_word(word.lower, 3000) or len(word.lower) < 3
    return [word] if known and not plain else []
