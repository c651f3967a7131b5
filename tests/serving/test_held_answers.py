"""Answers held to a schema, by the real engine and through a real gateway's checks."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema
import pytest

from appliance.errors import ServingError
from appliance.serving.engine_client import Engine, Sampling
from appliance.serving.gateway.chat_request import AnswerFormat, RequestError, asks_as_trained, parse
from appliance.serving.schema_grammar import ANY_OBJECT, grammar_of

pytestmark = pytest.mark.slow

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "drink": {"enum": ["latte", "mocha", "flat white"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 2},
    },
    "required": ["drink", "count", "names"],
    "additionalProperties": False,
}
QUESTIONS = (
    "What is 2+2?",
    "Tell a story.",
    "Two mochas for Ann",
    "Say {",
    "Write JSON",
    "Why?",
    "Ω",
    "日本",
)


def prompts(engine: Engine) -> list[list[int]]:
    return [engine.render([{"role": "user", "content": text}]) for text in QUESTIONS]


def test_whatever_is_asked_the_answer_fits_and_ends_by_itself(engine: Engine) -> None:
    sampling = Sampling(max_tokens=440, temperature=1.5, seed=3, grammar=grammar_of(ORDER))
    for answer in engine.complete_many(prompts(engine), sampling):
        assert answer.finish == "stop"
        jsonschema.validate(json.loads(answer.text), ORDER)
        assert list(json.loads(answer.text)) == list(ORDER["properties"])


def test_answers_beside_each_other_are_held_each_to_its_own(engine: Engine) -> None:
    tokens = prompts(engine)[0]
    free = Sampling(max_tokens=12)
    alone = engine.complete(tokens, free).text
    told: dict[str, str] = {}
    samplings = {
        "free": free,
        "yes": Sampling(max_tokens=12, grammar=grammar_of({"const": "yes"})),
        "no": Sampling(max_tokens=12, grammar=grammar_of({"const": "no"})),
    }
    for name, sampling in samplings.items():

        def take(chunk: Any, name: str = name) -> None:
            if chunk.finish is not None:
                told[name] = chunk.text

        engine.submit(tokens, sampling, take, stream=False)
    deadline = time.monotonic() + 120
    while len(told) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert told == {"free": alone, "yes": '"yes"', "no": '"no"'}


def test_where_one_token_alone_may_come_the_margin_is_a_number(engine: Engine) -> None:
    said = engine.complete(
        prompts(engine)[0], Sampling(max_tokens=20, margin=True, grammar=grammar_of({"const": 7}))
    )
    assert said.text == "7" and said.margin is not None and said.margin > 100
    json.loads(json.dumps(said.margin, allow_nan=False))


@pytest.mark.parametrize(
    "grammar", ["no grammar", "{}", '{"grammars": []}', '{"grammars": [{"json_schema": 5}]}']
)
def test_what_is_no_grammar_is_refused_and_the_engine_lives(engine: Engine, grammar: str) -> None:
    with pytest.raises(ServingError, match="grammar"):
        engine.complete(prompts(engine)[0], Sampling(max_tokens=4, grammar=grammar))
    assert engine.complete(prompts(engine)[0], Sampling(max_tokens=2)).completion_tokens > 0


def test_what_is_kept_of_free_answers_stays_under_its_old_key() -> None:
    assert "grammar" not in Sampling().to_json()
    assert Sampling.from_json(Sampling(grammar="x").to_json()).grammar == "x"


def body(**values: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "x"}], **values}


def test_the_forms_that_a_request_may_ask_for() -> None:
    assert parse(body()).answer_format is None
    assert parse(body(response_format={"type": "text"})).answer_format == AnswerFormat(None)
    assert parse(body(response_format={"type": "json_object"})).answer_format == AnswerFormat(ANY_OBJECT)
    told = {"name": "order", "schema": ORDER, "strict": True}
    asked = parse(body(response_format={"type": "json_schema", "json_schema": told})).answer_format
    assert asked == AnswerFormat(ORDER, strict=True)


@pytest.mark.parametrize(
    "value",
    [
        "json",
        {"type": "xml"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"schema": "x"}},
    ],
)
def test_another_form_is_refused_with_what_there_is(value: Any) -> None:
    with pytest.raises(RequestError, match="response_format") as caught:
        parse(body(response_format=value))
    assert caught.value.status == 400


def test_only_a_conversation_as_the_release_was_trained_for_is_held_without_being_asked() -> None:
    question = {"role": "user", "content": "x"}
    assert asks_as_trained([question], "Write the order.")
    assert asks_as_trained([{"role": "system", "content": "Write the order."}, question], "Write the order.")
    assert not asks_as_trained([{"role": "system", "content": "Chat."}, question], "Write the order.")
