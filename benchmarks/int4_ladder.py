"""What makes training on the INT4 grid best: `python -m benchmarks.int4_ladder [--set NAME] [--rungs A,B]`.

One set, one seed, one recipe; a rung changes one thing. First what can be done after a training in 16 bits (plain
rounding, an importance matrix, the product's GPTQ, fitted scales), then the grid: where it begins, how often the
weights are rounded anew, distillation from the 16-bit model, and GPTQ on top of it. Trainings that agree up to some
step share it (forked.py). Every Q4_0 file is asked all dev rows; `ours` is its share exactly right, `peer` that of the
16-bit file, `how` also tells the mean loss of the dev answers' tokens under the file's weights, which has less noise,
and the seconds of training. Finished rungs are kept in .bench/ladder and not walked again. `--parts` says what each
group of matrices carries: the 16-bit training's file with all in Q4_0 but for one group in Q8_0, as loss of the dev
answers.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded
from appliance import offline, storage
from appliance.base_model import resolve
from appliance.calibration import chosen
from appliance.dataset import prepare, read_rows
from appliance.evaluation.one_file import measure_file
from appliance.evaluation.systems import ModelFile, System, plain_prompt
from appliance.events import Emit, Event
from appliance.paths import Project, cache_folder
from appliance.progress import terminal_progress
from appliance.training import resolve_plan, session
from appliance.training.batches import collate
from appliance.training.encoding import Encoded
from appliance.training.llama import load
from appliance.training.precision import kept_dtype
from benchmarks import int4_rounding, int4_scales, int4_teacher
from benchmarks.forked import Keeper, continue_from
from benchmarks.open_data import ROOT, SETS, SHARED, project_of
from convert import to_checkpoint, to_gguf
from convert.libggml import Bytes, Floats, quantize

MARKS = (0.25, 0.5, 0.75)  # shares of the steps whose checkpoints are kept
CODE = "ladder"
PARTS = (
    *(rf"attn_{name}\." for name in ("q", "k", "v", "output")),
    *(rf"ffn_{name}\." for name in ("gate", "up", "down")),
    r"blk\.[0-2]\.",
    r"blk\.2[789]\.",  # the last three of thirty
)


@dataclass(frozen=True)
class Rung:
    """One thing that is changed.

    Attributes:
        title: what.
        recipe: keys of `[training]`.
        rounding: of the file; see `_quantizer`.
        share: of the teacher in the loss.
    """

    title: str
    recipe: dict[str, Any]
    rounding: str = ""
    share: float = 0.0


_PLAIN, _HALF = {"grid_start": 1.0}, {"grid_start": 0.5}
RUNGS = {
    "after": Rung("16 bits, rounded afterwards", _PLAIN),
    "after-imatrix": Rung("16 bits, importance matrix", _PLAIN, "imatrix"),
    "after-gptq": Rung("16 bits, GPTQ", _PLAIN, "gptq"),
    "after-gptq-fit": Rung("16 bits, GPTQ, scales fitted", _PLAIN, "gptq-fit"),
    "after-gptq-search": Rung("16 bits, scales searched, GPTQ", _PLAIN, "gptq-search"),
    "after-gptq-learnt": Rung("16 bits, GPTQ, scales learnt", _PLAIN, "gptq-learnt"),
    "half": Rung("grid from half of the steps, rounded every 8", _HALF),
    "start-0": Rung("grid from the first step", {"grid_start": 0.0}),
    "start-25": Rung("grid from a quarter of the steps", {"grid_start": 0.25}),
    "start-75": Rung("grid from three quarters of the steps", {"grid_start": 0.75}),
    "every-2": Rung("grid from half, rounded every 2", {**_HALF, "grid_every": 2}),
    "every-32": Rung("grid from half, rounded every 32", {**_HALF, "grid_every": 32}),
    "teacher": Rung("grid from half, half of the loss a teacher's", _HALF, share=0.5),
    "teacher-alone": Rung("grid from half, all of the loss a teacher's", _HALF, share=1.0),
    "half-gptq": Rung("grid from half, then GPTQ", _HALF, "gptq"),
}


class Ladder:
    """One set and seed."""

    def __init__(self, name: str, data: Path, seed: int, emit: Emit) -> None:
        """Prepare its rows."""
        self._name, self._data, self._seed, self._emit = name, data, seed, emit
        self._root = ROOT / ".bench" / "ladder" / f"{name}-{seed}"
        self._plain = self._project("plain", **_PLAIN)
        self._checkpoint = resolve("embedded", ROOT, emit)
        self._dev = sorted(read_rows(self._plain.dataset / "test.jsonl"), key=lambda row: row.id)
        steps = resolve_plan(
            self._plain.config.training, len(read_rows(self._plain.dataset / "train.jsonl"))
        ).steps
        self._marks = {round(steps * mark): self._root / f"after-{mark}" for mark in MARKS}
        self._starts = {mark: self._root / f"after-{mark}" for mark in MARKS}
        self._moments: dict[Path, int4_rounding.Moments] = {}

    def _project(self, kind: str, **recipe: Any) -> Project:
        folder = self._root / kind
        project = project_of(self._name, self._data, folder, baselines=False, seed=self._seed, **recipe)
        if not (project.dataset / "card.json").exists():
            prepare(project, self._emit, checkpoint=resolve("embedded", ROOT, self._emit))
        return project

    def _train(self, project: Project, share: float) -> dict[str, Any]:
        record = project.training / "training.json"
        if not record.exists():
            emit = self._emit
            start = project.config.training.grid_from
            if start == 1.0:
                emit = Keeper(project, self._marks, emit)
            elif start > 0.0:
                continue_from(self._starts[start], project, self._checkpoint, CODE)
            loader = int4_teacher.loader(share) if share else load
            with mock.patch.object(session, "load", loader):
                session.train(
                    project, self._checkpoint, emit, checkpoint_seconds=math.inf, code=CODE, accept_days=True
                )
        found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        return found

    def _encoded(self, split: str, count: int = 0) -> list[Encoded]:
        rows = sorted(read_rows(self._plain.dataset / f"{split}.jsonl"), key=lambda row: row.id)
        return session.encode_with(rows[: count or None], self._checkpoint)

    def _quantizer(self, rounding: str, project: Project) -> Callable[[str, Floats, str], Bytes]:
        if not rounding:
            return to_gguf.as_libggml
        if project.root not in self._moments:
            rows = chosen(read_rows(self._plain.dataset / "train.jsonl"), self._checkpoint)
            self._moments[project.root] = int4_rounding.Moments(
                self._checkpoint, project.adapter, rows, kept_dtype(project)
            )
        moments = self._moments[project.root]
        if rounding == "imatrix":

            def weighed(name: str, rows: Floats, kind: str) -> Bytes:
                importance = moments.importance(name)
                if kind != int4_rounding.TYPE or importance is None:
                    return quantize(rows, kind)
                return int4_rounding.with_importance(rows, importance)

            return weighed
        return int4_rounding.Compensating(moments, fit="fit" in rounding, search="search" in rounding)

    def _learn(self, project: Project, file: Path) -> None:
        """Learn the scales of a file that GPTQ has rounded, from the 16-bit model and the training rows."""
        full = self._root / "full.gguf"
        to_gguf.convert(self._checkpoint, full, adapter=project.adapter, quantization="F16")
        folders = self._root / "learn-rounded", self._root / "learn-full"
        for source, folder in zip((file, full), folders, strict=True):
            shutil.rmtree(folder, ignore_errors=True)
            to_checkpoint.convert(source, folder)
        full.unlink()
        learning = int4_scales.Learning(file, *folders, self._encoded("train"))
        first, last = (sum(part) / len(part) for part in (learning.losses[:8], learning.losses[-8:]))
        self._emit(
            Event("scales", "message", f"KL of the first and last eight steps: {first:.4f}, {last:.4f}")
        )
        learning.patch(file)
        for folder in folders:
            shutil.rmtree(folder)

    def _dev_loss(self, file: Path, project: Project) -> float:
        """Mean loss of the dev answers' tokens, in nats, under a file's weights."""
        folder = self._root / "as-checkpoint"
        shutil.rmtree(folder, ignore_errors=True)
        to_checkpoint.convert(file, folder)
        import torch

        trainable = load(folder, project.config.training, torch.bfloat16, cache_folder())
        rows = sorted(self._encoded("test"), key=lambda row: len(row.ids))
        total, targets = 0.0, 0
        for start in range(0, len(rows), 32):
            batch = collate(rows[start : start + 32], share=trainable.shares_prefix)
            total, targets = total + trainable.loss(batch) * batch.learnt, targets + batch.learnt
        shutil.rmtree(folder)
        return total / targets

    def measure(self, key: str, kind: str = int4_rounding.TYPE) -> dict[str, Any]:
        """Exact share, dev loss and training time of one rung's file."""
        rung = RUNGS[key]
        trained = "plain" if rung.recipe == _PLAIN else key.removesuffix("-gptq")
        project = self._project(trained, **rung.recipe)
        path = self._root / f"{key}-{kind}.json"
        if not path.exists():
            training = self._train(project, rung.share)
            file = project.root / f"{key}-{kind}.gguf"
            written = to_gguf.convert(
                self._checkpoint, file, adapter=project.adapter, quantization=kind,
                overrides=project.config.parts_of(kind),  # as it was trained
                quantize=self._quantizer(rung.rounding, project),
            )  # fmt: skip
            if "learnt" in rung.rounding:
                self._learn(project, file)
            model = ModelFile(file, storage.sha256_file(file), written.bytes, written.bits_per_weight)
            system = System(key, rung.title, model, plain_prompt)
            score = measure_file(project, self._checkpoint, system, self._dev, project.root / f"asked-{key}-{kind}",
                                 lambda _more: None)  # fmt: skip
            storage.write_json(
                path,
                {
                    "exact": score.exact.share,
                    "rows": len(self._dev),
                    "loss": self._dev_loss(file, project),
                    "seconds": training["seconds"],
                },
            )
            file.unlink()
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def loss_with(self, kind: str, group: str = "") -> tuple[float, int]:
        """Loss of the dev answers under the 16-bit training's file, a group in Q8_0; and the file's bytes."""
        self._train(self._plain, 0.0)
        file = self._root / "part.gguf"
        written = to_gguf.convert(
            self._checkpoint, file, adapter=self._plain.adapter, quantization=kind,
            overrides={group: "Q8_0"} if group else None,
        )  # fmt: skip
        return self._dev_loss(file, self._plain), written.bytes


