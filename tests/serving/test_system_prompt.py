"""A release brings the system prompt that its model was trained behind."""

from __future__ import annotations

from appliance.registry.manifest import system_of
from appliance.serving.gateway.chat_request import behind_system

QUESTION = [{"role": "user", "content": "gen 2 leaks"}]


def test_a_conversation_without_one_is_put_behind_the_release_s() -> None:
    system = system_of({"system": "Write the work order."})
    assert behind_system(QUESTION, system) == [
        {"role": "system", "content": "Write the work order."},
        *QUESTION,
    ]


def test_a_conversation_s_own_is_kept_and_none_is_made_up() -> None:
    own = [{"role": "system", "content": "Be brief."}, *QUESTION]
    assert behind_system(own, "Write the work order.") == own
    assert behind_system(QUESTION, system_of({})) == QUESTION
