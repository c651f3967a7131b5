"""Finding bad rows: `python -m benchmarks.pruning [--data FOLDER] [--seeds 7,8,9] [--train]`.

Into 30 % of banking77's training rows noise is planted: two thirds get another label at random, one third a prompt that
is none (words of other rows shuffled, letters at random, or half a sentence of another row under its own label). The
product scores the rows, and the worst 30 % are compared with what was planted: one JSON line a seed, `ours` the
precision of those chosen (equal to the recall), `peer` what a choice at random finds.

With --train the model is trained, for each seed, on the kept rows, on all, and on the clean ones (the planted left
out), by the product's own training with an equal number of steps, and the shipped INT4 file is asked the set's dev
rows. `ours` is the score after pruning, `peer` that of training on all. Finished runs are kept in .bench/pruning and
not walked again.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
from pathlib import Path
from statistics import fmean
from typing import Any

from appliance import storage
from appliance.dataset.cleaning import clean_text
from appliance.dataset.quality import score_rows, worst
from appliance.dataset.rows import Row, row_id
from benchmarks.open_data import ROOT, SHARED

NOISE = 0.3
NAME = "banking77"
LABEL, JUNK = "label", "junk"


def planted(data: Path, seed: int, count: int) -> list[tuple[str, str, str]]:
    """(message, label, kind of noise or empty) of training rows with noise in 30 %.

    Args:
        data: folder of open data.
        seed: chooses rows and noise.
        count: rows; 0 for all.
    """
    with (data / f"{NAME}.train.csv").open(encoding="utf-8", newline="") as stream:
        rows = [(clean_text(row["text"]), row["category"]) for row in csv.DictReader(stream)]
    chance = random.Random(seed)
    chance.shuffle(rows)
    rows = rows[:count] if count else rows
    labels = sorted({label for _, label in rows})
    words = [word for text, _ in rows for word in text.split()]
    noisy = chance.sample(range(len(rows)), round(NOISE * len(rows)))
    result = [(text, label, "") for text, label in rows]
    for place, number in enumerate(noisy):
        text, label = rows[number]
        if place % 3:
            result[number] = (text, chance.choice([other for other in labels if other != label]), LABEL)
            continue
        kind = place // 3 % 3
        if kind == 0:
            junk = " ".join(chance.choices(words, k=chance.randint(3, 15)))
        elif kind == 1:
            junk = (
                "".join(chance.choices("abcdefghijklmnopqrstuvwxyz   .!?#", k=chance.randint(15, 60))).strip()
                or "?"
            )
        else:
            other = chance.choice(rows)[0].split()
            junk = " ".join(other[: max(1, len(other) // 2)])
        result[number] = (junk, label, JUNK)
    return result


def _rows(noisy: list[tuple[str, str, str]]) -> list[Row]:
    rows = []
    for number, (text, label, _) in enumerate(noisy):
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": label}]
        rows.append(Row(row_id(messages), f"row {number}", messages, f"row:{number}"))
    return rows


def found(data: Path, seed: int, count: int) -> dict[str, Any]:
    """The line of one seed: how much of the noise is among the worst rows."""
    noisy = planted(data, seed, count)
    rows = _rows(noisy)
    chosen = worst(score_rows(lambda: iter(rows)), NOISE)
    kinds = [kind for _, _, kind in noisy]
    hits = {
        kind: sum(row.id in chosen for row, each in zip(rows, kinds, strict=True) if each == kind)
        for kind in (LABEL, JUNK)
    }
    precision = sum(hits.values()) / len(chosen)
    return {
        "name": f"{NAME}, seed {seed}: planted noise among the worst {100 * NOISE:.0f} %",
        "ours": round(100 * precision, 1),
        "peer": round(100 * NOISE, 1),
        "ratio": round(precision / NOISE, 2),
        "unit": "% of the rows chosen",
        "how": f"{len(rows)} rows; found {hits[LABEL]} of {kinds.count(LABEL)} wrong labels, {hits[JUNK]} of "
        f"{kinds.count(JUNK)} junk prompts; peer: a choice at random",
    }


def trained(data: Path, seed: int, rows: int, epochs: float) -> dict[str, Any]:
    """The line of one seed: kept rows against all, and the clean ones beside them."""
    import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded
    from appliance import offline
    from appliance.base_model import resolve
    from appliance.dataset import read_rows
    from appliance.evaluation.one_file import measure_file
    from appliance.evaluation.systems import System, plain_prompt, tuned_file
    from appliance.paths import Project
    from appliance.pipeline import Journey, walk
    from appliance.progress import terminal_progress
    from benchmarks.open_data import project_of

    offline.seal()
    noisy = planted(data, seed, rows)
    bad = {number for number, (_, _, kind) in enumerate(noisy) if kind}
    scores, counts = {}, {}
    for which in ("kept", "all", "clean"):
        folder = ROOT / ".bench" / "pruning" / f"{seed}-{which}"
        source = folder / f"{NAME}.train.csv"
        content = [
            (text, label) for n, (text, label, _) in enumerate(noisy) if which != "clean" or n not in bad
        ]
        _write_csv(source, content)
        dev = folder / f"{NAME}.dev.jsonl"
        storage.write_bytes(dev, (data / dev.name).read_bytes())
        # As many steps for each: what differs is which rows are seen, not how long.
        share = 1.0 if which == "all" else 1 / (1 - NOISE)
        project_of(NAME, folder, folder, rows=len(noisy), epochs=epochs * share, baselines=False, seed=seed)
        if which == "kept":
            settings = (folder / "anchorhold.toml").read_text(encoding="utf-8")
            storage.write_text(
                folder / "anchorhold.toml", f"{settings}[dataset.quality]\ndrop_share = {NOISE}\n"
            )
        project = Project.open(folder)
        with terminal_progress() as emit:
            checkpoint = resolve(project.config.base.path, project.root, emit)
            walk(Journey(project, checkpoint, emit, checkpoint_seconds=math.inf), until="convert")
            asked = sorted(read_rows(project.dataset / "test.jsonl"), key=lambda row: row.id)
            system = System("Q4_0", "Tuned, Q4_0", tuned_file(project, "Q4_0"), plain_prompt)
            done = measure_file(project, checkpoint, system, asked, project.build / "asked", lambda _: None)
        scores[which] = done.exact.share
        counts[which] = len(read_rows(project.dataset / "train.jsonl"))
    return {
        "name": f"{NAME}, seed {seed}: trained on the kept rows, against all",
        "ours": round(100 * scores["kept"], 1),
        "peer": round(100 * scores["all"], 1),
        "ratio": round(scores["kept"] / scores["all"], 3) if scores["all"] else None,
        "unit": "% exactly right",
        "how": f"{100 * NOISE:.0f} % noise planted; rows {counts}; without the planted rows "
        f"{100 * scores['clean']:.1f} %; equal steps; the INT4 file, {len(asked)} dev rows",
    }


def _write_csv(path: Path, rows: list[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "category"])
        table.writerows(rows)


def main() -> None:
    """Plant, find, and train where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--seeds", default="7,8,9", help="comma-separated")
    parser.add_argument(
        "--rows", type=int, default=0, help="rows with the noise among them (default: all; 3000 to train)"
    )
    parser.add_argument("--epochs", type=float, default=1.0, help="of the training on all rows")
    parser.add_argument("--train", action="store_true", help="train on the kept, all and clean rows")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    lines = []
    for seed in seeds:
        if options.train:
            lines.append(trained(options.data, seed, options.rows or 3000, options.epochs))
        else:
            lines.append(found(options.data, seed, options.rows))
        print(json.dumps(lines[-1]), flush=True)
    if len(lines) > 1:
        ours, peer = fmean(line["ours"] for line in lines), fmean(line["peer"] for line in lines)
        mean = {"name": f"{NAME}: mean of {len(lines)} seeds", "ours": round(ours, 1), "peer": round(peer, 1)}
        print(
            json.dumps({**mean, "ratio": round(ours / peer, 3), "unit": lines[0]["unit"], "how": "as above"})
        )


if __name__ == "__main__":
    main()
