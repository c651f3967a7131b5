"""What stands in transcripts and nobody means: join and part notes, media placeholders, commands to bots. Pure."""

from __future__ import annotations

import re

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


def is_noise(turn: Turn) -> bool:
    """Whether a turn is nothing that somebody said to somebody."""
    text = turn.text.strip()
    if turn.kind != "said" or not text:
        return True
    return bool(_SYSTEM.match(text) or _COMMAND.match(text) or _FLOOD.match(text)) or not any(
        map(str.isalnum, text)
    )
