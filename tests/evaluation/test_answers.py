"""Answers survive a kill and are found again."""

from __future__ import annotations

from pathlib import Path

from appliance.evaluation.answers import Answer, AnswerStore, answer_key


def answer(number: int) -> Answer:
    return Answer(f"key{number}", "shipped", f"row{number}", f"é {number}\n", "stop", 10, 3, 0.5)


def test_a_line_that_was_cut_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with AnswerStore(path) as store:
        store.add(answer(1))
        store.add(answer(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with AnswerStore(path) as store:
        assert store.get("key1") == answer(1)
        assert store.get("key2") is None
        store.add(answer(2))
    assert path.read_bytes() == whole


def test_a_cut_exactly_before_the_line_feed(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with AnswerStore(path) as store:
        store.add(answer(1))
    path.write_bytes(path.read_bytes()[:-1])
    with AnswerStore(path) as store:
        store.add(answer(2))
    with AnswerStore(path) as store:
        assert store.get("key2") == answer(2)


def test_what_is_not_current_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with AnswerStore(path) as store:
        store.add(answer(1))
        store.add(answer(2))
        store.keep_only([answer(2)])
    with AnswerStore(path) as store:
        assert store.get("key1") is None
        assert store.get("key2") == answer(2)


def test_the_key_depends_on_file_prompt_and_parameters() -> None:
    keys = {
        answer_key("a", [1, 2], {"max_tokens": 8}),
        answer_key("b", [1, 2], {"max_tokens": 8}),
        answer_key("a", [1, 3], {"max_tokens": 8}),
        answer_key("a", [1, 2], {"max_tokens": 9}),
    }
    assert len(keys) == 4
    assert answer_key("a", [1, 2], {"max_tokens": 8}) in keys
