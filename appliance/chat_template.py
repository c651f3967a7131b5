"""Chat templates: the Jinja text in a model's metadata, rendered exactly as the trainer renders it.

The template comes with the model, so it runs in a sandbox that can read what it is given and change nothing.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from appliance.errors import ModelError


class _GenerationBlock(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's part for trainers; rendered, it is just its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as an instance attribute

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.exceptions.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes <, > and & for HTML, which models were not trained on.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


@functools.lru_cache(maxsize=16)
def _compile(template: str) -> jinja2.Template:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    try:
        return environment.from_string(template)
    except jinja2.exceptions.TemplateError as error:
        raise ModelError(
            f"the model's chat template is not valid Jinja: {error}",
            "convert the model again from a sound tokenizer",
        ) from error


def check(template: str) -> None:
    """Compile `template`.

    Raises:
        ModelError: it isn't valid Jinja.
    """
    _compile(template)


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool,
    bos: str = "",
    eos: str = "",
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """The text that the model reads for a conversation.

    Args:
        template: Jinja source (`tokenizer.chat_template` of a GGUF, `chat_template` of a tokenizer).
        messages: turns, each with "role" and "content".
        add_generation_prompt: end with the opening of the assistant's turn.
        bos: text of the begin-of-sequence token.
        eos: text of the end-of-sequence token.
        tools: function descriptions, for templates that know them.

    Raises:
        ModelError: the template isn't valid, or it refuses this conversation.
    """
    try:
        return _compile(template).render(
            messages=messages,
            tools=tools,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            bos_token=bos,
            eos_token=eos,
        )
    except (jinja2.exceptions.TemplateError, TypeError, ValueError) as error:
        raise ModelError(
            f"the model's chat template refuses this conversation: {error}",
            "give turns of system, user and assistant, each with text, ending with the user's",
        ) from error
