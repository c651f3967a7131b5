"""What leaks between splits, counted by comparing all pairs: `python -m benchmarks.leakage [--data FOLDER]`.

For banking77, clinc150 and coffee_order_json: the set is prepared by the product, and every pair of rows of different
splits is compared (sparse products of the sets' indicator matrices; no LSH, none of the product's code). A pair leaks
at a Jaccard similarity of at least 0.85 of the three-character windows or the words of the message, or of the windows
of message and answer. The peer is what most do: 80/10/10 of the shuffled rows. Then edited copies are planted, and
counted where they land; ten per cent are added, and the old rows that move are counted; and a generated set is joined
by the product and by datasketch's MinHash LSH, at the same threshold. One JSON line a figure. scipy and datasketch are
no dependencies of the product: they are installed once into .bench/leakage.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from appliance import offline, storage
from appliance.dataset import DatasetCard, prepare, read_rows
from appliance.dataset.near import NearJoin, TextStore, UnionFind
from appliance.events import ignore
from appliance.paths import Project
from benchmarks.open_data import ROOT, SHARED

THRESHOLD = 0.85
SETS = ("banking77", "clinc150", "coffee_order_json")
PEERS = ROOT / ".bench" / "leakage" / "peers"
PEER_PACKAGES = ("scipy==1.17.1", "datasketch==2.0.0")
Rows = list[tuple[str, str]]


def load(name: str, data: Path) -> Rows:
    """(message, answer) of a set's training file; the instruction before the message is cut off."""
    if name == "banking77":
        with (data / "banking77.train.csv").open(encoding="utf-8", newline="") as stream:
            return [(row["text"], row["category"]) for row in csv.DictReader(stream)]
    if name == "clinc150":
        return [
            (text, label) for text, label in json.loads((data / "clinc150.train.json").read_text("utf-8"))
        ]
    lines = (data / f"{name}.train.jsonl").read_text(encoding="utf-8").splitlines()
    turns = [json.loads(line)["messages"] for line in lines]
    return [(messages[-2]["content"].partition("Order: ")[2], messages[-1]["content"]) for messages in turns]


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]|_", " ", text.casefold()).split())


def _shingles(text: str, kind: str) -> set[str]:
    if kind == "words":
        return set(text.split())
    return {text[place : place + 3] for place in range(max(1, len(text) - 2))}


def near_pairs(texts: list[str], kind: str) -> Iterator[tuple[int, int, float]]:
    """Every pair at the threshold with its Jaccard, by comparing all rows with all."""
    import scipy.sparse

    number: dict[str, int] = {}
    columns, begins = [], [0]
    for text in texts:
        columns += [number.setdefault(shingle, len(number)) for shingle in _shingles(_plain(text), kind)]
        begins.append(len(columns))
    shape = (len(texts), len(number))
    matrix = scipy.sparse.csr_matrix((np.ones(len(columns), np.int32), columns, begins), shape=shape)
    sizes = np.diff(begins)
    for begin in range(0, len(texts), 1000):
        shared = (matrix[begin : begin + 1000] @ matrix.T).tocoo()
        one, other = shared.row + begin, shared.col
        jaccard = shared.data / (sizes[one] + sizes[other] - shared.data)
        for place in np.flatnonzero((jaccard >= THRESHOLD) & (one < other)):
            yield int(one[place]), int(other[place]), float(jaccard[place])


def all_pairs(rows: Rows) -> set[tuple[int, int]]:
    """The pairs that are near by any of the three measures."""
    messages = [text for text, _ in rows]
    whole = [f"{text}\n{answer}" for text, answer in rows]
    views = ((messages, "characters"), (messages, "words"), (whole, "characters"))
    return {(one, other) for texts, kind in views for one, other, _ in near_pairs(texts, kind)}


