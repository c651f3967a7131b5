"""Facts that a passage states in a form that makes a question without a model: high precision before many. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.dataset.pairs.passages import Passage
from appliance.dataset.pairs.sentences import (
    STOP,
    content_words,
    is_sentence,
    split_sentences,
    stands_alone,
    word_set,
    words,
)
from appliance.dataset.pairs.topics import document_title, lowered, place_of, topic_questions

MOST_ANSWER = 1200  # characters of an answer
_LEAST_SECTION = 80


@dataclass(frozen=True)
class Fact:
    """A question with its answer, as the text gives it.

    Attributes:
        questions: wordings of the same question, the plainest first; at least one.
        answer: a piece of the passage, word for word but for white space.
        line: where it begins.
        form: of the text that told it: `section`, `definition`, `way`, `condition`, `list`, `attribute`, `table`,
            `notice`.
    """

    questions: tuple[str, ...]
    answer: str
    line: int
    form: str


_NAME = r"(?P<name>(?:(?:[Tt]he|[Aa]n?)\s)?[\w´'’/+.-]*[\w´'’](?:\s[\w´'’/+-]+){0,6}?)"
_DEFINITION = re.compile(
    rf"^{_NAME}\s(?:\([^)]{{1,30}}\)\s)?(?P<verb>is|are)\s(?P<rest>(?:an?|the|any|one of|used (?:to|for)"
    rf"|defined as|designed to|"
    r"responsible for|made (?:of|up of|from)|intended (?:to|for)|the process|a type)\b.{15,})$"
)
_WAY = re.compile(
    r"^(?P<way>The (?:[a-z]+ )?(?:[a-z]+est|best|most \w+|only|simplest|usual|recommended|primary|main"
    r"|first|next) "
    r"(?:way|method|means|time|place|thing|step|rule|option|approach|technique|source|purpose|reason"
    r"|cause)s? (?:to|for|of|in) "
    r"[^,;:.]{3,70}?) (?P<verb>is|are) (?P<rest>.{10,})$"
)
_TO_DO = re.compile(
    r"^To (?P<doing>(?!(?:this|that|the|a|an|date|some|be|help|do|have|make sure|get started|start with"
    r"|start off|begin with|summarize|conclude)\b)[a-z]+ [^,;:.]{3,80}), "
    r"(?P<rest>(?:[a-z]+(?: \w+)? (?:should|must|can|will|need to|may) )?(?P<verb>[a-z]+)\b.{15,})$"
)
_IF = re.compile(
    r"^If (?P<condition>you (?!(?:do|are) (?:so|not so"
    r"|this)\b)[^,;:.]{8,90}), (?:then )?(?P<rest>(?P<first>[a-z']+)\b.{12,})$"
)
_ORDERS = word_set(
    """ask always apply avoid be bring build call carry check clean close collect contact cover create cut dig discuss
    do don't drink dry eat email enter fill find follow gather get give go hold improvise include keep leave
    let lie look lower make mark melt move never note obtain open place plan prepare press protect provide
    pull purify put raise read remain remove reach request rest review run search see send set sit sleep
    specify stay stop submit swim switch take talk tell tie travel treat try turn use wait walk wear work wrap write"""
)
_OF_ITSELF = re.compile(
    r"\b(?:this (?:section|chapter|page|document|guide|paragraph)|the following)\b", re.IGNORECASE
)
_POINTS = re.compile(r"\b(?:it|them|they|this|these|those|that|such|so|here|there|his|her|their)\b")
_EMPTY_HEADS = word_set(
    """answer aim case goal good idea issue key lesson point problem question reason result rule second thing
    third truth way word following same latter former rest others majority first last next other best worst
    main"""
)
_NO_NAME = word_set(
    """this that these those it there here what which who they we you i he she if when where while as in on at
    for by to with from most many some another one each every both such your our his their its only all any
    other others below above following then also note example none nothing everything because since after
    before although however thus therefore now today but and or so not no unless until once even just like how
    why whatever wherever today's perhaps maybe often sometimes usually generally typically currently finally"""
)
_NOTICE = re.compile(
    r"^(?P<kind>CAUTION|WARNING|DANGER|IMPORTANT|Caution|Warning|Danger|Important)\b[:!.\s]+(?P<text>[A-Z].+)$",
    re.DOTALL,
)


