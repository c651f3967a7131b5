"""Where the bits of an INT4 file do most: `python -m benchmarks.int4_mixes [--sets A,B] [--seeds 7,8,9] [--mixes A,B]`.

Takes the trainings that `benchmarks.int4` left in .bench/int4, makes a file of each mix of types by the product's own
rounding, and tells the mean loss, in nats, of the answers' tokens under its weights, of the validation rows and of the
dev rows. One JSON line a set, seed and mix: `ours` is the loss over both, `peer` that of the 16-bit file. Shares of
right answers, which are what counts in the end, are `benchmarks.int4`'s: they have more noise, and take longer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded
from appliance import offline
from appliance.base_model import resolve
from appliance.config import DOWN, KEYS_AND_VALUES
from appliance.conversion import Choice, file_settings, write_gguf
from appliance.dataset import read_rows
from appliance.evaluation.frontier import EMBEDDINGS
from appliance.events import Emit
from appliance.paths import Project, cache_folder
from appliance.progress import terminal_progress
from appliance.rounding import Rounding
from appliance.training import session
from appliance.training.batches import collate
from appliance.training.encoding import Encoded
from benchmarks.open_data import ROOT
from convert import to_checkpoint

MIXES = {
    "f16": Choice("F16"),
    "plain": Choice("Q4_0"),
    "keys-values": Choice("Q4_0", ((KEYS_AND_VALUES, "Q8_0"),)),
    "down": Choice("Q4_0", ((DOWN, "Q5_0"),)),
    "down-values": Choice("Q4_0", ((DOWN, "Q5_0"), (r"attn_v\.", "Q8_0"))),
    "down-keys-values": Choice("Q4_0", ((KEYS_AND_VALUES, "Q8_0"), (DOWN, "Q5_0"))),
    "down-8": Choice("Q4_0", ((DOWN, "Q8_0"), (KEYS_AND_VALUES, "Q8_0"))),
    "gate-up": Choice("Q4_0", ((r"ffn_(gate|up)\.", "Q5_0"), (KEYS_AND_VALUES, "Q8_0"))),
    "attention": Choice("Q4_0", ((KEYS_AND_VALUES, "Q8_0"), (r"attn_", "Q5_0"))),
    "first": Choice("Q4_0", ((KEYS_AND_VALUES, "Q8_0"), (r"blk\.[0-2]\.", "Q5_0"))),
    "last": Choice("Q4_0", ((KEYS_AND_VALUES, "Q8_0"), (r"blk\.2[789]\.", "Q5_0"))),
    "embeddings": Choice("Q4_0", ((EMBEDDINGS, "Q5_0"), (KEYS_AND_VALUES, "Q8_0"))),
    "embeddings-down": Choice("Q4_0", ((EMBEDDINGS, "Q5_0"), (KEYS_AND_VALUES, "Q8_0"), (DOWN, "Q5_0"))),
    "q5": Choice("Q5_0"),
}
_BATCH = 32  # rows


class Measured:
    """One training and its rows."""

    def __init__(self, folder: Path, emit: Emit) -> None:
        """Read them.

        Raises:
            SystemExit: the training isn't there.
        """
        if not folder.is_dir():
            raise SystemExit(f"{folder}: no training there; `python -m benchmarks.int4` makes it")
        self._project = Project.open(folder)
        self._checkpoint = resolve(self._project.config.base.path, ROOT, emit)
        self._rounding, self._emit = Rounding(self._project, self._checkpoint, emit), emit
        self._rows = {split: self._encoded(split) for split in ("valid", "test")}

    def _encoded(self, split: str) -> list[Encoded]:
        rows = session.encode_with(read_rows(self._project.dataset / f"{split}.jsonl"), self._checkpoint)
        return sorted(rows, key=lambda row: len(row.ids))

    def losses(self, mix: Choice) -> tuple[dict[str, tuple[float, int]], float]:
        """(sum of the losses, tokens) by split, and the file's bits a weight."""
        parts = dict(mix.overrides)
        self._rounding.prepare(mix.type, parts)
        with tempfile.TemporaryDirectory(prefix="anchorhold-mix-") as name:
            file, folder = Path(name) / "mix.gguf", Path(name) / "checkpoint"
            written = write_gguf(
                self._checkpoint, file, **file_settings(self._project), quantization=mix.type, overrides=parts,
                quantize=self._rounding, emit=self._emit,
            )  # fmt: skip
            to_checkpoint.convert(file, folder)
            return {
                split: self._loss(folder, rows) for split, rows in self._rows.items()
            }, written.bits_per_weight

    def _loss(self, folder: Path, rows: list[Encoded]) -> tuple[float, int]:
        import torch

        from appliance.training.llama import load

        trainable = load(folder, self._project.config.training, torch.float32, cache_folder())
        total, tokens = 0.0, 0
        for start in range(0, len(rows), _BATCH):
            batch = collate(rows[start : start + _BATCH], share=trainable.shares_prefix)
            total, tokens = total + trainable.loss(batch) * batch.learnt, tokens + batch.learnt
        return total, tokens


def line_of(
    name: str, mix: Choice, losses: dict[str, tuple[float, int]], bits: float, full: float
) -> dict[str, Any]:
    """The JSON line of one file."""
    ours = mean(losses)
    told = ", ".join(
        f"{split} {total / tokens:.4f} ({tokens} tokens)" for split, (total, tokens) in losses.items()
    )
    return {
        "name": f"{name}: {mix}",
        "ours": round(ours, 4),
        "peer": round(full, 4),
        "ratio": round(ours / full, 3),
        "unit": "nats a token",
        "how": f"{told}; {bits:.2f} bits a weight",
    }


def mean(losses: dict[str, tuple[float, int]]) -> float:
    """Over the tokens of all splits."""
    return sum(total for total, _ in losses.values()) / sum(tokens for _, tokens in losses.values())


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default="snips_json", help="comma-separated")
    parser.add_argument("--seeds", default="7,8,9", help="comma-separated")
    parser.add_argument("--mixes", default=",".join(MIXES), help="comma-separated")
    given = parser.parse_args()
    offline.seal()
    with terminal_progress() as emit:
        for name in given.sets.split(","):
            for seed in given.seeds.split(","):
                measured = Measured(ROOT / ".bench" / "int4" / f"{name}-{seed}-plain", emit)
                full = mean(measured.losses(MIXES["f16"])[0])
                for key in given.mixes.split(","):
                    losses, bits = measured.losses(MIXES[key])
                    print(
                        json.dumps(line_of(f"{name}, seed {seed}", MIXES[key], losses, bits, full)),
                        flush=True,
                    )


if __name__ == "__main__":
    main()
