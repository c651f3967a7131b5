"""Long rows: how near the CPU's own multiplier a training step comes, and what memory it takes.

`python -m benchmarks.training_long [--rows 16] [--tokens 256] [--steps 6]` trains on rows of random tokens, each its
own (nothing shared), the second half of each learnt. Two JSON lines: GFLOP/s of the step (four operations a weight and
token, the output projection where something is learnt, LoRA's own products; attention is not counted) against the
product that the probe measures in the same run; and peak resident memory against 3 GiB (`ratio` above 1: less).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path

import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded

RANK = 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--steps", type=int, default=6)
    given = parser.parse_args()

    import torch

    from appliance.base_model import resolve
    from appliance.config import TrainingSection
    from appliance.paths import cache_folder
    from appliance.training._process import keep_freed_memory
    from appliance.training.batches import collate
    from appliance.training.encoding import Encoded
    from appliance.training.estimate import size_of
    from appliance.training.llama import load
    from appliance.training.probe import probe

    keep_freed_memory()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    checkpoint = resolve("embedded", Path.cwd())
    measured = probe()
    trainable = load(checkpoint, TrainingSection(rank=RANK), measured.choice, cache_folder())
    optimizer = torch.optim.AdamW(trainable.masters, lr=1e-4, fused=True)
    torch.manual_seed(7)
    learnt = tuple(place >= given.tokens // 2 for place in range(given.tokens))

    def batch(step: int) -> list[Encoded]:
        ids = torch.randint(0, 49000, (given.rows, given.tokens)).tolist()
        return [Encoded(f"{step}-{number}", tuple(row), learnt) for number, row in enumerate(ids)]

    seconds = []
    for step in range(given.steps + 2):
        rows = collate(batch(step), share=trainable.shares_prefix)
        begun = time.perf_counter()
        trainable.learn(rows)
        torch.nn.utils.clip_grad_norm_(trainable.masters, 1.0)
        optimizer.step()
        trainable.push_weights()
        seconds.append(time.perf_counter() - begun)
    step_seconds = sum(seconds[2:]) / given.steps  # the first two meet their shapes
    size, tokens = size_of(checkpoint), given.rows * given.tokens
    lora = sum(master.numel() for master in trainable.masters)
    # Frozen: forward and the gradient to the input. LoRA: its own gradient too.
    gflop = 1e-9 * (tokens * (4 * size.matrices + 6 * lora) + 4 * size.projection * given.rows * sum(learnt))
    peak = max(measured.bfloat16, measured.float32)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    how = f"SmolLM2-135M, LoRA rank {RANK}, {given.rows} rows of {given.tokens} tokens, {given.steps} steps, "
    how += f"{str(measured.choice).removeprefix('torch.')}, {tokens / step_seconds:.0f} tokens/s"
    lines = [
        (
            "share of the multiplier's speed",
            gflop / step_seconds,
            peak,
            gflop / step_seconds / peak,
            "GFLOP/s",
        ),
        ("peak memory against 3 GiB", memory, 3072.0, 3072 / memory, "MiB"),
    ]
    for title, ours, against, ratio, unit in lines:
        line = {"name": f"training on long rows, {title}", "ours": round(ours, 1), "peer": round(against, 1)}
        print(json.dumps(line | {"ratio": round(ratio, 2), "unit": unit, "how": how}))


if __name__ == "__main__":
    main()