def _answer(sentences: list[str], number: int, most: int = 300) -> str:
    """A sentence with the one after it, where that leans on it and both are short."""
    answer = sentences[number]
    if number + 1 < len(sentences):
        following = sentences[number + 1]
        said = words(following)
        leans = bool(said) and said[0] in {"it", "they", "these", "this"}
        if leans and is_sentence(following) and len(answer) + len(following) < most:
            return f"{answer} {following}"
    return answer


def _is_name(name: str) -> bool:
    said = words(name)
    bare = [word for word in said if word not in {"the", "a", "an"}]
    if (
        not bare
        or said[0] in _NO_NAME
        or bare[0] in _NO_NAME
        or (bare[-1] in _EMPTY_HEADS - {"word"} and "of" not in bare)
    ):
        return False
    if bare[0] in _EMPTY_HEADS and "of" not in bare:
        return False
    if said[0] == "the" and len(bare) == 1 and name.split(" ")[-1].islower():
        return False  # which symptoms, which system: the passage knows, the question wouldn't
    joining = [word for word in bare if word in STOP]
    if any(word not in {"of", "for", "in", "and", "on", "to", "from", "the"} for word in joining):
        return False
    # "of" alone makes a longer name; other joints are as likely to be a clause.
    return not joining or ("of" in joining and len(bare) <= 6) or (joining == ["and"] and len(bare) <= 3)


def _from_sentences(passage: Passage) -> Iterator[Fact]:
    title = document_title(passage)
    for block in passage.blocks:
        if block.kind not in {"paragraph", "quote"}:
            continue
        sentences = split_sentences(" ".join(block.text.split()))
        line = block.line or block.page
        for number, sentence in enumerate(sentences):
            if not is_sentence(sentence) or len(sentence) > 400 or sentence.endswith("?"):
                continue
            if match := _WAY.match(sentence):
                if stands_alone(sentence):
                    what = match["way"][0].lower() + match["way"][1:]
                    yield Fact(
                        (
                            f"What {match['verb']} {what}?",
                            f"{title}: what {match['verb']} {what}?",
                            f"Tell me {what}.",
                        ),
                        _answer(sentences, number),
                        line,
                        "way",
                    )
            elif (
                (match := _DEFINITION.match(sentence)) and stands_alone(sentence) and _is_name(match["name"])
            ):
                yield _definition(match, title, _answer(sentences, number), line)
            elif (match := _TO_DO.match(sentence)) and stands_alone(sentence):
                modal = re.match(r"[a-z]+(?: \w+)? (?:should|must|can|will|need to|may) ", match["rest"])
                if (modal or match["verb"] in _ORDERS) and not _POINTS.search(match["doing"]):
                    doing = match["doing"]
                    yield Fact(
                        (
                            f"How do you {doing}?",
                            f"What must be done to {doing}?",
                            f"How can one {doing}?",
                            f"{title}: how to {doing}?",
                        ),
                        _answer(sentences, number),
                        line,
                        "way",
                    )
            elif (match := _IF.match(sentence)) and not _POINTS.search(match["condition"]):
                you_do = re.match(
                    r"you (?:should|must|can|may|need to|will need to|have to)\b", match["rest"]
                )
                if (you_do or match["first"] in _ORDERS) and stands_alone(sentence[3:]):
                    yield Fact(
                        (
                            f"What should you do if {match['condition']}?",
                            f"{title}: what if {match['condition']}?",
                            f"What is the advice if {match['condition']}?",
                        ),
                        _answer(sentences, number),
                        line,
                        "condition",
                    )


