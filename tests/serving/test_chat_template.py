from __future__ import annotations

import random
from pathlib import Path

import pytest

from appliance import chat_template
from appliance.errors import ModelError
from appliance.serving.engine_client import Engine


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def render(template: str, *contents: str) -> str:
    messages = [turn("user", content) for content in contents]
    return chat_template.render(template, messages, add_generation_prompt=False)


def test_a_template_can_change_nothing_and_reach_nothing() -> None:
    for template in ("{{ messages.append(1) }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}"):
        with pytest.raises(ModelError):
            chat_template.render(template, [turn("user", "x")], add_generation_prompt=True)


def test_json_is_not_escaped_for_html() -> None:
    text = render("{{ messages | tojson }}", "<ä>&'")
    assert text == '[{"role": "user", "content": "<ä>&\'"}]'


def test_blocks_leave_no_blank_lines_and_loops_can_be_left() -> None:
    condition = "  {% if loop.index == 2 %}\n{% break %}\n  {% endif %}\n"
    template = "{% for m in messages %}\n" + condition + "{{ m.content }}\n{% endfor %}\n"
    assert render(template, "a", "b") == "a\n"


def test_generation_marks_are_only_their_body() -> None:
    template = "{% generation %}{{ messages[0].content }}{% endgeneration %}!"
    assert chat_template.render(template, [turn("user", "a")], add_generation_prompt=False) == "a!"


def test_a_refusal_names_the_reason() -> None:
    with pytest.raises(ModelError, match="roles must alternate"):
        chat_template.render(
            "{{ raise_exception('roles must alternate') }}", [turn("user", "a")], add_generation_prompt=False
        )
    with pytest.raises(ModelError, match="not valid Jinja"):
        chat_template.render("{% if %}", [turn("user", "a")], add_generation_prompt=False)


TEXT = (
    'pump seal wp1 leaks BRG 6205-2RS replaced ❄ -40°C 東京 naïve 🛰️ {"a": [1, 2.50]} \n\n  \ttab <|im_end|> '
    "don't I'll 1234567 C:\\temp über … — ‘quoted’ e\u0301 \u00a0nbsp <br> && 100% ###"
)
WORDS = TEXT.split(" ")


def conversations() -> list[list[dict[str, str]]]:
    draw = random.Random(3)
    found = []
    for number in range(50):
        messages = []
        if number % 3 == 1:
            messages.append(turn("system", " ".join(draw.choices(WORDS, k=draw.randint(0, 12)))))
        for _ in range(draw.randint(0, 3)):
            messages.append(turn("user", " ".join(draw.choices(WORDS, k=draw.randint(1, 20)))))
            messages.append(turn("assistant", " ".join(draw.choices(WORDS, k=draw.randint(1, 20)))))
        messages.append(turn("user", " ".join(draw.choices(WORDS, k=draw.randint(1, 20)))))
        found.append(messages)
    return found


@pytest.mark.slow
def test_token_ids_equal_the_trainers_on_fifty_conversations(engine: Engine, base_checkpoint: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base_checkpoint, local_files_only=True)
    for messages in conversations():
        trained = tokenizer.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=False
        )
        assert engine.render(messages) == list(trained), messages