def _project(folder: Path, rows: Rows, frame: str = "", more: Rows | None = None) -> Project:
    if more is None and folder.exists():
        shutil.rmtree(folder)
    storage.write_text(folder / "anchorhold.toml", '[project]\nname = "leakage"\n')
    for name, content in (("rows", rows), ("more", more or [])):
        lines = []
        for text, answer in content:
            turns = [{"role": "user", "content": frame + text}, {"role": "assistant", "content": answer}]
            lines.append(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
        if lines:
            storage.write_text(folder / "data" / f"{name}.jsonl", "".join(lines))
    return Project.open(folder)


def _prepared(project: Project) -> tuple[DatasetCard, dict[tuple[str, str], str], float]:
    begun = time.perf_counter()
    card = prepare(project, ignore, tokenizer=lambda text: len(text.split()))
    seconds = time.perf_counter() - begun
    placed = {}
    for split in card.rows:
        for row in read_rows(project.dataset / f"{split}.jsonl"):
            placed[str(row.messages[-2]["content"]), row.answer] = split
    return card, placed, seconds


def _clean(rows: Rows) -> Rows:
    from appliance.dataset.cleaning import clean_text

    return list(dict.fromkeys((clean_text(text), clean_text(answer)) for text, answer in rows))


def _edited(text: str, chance: random.Random) -> str:
    """A copy with a few edits that stays at the threshold by the windows of its characters."""
    kept = text
    for _ in range(12):
        words = kept.split()
        place = chance.randrange(len(words))
        edit = chance.randrange(4)
        if edit == 0:
            words.insert(place, chance.choice(["please", "so", "hi", "now", "the"]))
        elif edit == 1 and len(words) > 3:
            del words[place]
        elif edit == 2:
            words[place] = words[place][:-1] or words[place]
        else:
            words[place] = words[place].upper() + chance.choice(["", "!", ",", "?"])
        tried = " ".join(words)
        one, other = (_shingles(_plain(version), "characters") for version in (text, tried))
        if len(one & other) >= THRESHOLD * len(one | other):
            kept = tried
    return kept


def _line(name: str, ours: float, peer: float | None, unit: str, how: str) -> None:
    line = {"name": name, "ours": ours, "peer": peer, "ratio": round(ours / peer, 4) if peer else None}
    print(json.dumps({**line, "unit": unit, "how": how}, ensure_ascii=False), flush=True)


def _random_split(rows: Rows, seed: int) -> dict[tuple[str, str], str]:
    order = list(rows)
    random.Random(seed).shuffle(order)
    bounds = (0.8 * len(order), 0.9 * len(order))
    return {
        row: "train" if n < bounds[0] else "valid" if n < bounds[1] else "test" for n, row in enumerate(order)
    }


def _crossing(rows: Rows, pairs: set[tuple[int, int]], placed: dict[tuple[str, str], str]) -> int:
    return sum(placed[rows[one]] != placed[rows[other]] for one, other in pairs)


def leaks(name: str, rows: Rows, folder: Path) -> None:
    """Pairs across the splits, ours and a random split's; with an instruction before every message too."""
    pairs = all_pairs(rows)
    for frame in ("", "Read what the person says and answer as you were told, with nothing else. Message: "):
        project = _project(folder, rows, frame)
        card, placed, seconds = _prepared(project)
        bare = {(text.removeprefix(frame), answer): split for (text, answer), split in placed.items()}
        chance = [_crossing(rows, pairs, _random_split(rows, seed)) for seed in range(5)]
        off = _shares_off(rows, bare)
        _line(
            f"{name}{' with an instruction before each message' if frame else ''}: near pairs across splits",
            _crossing(rows, pairs, bare),
            sum(chance) / len(chance),
            "pairs",
            f"{len(rows)} rows, {len(pairs)} near pairs by comparing all; {card.rows}; {card.near['rows']} rows in "
            f"{card.near['clusters']} clusters, largest {card.near['largest']}; peer: mean of five random splits; "
            f"{len(rows) / seconds:.0f} rows/s for the whole preparing; {off}",
        )


def _shares_off(rows: Rows, placed: dict[tuple[str, str], str]) -> str:
    """How far the share of each label in the test split is from a tenth, ours and a random split's."""
    if len({answer for _, answer in rows}) > 200:
        return "answers are no labels"

    def worst(split_of: dict[tuple[str, str], str]) -> float:
        total = Counter(answer for _, answer in rows)
        test = Counter(answer for (_, answer), split in split_of.items() if split == "test")
        return max(abs(test[answer] / total[answer] - 0.1) for answer in total)

    return (
        f"furthest a label's test share is from 10 %: {100 * worst(placed):.1f} points, "
        f"random {100 * worst(_random_split(rows, 1)):.1f}"
    )


def planted(name: str, rows: Rows, folder: Path) -> None:
    """Edited copies of a tenth of the rows: are all in the split of their original?"""
    chance = random.Random(5)
    copies: dict[tuple[str, str], tuple[str, str]] = {}
    for row in chance.sample(rows, len(rows) // 10):
        copy = (_edited(row[0], chance), row[1])
        if copy not in copies and copy not in set(rows):
            copies[copy] = row
    whole = _clean([*rows, *copies])
    _, placed, _ = _prepared(_project(folder, whole))
    together = sum(placed[copy] == placed[row] for copy, row in copies.items())
    random_split = _random_split(whole, 1)
    peer = sum(random_split[copy] == random_split[row] for copy, row in copies.items())
    _line(
        f"{name}: planted near-duplicates that stay with their original",
        together,
        peer,
        "copies",
        f"{len(copies)} edited copies at Jaccard >= {THRESHOLD}; peer: a random split of the rows",
    )


def additions(name: str, rows: Rows, folder: Path) -> None:
    """A tenth is added: which share of the old rows is in another split?"""
    order = list(rows)
    random.Random(3).shuffle(order)
    old, new = order[: len(order) * 10 // 11], order[len(order) * 10 // 11 :]
    _, before, _ = _prepared(_project(folder, old))
    card, after, _ = _prepared(_project(folder, old, more=new))
    moved = sum(after[row] != before[row] for row in old)
    (folder / "build" / "dataset" / "places.json").unlink()
    _, anew, _ = _prepared(_project(folder, old, more=new))
    begun_anew = sum(anew[row] != before[row] for row in old)
    one, other = _random_split(old, 1), _random_split([*old, *new], 1)
    peer = sum(one[row] != other[row] for row in old)
    crossing = _crossing(rows, all_pairs(rows), after)
    _line(
        f"{name}: old rows in another split after a tenth was added",
        round(100 * moved / len(old), 3),
        round(100 * peer / len(old), 3),
        "% of the old rows",
        f"{moved} of {len(old)} (the card says {card.moved}); {crossing} near pairs across splits after it; with "
        f"the earlier places deleted {100 * begun_anew / len(old):.2f} %; a hash a row would move none, and leak; "
        "peer: the longer set shuffled with the same seed",
    )


def generated(count: int, rows: Rows) -> Iterator[str]:
    """Sentences made of the halves of others, a hundredth of them edited copies."""
    chance = random.Random(1)
    pool = [_plain(text).split() for text, _ in rows]
    last = ""
    for _ in range(count):
        if last and chance.random() < 0.01:
            yield _plain(_edited(last, chance)) or last
            continue
        one, other = chance.choice(pool), chance.choice(pool)
        last = " ".join(one[: len(one) // 2 + 1] + other[len(other) // 2 :])
        yield last


def join_ours(texts: Iterator[str]) -> tuple[int, int]:
    """Rows, and rows in clusters, by the product's join (character windows)."""
    with TextStore() as store:
        for text in texts:
            store.add(text)
        join = NearJoin(store, THRESHOLD)
        sets = UnionFind(len(store))
        join.clusters(join.sign(np.arange(len(store)), "characters"), "characters", sets)
        return len(store), _clustered(sets)


def join_datasketch(texts: Iterator[str]) -> tuple[int, int]:
    """The same with datasketch: 128 permutations, its LSH at the threshold, what it finds taken as near."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    edges = []
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([shingle.encode() for shingle in _shingles(text, "characters")])
        edges += [(number, int(found)) for found in index.query(sketch)]
        index.insert(number, sketch)
    sets = UnionFind(number + 1)
    for one, other in edges:
        sets.union(one, other)
    return number + 1, _clustered(sets)


def _clustered(sets: UnionFind) -> int:
    counts = np.unique(sets.labels(), return_counts=True)[1]
    return int(counts[counts > 1].sum())


JOINS: dict[str, Callable[[Iterator[str]], tuple[int, int]]] = {
    "ours": join_ours,
    "datasketch": join_datasketch,
}


def _join_alone(which: str, count: int, data: Path) -> dict[str, Any]:
    """Run one join in a process of its own, so that its memory is its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.leakage",
        "--data",
        str(data),
        "--join",
        which,
        "--rows",
        str(count),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the join by {which} ended with {done.returncode}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _peak_mib() -> int:
    """The most memory this program has held; getrusage would tell of the program that started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) // 1024 if found else 0


def _join(which: str, count: int, data: Path) -> None:
    rows = load("banking77", data) + load("clinc150", data)
    texts = list(generated(count, rows))
    wall, processor = time.perf_counter(), time.process_time()
    joined, clustered = JOINS[which](iter(texts))
    print(
        json.dumps(
            {
                "rows": joined,
                "clustered": clustered,
                "seconds": time.perf_counter() - wall,
                "processor": time.process_time() - processor,
                "mib": _peak_mib(),
            }
        )
    )


def speed(counts: list[int], peer_rows: int, data: Path) -> None:
    """Rows a second of processor time and peak memory of the joins on generated sets."""
    for count in counts:
        ours = _join_alone("ours", count, data)
        peer = _join_alone("datasketch", count, data) if count <= peer_rows else None
        told = (
            f"; datasketch {peer['clustered']} rows in clusters, {peer['processor']:.1f} s of processor time, "
            f"{peer['mib']} MiB"
            if peer
            else ""
        )
        _line(
            f"join of {count} generated rows",
            round(count / ours["processor"]),
            round(count / peer["processor"]) if peer else None,
            "rows a second of processor time",
            f"three-character windows; {ours['clustered']} rows in clusters, {ours['seconds']:.1f} s, "
            f"{ours['processor']:.1f} s of processor time, {ours['mib']} MiB at most, the texts included{told}",
        )


def _with_peers() -> None:
    """Make scipy and datasketch importable, here and in the processes that are started; installed once."""
    if not (PEERS / "ready").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(PEERS), *PEER_PACKAGES]
        # numpy is here already, and another one beside it would be taken in its place.
        subprocess.run([*command, "--no-deps"], check=True)
        (PEERS / "ready").touch()
    sys.path.append(str(PEERS))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(PEERS))))


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--sets", default=",".join(SETS), help="comma-separated")
    parser.add_argument(
        "--generated", default="20000,100000", help="sizes of generated sets, comma-separated"
    )
    parser.add_argument(
        "--peer-rows", type=int, default=100_000, help="join no more than these with datasketch"
    )
    parser.add_argument("--join", choices=tuple(JOINS), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.join:
        _join(options.join, options.rows, options.data)
        return
    _with_peers()
    offline.seal()
    for name in filter(None, options.sets.split(",")):
        rows = _clean(load(name, options.data))
        folder = ROOT / ".bench" / "leakage" / name
        for measure in (leaks, planted, additions):
            measure(name, rows, folder)
    speed([int(count) for count in options.generated.split(",") if count], options.peer_rows, options.data)


if __name__ == "__main__":
    main()