def _definition(match: re.Match[str], title: str, answer: str, line: int) -> Fact:
    name, verb = match["name"], match["verb"]
    head = name.split(" ")[0]
    if head in {"The", "A", "An"} or (verb == "are" and name[1:].islower() and " " not in name):
        name = name[0].lower() + name[1:]
    elif head.isalpha() and head[1:].islower() and all(word.islower() for word in name.split(" ")[1:]):
        name = lowered(name)
    if match["rest"].startswith("responsible for "):
        return Fact(
            (
                f"What {verb} {name} responsible for?",
                f"{title}: for what {verb} {name} responsible?",
                f"Which tasks do {name} have?",
            )
            if verb == "are"
            else (
                f"What is {name} responsible for?",
                f"{title}: for what is {name} responsible?",
                f"Which tasks has {name}?",
            ),
            answer,
            line,
            "definition",
        )
    if re.match(r"used (to|for)\b", match["rest"]):
        return Fact(
            (
                f"What {verb} {name} used for?",
                f"{title}: what {verb} {name} used for?",
                f"For what {verb} {name} used?",
            ),
            answer,
            line,
            "definition",
        )
    return Fact(
        (
            f"What {verb} {name}?",
            f"Explain what {name} {verb}.",
            f"{title}: what {verb} {name}?",
            f"How would you define {name}?",
        ),
        answer,
        line,
        "definition",
    )


def _section(passage: Passage) -> Iterator[Fact]:
    """The whole section as the answer to its heading, where it is one passage."""
    text = passage.text
    if passage.parts > 1 or not _LEAST_SECTION <= len(text) <= MOST_ANSWER:
        return
    if any(block.kind in {"code", "table"} for block in passage.blocks) or text.rstrip().endswith(
        (":", "—", ",")
    ):
        return
    if _OF_ITSELF.search(split_sentences(" ".join(text.split()))[0]):
        return
    first = passage.blocks[0]
    if first.kind == "paragraph" and first.text.endswith((":", "—")) and len(passage.blocks) == 1:
        return
    if questions := topic_questions(passage):
        yield Fact(tuple(questions), text, passage.line, "section")


def _lists(passage: Passage) -> Iterator[Fact]:
    """A list with the line that leads into it, which asks for it nearly by itself."""
    title, place = document_title(passage), place_of(passage)
    for before, block in zip(passage.blocks, passage.blocks[1:], strict=False):
        if block.kind != "list" or before.kind not in {"paragraph", "quote"} or len(block.text) > MOST_ANSWER:
            continue
        items = [item for item in block.text.split("\n") if item.strip()]
        lead = split_sentences(" ".join(before.text.split()))[-1]
        if len(items) < 2 or not lead.endswith((":", "—", "–")):
            continue
        bare = lead.rstrip(":—– ")
        if len(bare.split()) < 4 or len(bare) > 160 or not stands_alone(bare) or not bare[0].isupper():
            continue
        where = f'"{place}" in "{title}"' if place else f'"{title}"'
        yield Fact(
            (
                f'Complete the list from {where}: "{bare}:"',
                f'Which points follow "{bare}:" in {where}?',
                f'{where} says: "{bare}". Give the list.',
            ),
            block.text,
            block.line or block.page,
            "list",
        )


def _notices(passage: Passage) -> Iterator[Fact]:
    title, place = document_title(passage), place_of(passage)
    for block in passage.blocks:
        text = " ".join(block.text.split())
        match = _NOTICE.match(text)
        if match is None or len(match["text"]) < 25 or len(match["text"]) > MOST_ANSWER:
            continue
        kind = {"danger": "warning", "important": "important note"}.get(
            match["kind"].lower(), match["kind"].lower()
        )
        where = f'"{place}" ("{title}")' if place else f'"{title}"'
        yield Fact(
            (
                f"Which {kind} is given under {where}?",
                f"What does the {kind} under {where} say?",
                f"Give the {kind} for {where}.",
            ),
            match["text"],
            block.line or block.page,
            "notice",
        )


def facts(passage: Passage) -> Iterator[Fact]:
    """What a passage states in forms that make questions, the whole section first."""
    yield from _section(passage)
    yield from _notices(passage)
    yield from _lists(passage)
    for fact in _from_sentences(passage):
        # A question that holds its answer's content teaches nothing.
        if len(content_words(fact.answer) - content_words(fact.questions[0])) >= 3:
            yield fact