def _rungs(ladder: Ladder, of: str, keys: list[str]) -> Iterator[dict[str, Any]]:
    full = ladder.measure("after", "F16")
    for key in keys:
        found = ladder.measure(key)
        yield {
            "name": f"{of}: {RUNGS[key].title}",
            "ours": round(100 * found["exact"], 1),
            "peer": round(100 * full["exact"], 1),
            "ratio": round(found["exact"] / full["exact"], 3) if full["exact"] else None,
            "unit": "% exactly right",
            "how": f"{found['rows']} dev rows; loss of their answers {found['loss']:.4f}, 16 bits "
            f"{full['loss']:.4f}; {found['seconds']:.0f} s of training, 16 bits {full['seconds']:.0f} s",
        }


def _parts(ladder: Ladder, of: str) -> Iterator[dict[str, Any]]:
    full, _ = ladder.loss_with("F16")
    plain, size = ladder.loss_with("Q4_0")
    for group in PARTS:
        loss, larger = ladder.loss_with("Q4_0", group)
        yield {
            "name": f"{of}: {group} in Q8_0",
            "ours": round(loss, 4),
            "peer": round(plain, 4),
            "ratio": round(plain / loss, 3),
            "unit": "nats a token",
            "how": f"16 bits {full:.4f}; {100 * (plain - loss) / (plain - full):.0f} % of the gap closed for "
            f"{(larger - size) / 1e6:.1f} MB",
        }


def main() -> None:
    """Climb, and print a line a rung."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--set", default="banking77", choices=SETS)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rungs", default=",".join(RUNGS), help="comma-separated")
    parser.add_argument("--parts", action="store_true", help="what each group of matrices carries, no rungs")
    given = parser.parse_args()
    offline.seal()
    with terminal_progress() as emit:
        ladder = Ladder(given.set, given.data, given.seed, emit)
        of = f"{given.set}, seed {given.seed}"
        lines = _parts(ladder, of) if given.parts else _rungs(ladder, of, given.rungs.split(","))
        for line in lines:
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
