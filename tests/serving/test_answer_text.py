from __future__ import annotations

import pytest

from appliance.serving.engine.text import AnswerText, held_back


def shown(pieces: list[bytes], stops: list[str]) -> tuple[str, bool]:
    answer = AnswerText(stops)
    parts = []
    for piece in pieces:
        parts.append(answer.add(piece))
        if answer.stopped:
            break
    parts.append(answer.finish())
    return "".join(parts), answer.stopped


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_characters_split_over_tokens_come_whole(size: int) -> None:
    text = "Schnee ❄, 東京, 🛰️ ok"
    data = text.encode()
    answer = AnswerText([])
    parts = [answer.add(data[place : place + size]) for place in range(0, len(data), size)]
    assert "".join(parts) + answer.finish() == text
    assert all("\ufffd" not in part for part in parts)


def test_half_a_character_at_the_end_is_dropped() -> None:
    assert shown([b"ab", "❄".encode()[:2]], []) == ("ab", False)


@pytest.mark.parametrize(
    "pieces",
    [
        ["one END two"],
        ["one E", "ND two"],
        ["one ", "E", "N", "D", " two"],
        ["one EN", "D two"],
        ["one END", " two"],
    ],
)
def test_a_stop_text_is_found_across_token_borders_and_never_shown(pieces: list[str]) -> None:
    assert shown([piece.encode() for piece in pieces], ["END"]) == ("one ", True)


def test_what_only_looked_like_a_stop_text_is_shown() -> None:
    assert shown([b"one E", b"N", b"Dive"], ["END!"]) == ("one ENDive", False)
    assert shown([b"one EN"], ["END"]) == ("one EN", False)


def test_the_earliest_of_several_stop_texts_ends_the_answer() -> None:
    assert shown([b"a##b\n\nc"], ["\n\n", "##"]) == ("a", True)


def test_a_stop_text_of_many_bytes_split_inside_a_character() -> None:
    data = "gut ❄ Ende".encode()
    assert shown([data[:5], data[5:6], data[6:]], ["❄"]) == ("gut ", True)


def test_held_back_is_the_longest_possible_beginning() -> None:
    assert held_back("xxab", ["abc", "b!"]) == 2
    assert held_back("xx", ["abc"]) == 0
