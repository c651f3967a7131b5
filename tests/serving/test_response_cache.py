from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ServingError
from appliance.serving import api_keys
from appliance.serving.response_cache import ResponseCache, key
from appliance.serving.sampling import Completion, Sampling

ANSWER = Completion("four", "stop", 10, 2, 0.5)


def test_an_answer_survives_the_process(tmp_path: Path) -> None:
    first = ResponseCache(tmp_path / "cache.sqlite")
    first.put("a", ANSWER)
    first.close()
    second = ResponseCache(tmp_path / "cache.sqlite")
    assert second.get("a") == ANSWER
    assert second.get("b") is None
    assert second.stats()["hits"] == second.stats()["misses"] == second.stats()["entries"] == 1
    second.close()


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "cache.sqlite", limit=2000)
    for number in range(8):
        cache.put(str(number), replace(ANSWER, text="x" * 100))
        assert cache.get("0") is not None  # always in use
    assert cache.get("1") is None
    assert cache.get("7") is not None
    assert cache.stats()["bytes"] <= 2000
    cache.put("huge", replace(ANSWER, text="x" * 5000))
    assert cache.get("huge") is None
    cache.close()


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    cache = ResponseCache(path)
    cache.put("a", ANSWER)
    assert cache.get("a") == ANSWER
    cache.close()


def test_a_locked_cache_is_neither_deleted_nor_in_the_way(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "cache.sqlite"
    answer = Completion("yes", "stop", 3, 1, 0.1)
    first = ResponseCache(path)
    first.put("a", answer)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    first._connection.execute("PRAGMA busy_timeout=50")
    first.put("b", answer)
    assert first.get("b") is None
    other.execute("ROLLBACK")
    other.close()
    assert first.get("a") == answer
    first.close()


def test_a_key_holds_all_that_an_answer_depends_on() -> None:
    drawn = Sampling(temperature=0.5, seed=1)
    names = {
        key("release", [1, 2], Sampling(), "build"),
        key("other", [1, 2], Sampling(), "build"),
        key("release", [1, 3], Sampling(), "build"),
        key("release", [1, 2], Sampling(), "newer"),
        key("release", [1, 2], Sampling(max_tokens=5), "build"),
        key("release", [1, 2], Sampling(stop=("x",)), "build"),
        key("release", [1, 2], drawn, "build"),
        key("release", [1, 2], replace(drawn, seed=2), "build"),
        key("release", [1, 2], replace(drawn, top_p=0.5), "build"),
    }
    assert len(names) == 9
    assert key("release", [1], Sampling(top_k=3, seed=9), "build") == key("release", [1], Sampling(), "build")


def test_only_hashes_of_keys_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    made = api_keys.create(path, "tickets")
    assert made not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    ring = api_keys.KeyRing(path)
    assert ring.name_of(made) == "tickets"
    assert ring.name_of(made + "x") is None
    second = api_keys.create(path, "another")
    assert ring.name_of(second) == "another"  # noticed without a restart
    with pytest.raises(ServingError, match="already"):
        api_keys.create(path, "tickets")
    assert api_keys.names(path) == ["tickets", "another"]


def test_without_a_file_no_key_is_right_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    assert api_keys.KeyRing(tmp_path / "none.json").name_of("") is None
    (tmp_path / "bad.json").write_text(json.dumps(["x"]))
    with pytest.raises(ServingError, match=r"bad\.json"):
        api_keys.KeyRing(tmp_path / "bad.json").name_of("x")
