"""How many tokens a conversation is to the base model, counted in batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance.errors import ModelError
from appliance.events import Emit
from appliance.paths import Project

Messages = Sequence[dict[str, Any]]
CountTokens = Callable[[Sequence[Messages]], list[int]]
"""Conversations -> the tokens of each, chat template included."""


def _special(value: Any) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def read_chat_template(checkpoint: Path) -> tuple[str, str, str]:
    """(chat template, BOS text, EOS text) of a checkpoint folder; the template is empty when it has none.

    Raises:
        ModelError: tokenizer_config.json is missing or broken.
    """
    path = checkpoint / "tokenizer_config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: can't be read: {error}", "the base needs its tokenizer's files beside it"
        ) from error
    template = settings.get("chat_template") or ""
    if isinstance(template, list):  # several, by name
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("default", "")
    beside = checkpoint / "chat_template.jinja"
    if not template and beside.exists():
        template = beside.read_text(encoding="utf-8")
    return str(template), _special(settings.get("bos_token")), _special(settings.get("eos_token"))


def counter(checkpoint: Path) -> CountTokens:
    """Counts with the checkpoint's own fast tokenizer and chat template.

    Raises:
        ModelError: the checkpoint has no tokenizer.json or no chat template.
    """
    from tokenizers import Tokenizer

    from appliance.chat_template import render

    path = checkpoint / "tokenizer.json"
    if not path.exists():
        raise ModelError(f"{path}: no such file", "the base needs a fast tokenizer (tokenizer.json)")
    template, bos, eos = read_chat_template(checkpoint)
    if not template:
        raise ModelError(
            f"{checkpoint}: the base has no chat template", "use a base tuned for chat, or add its template"
        )
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(conversations: Sequence[Messages]) -> list[int]:
        texts = [
            render(template, list(messages), add_generation_prompt=False, bos=bos, eos=eos)
            for messages in conversations
        ]
        return [len(encoding) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    return count


def counter_for(
    project: Project, emit: Emit, tokenizer: Callable[[str], int] | None, checkpoint: Path | None
) -> tuple[CountTokens, Path | None]:
    """How a project's tokens are counted, and the base's folder that they are counted with.

    Args:
        project: names its base.
        emit: gets the base's unpacking.
        tokenizer: counts the tokens of a text instead; then there is no folder.
        checkpoint: the base's folder; resolved when not given.

    Raises:
        ModelError: the base has no tokenizer or chat template.
    """
    if tokenizer is not None:
        return plain_counter(tokenizer), None
    if checkpoint is None:
        from appliance.base_model import resolve

        checkpoint = resolve(project.config.base.path, project.root, emit)
    return counter(checkpoint), checkpoint


def plain_counter(tokens_of: Callable[[str], int]) -> CountTokens:
    """A counter from a function on plain text: the turns, one a line, without a template."""

    def count(conversations: Sequence[Messages]) -> list[int]:
        return [
            tokens_of("\n".join(message["content"] for message in messages)) for messages in conversations
        ]

    return count
