"""Near-duplicates: what the sets are, that LSH with its check finds what comparing all pairs finds, and frames."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from appliance.dataset.near import Frames, NearJoin, TextStore, UnionFind, find_frames, likeness, normalise
from appliance.dataset.near.minhash import MISSED, Bands
from appliance.dataset.near.shingles import Kind, shingles

KINDS: tuple[Kind, ...] = ("characters", "words")
WORDS = "pump valve deck four leaks again since noon the aft station reads seven bar please check it now"
VOCABULARY = WORDS.split()


def sets_of(text: str, kind: Kind) -> set[str]:
    """The plain definition, written a second time."""
    if kind == "words":
        return set(text.split())
    return {text[place : place + 3] for place in range(max(1, len(text) - 2))}


def jaccard(one: str, other: str, kind: Kind) -> float:
    first, second = sets_of(one, kind), sets_of(other, kind)
    return len(first & second) / len(first | second)


def edited(text: str, chance: random.Random) -> str:
    words = text.split()
    for _ in range(chance.randint(0, 2)):
        place = chance.randrange(len(words))
        if chance.random() < 0.5:
            words[place] = chance.choice(VOCABULARY)
        else:
            words.insert(place, words[place][::-1])
    return " ".join(words)


def some_texts(seed: int, count: int) -> list[str]:
    chance = random.Random(seed)
    texts = [" ".join(chance.choices(VOCABULARY, k=chance.randint(1, 30))) for _ in range(count)]
    return texts + [edited(chance.choice(texts), chance) for _ in range(count)]


@contextmanager
def stored(texts: list[str]) -> Iterator[TextStore]:
    with TextStore() as store:
        for text in texts:
            store.add(text)
        yield store


@pytest.mark.parametrize("kind", KINDS)
def test_shingles_are_the_sets_that_the_definition_names(kind: Kind) -> None:
    texts = ["", "a", "ab", "abc", "pump down", "über 3 bar 🚰 now", *some_texts(1, 20)]
    codes, places = shingles(texts, kind)
    seen: dict[int, str] = {}
    for number, text in enumerate(texts):
        mine = codes[places[number] : places[number + 1]].tolist()
        assert len(set(mine)) == (len(sets_of(text, kind)) if text else 0)
        if kind == "words":
            for code, word in zip(mine, text.split(), strict=True):
                assert seen.setdefault(code, word) == word


@pytest.mark.parametrize("kind", KINDS)
def test_likeness_is_the_exact_jaccard(kind: Kind) -> None:
    texts = some_texts(2, 60)
    chance = random.Random(3)
    for _ in range(300):
        one, other = chance.choice(texts), chance.choice(texts)
        assert likeness(one, other, kind) == pytest.approx(jaccard(one, other, kind))


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.85, 0.95, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_clusters_are_those_of_comparing_all_pairs(kind: Kind, threshold: float) -> None:
    for seed in range(2):
        texts = some_texts(seed, 100)
        found = UnionFind(len(texts))
        with stored(texts) as store:
            join = NearJoin(store, threshold)
            reasons = join.clusters(join.sign(np.arange(len(texts)), kind), kind, found)
        expected = UnionFind(len(texts))
        for one in range(len(texts)):
            for other in range(one):
                if jaccard(texts[one], texts[other], kind) >= threshold:
                    expected.union(one, other)
        assert found.labels().tolist() == expected.labels().tolist()
        assert all(
            pair.jaccard == pytest.approx(jaccard(texts[pair.one], texts[pair.other], kind))
            for pair in reasons
        )
        assert len(reasons) == len(texts) - len(set(found.labels().tolist()))


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_across_are_all_pairs_with_one_text_on_each_side(kind: Kind) -> None:
    texts = some_texts(7, 150)
    side = np.array([number % 3 == 0 for number in range(len(texts))])
    expected = {
        (other, one)
        for one in range(len(texts))
        for other in range(one)
        if side[one] != side[other] and jaccard(texts[one], texts[other], kind) >= 0.8
    }
    with stored(texts) as store:
        join = NearJoin(store, 0.8)
        signed = join.sign(np.arange(len(texts)), kind)
        every = join.across(signed, kind, side)
        once = join.across(signed, kind, side, once=True)
    assert expected and {(pair.one, pair.other) for pair in every} == expected
    held = {one if not side[one] else other for one, other in expected}
    assert sorted(pair.other if side[pair.one] else pair.one for pair in once) == sorted(held)


def test_thousands_of_rows_of_one_pattern_are_one_cluster() -> None:
    texts = [
        f"reading of the main pump on deck four at the aft station was {n} bar today" for n in range(3000)
    ]
    texts += [f"something else about valve {n} entirely, {n * 7} times" for n in range(50)]
    sets = UnionFind(len(texts))
    with stored(texts) as store:
        join = NearJoin(store, 0.8)
        join.clusters(join.sign(np.arange(len(texts)), "characters"), "characters", sets)
    assert set(sets.labels()[:3000].tolist()) == {0}
    assert 0 not in sets.labels()[3000:].tolist()


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.75, 0.85, 0.9, 0.99, 1.0])
def test_the_bands_miss_one_pair_in_a_million_at_most(threshold: float) -> None:
    plan = Bands.reaching(threshold)
    assert (1 - threshold**plan.rows) ** plan.bands <= MISSED * 1.0001


def test_signatures_do_not_depend_on_where_the_blocks_end() -> None:
    texts = [text * 40 for text in some_texts(4, 100)]
    with stored(texts) as store:
        join = NearJoin(store, 0.85)
        whole = join.sign(np.arange(len(texts)), "characters")
        part = join.sign(np.arange(50, 120), "characters")
    assert np.array_equal(whole.keys[50:120], part.keys)
    assert np.array_equal(whole.sketch[50:120], part.sketch)


def test_normalising_sees_neither_case_nor_punctuation() -> None:
    assert normalise("  Pump's DOWN -- again!\n") == "pump s down again"
    assert normalise("?!") == "?!"
    assert normalise("कि") != normalise("की")


def without(frames: Frames, text: str) -> str:
    return frames.strip(text)


def test_a_frame_that_most_rows_share_is_found_and_stripped() -> None:
    head, tail = "classify this message into one label message", "answer with the label only"
    bare = some_texts(5, 100)
    frames = find_frames([f"{head} {text} {tail}" for text in bare])
    assert [without(frames, f"{head} {text} {tail}") for text in bare] == bare
    assert without(frames, "another text") == "another text"
    assert without(frames, head) == head


def test_two_frames_of_a_mixed_set_are_both_found() -> None:
    one, other = "turn this order into json order", "which intent has this request request"
    texts = some_texts(6, 100)
    framed = [f"{one if number % 3 else other} {text}" for number, text in enumerate(texts)]
    frames = find_frames(framed)
    assert [without(frames, text) for text in framed] == texts


def test_a_frame_that_half_of_the_messages_seem_to_prolong_is_cut_where_all_share_it() -> None:
    head = "classify this message into one label message"
    texts = [f"how do i {text}" if number % 3 else text for number, text in enumerate(some_texts(5, 100))]
    frames = find_frames([f"{head} {text}" for text in texts])
    assert [without(frames, f"{head} {text}") for text in texts] == texts


def test_texts_that_merely_begin_alike_have_no_frame() -> None:
    assert find_frames([f"how do i {text}" for text in some_texts(8, 100)]).heads == ()
    assert find_frames(["turn this order into json"] * 3).heads == ()


def test_a_store_gives_back_what_it_got_and_leaves_no_file(tmp_path: Path) -> None:
    texts = ["", "ä", "pump\n", "🚰" * 1000]
    with TextStore(tmp_path) as store:
        for text in texts:
            store.add(text)
        assert store.read(range(4)) == texts
        assert store.read([3, 1]) == [texts[3], texts[1]]
    assert list(tmp_path.iterdir()) == []
