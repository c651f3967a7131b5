"""What stands in transcripts and nobody means: join and part notes, commands to bots, small talk. Pure."""

from __future__ import annotations

import re

from appliance.dataset.pairs.sentences import content_words, word_set, words
from appliance.dataset.reading.material import Turn

_SYSTEM = re.compile(
    r"^(?:<?(?:media|image|video|audio|sticker|gif|document|contact card|attachment)s? (?:omitted"
    r"|attached|weggelassen)>?|"
    r"(?:you|this message was|message) deleted(?: this message)?\.?|this message was deleted\.?"
    r"|\[?(?:no (?:text|audio)|silence|inaudible|"
    r"unintelligible|crosstalk|laughter|music|applause)\]?|"
    r"messages and calls are end-to-end encrypted.*|.{0,60}\b(?:has joined|has left|joined"
    r"|left) (?:the )?(?:channel|chat|conversation|meeting|"
    r"group|room|#\S+)\b.{0,60}|.{0,60}\b(?:changed|set) (?:the )?(?:topic|subject|group (?:name|icon)"
    r"|channel (?:topic|purpose))\b.*|"
    r".{0,60}\bwas added (?:to|by)\b.{0,60}|.{0,40}\bis now known as\b.{0,40}|missed (?:voice|video) call.*|"
    r"(?:end|start) of (?:chat|conversation|transcript)\.?|chat (?:started|ended).{0,60})$",
    re.IGNORECASE | re.DOTALL,
)
_COMMAND = re.compile(r"^[!/][a-zA-Z][\w.+-]*(?:\s+[|>]\s*\S+)?(?:\s+\S+){0,3}$")
_FLOOD = re.compile(r"^(?:(.)\1{4,}|(\S+)(?:\s+\2){3,})$", re.DOTALL)

_SMALL_TALK = word_set(
    """hi hello hey hiya howdy hows going greetings good morning afternoon evening night day bye goodbye cya see later
    ya you soon thanks thank thx ty thankyou cheers appreciate it much so very a lot many welcome np no problem
    nice one great cool ok okay k yes yeah yep yup nope sure fine lol haha hehe heh rofl wow oh ah hmm hm well
    all everyone everybody guys there how are doing is am i'm and u r the to have take care too again mate man
    dude sir please pleasure my anytime your youre you're ur more weekend nice"""
)
_THANKS = re.compile(r"^\W*(?:thanks|thank you|thx|ty|cheers|danke|merci|gracias)\b", re.IGNORECASE)


def is_noise(turn: Turn) -> bool:
    """Whether a turn is nothing that somebody said to somebody."""
    text = turn.text.strip()
    if turn.kind != "said" or not text:
        return True
    return bool(_SYSTEM.match(text) or _COMMAND.match(text) or _FLOOD.match(text)) or not any(
        map(str.isalnum, text)
    )


def is_small_talk(text: str) -> bool:
    """Whether a text is nothing but greetings, thanks and assent."""
    said = words(text)
    return bool(said) and all(word in _SMALL_TALK for word in said)


def topic_words(text: str) -> set[str]:
    """The words of content that are no greeting, thanks or assent."""
    return content_words(" ".join(word for word in words(text) if word not in _SMALL_TALK))


def gives_thanks(text: str) -> bool:
    """Whether a turn begins with thanks: who speaks so was helped."""
    return bool(_THANKS.match(text))
