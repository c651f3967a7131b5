"""Converting a large model: memory, and what a second thread brings: `python -m benchmarks.convert_large [--layers N]`.

Makes a synthetic Llama of 3 billion weights in 16 bits (random; 6 GB in `--scratch`) with the embedded base's
tokenizer, and converts it to Q4_0 with one thread and with two in turn, each in a process of its own; of each the
shorter time of `--rounds`. Two JSON lines: peak resident memory against a quarter of the model's 16-bit size (`ratio`
above 1: less than that), and seconds with two threads against one. Scratch is a file system in memory where that has
room: a disk that takes some hundred MB a second is the whole time of a conversion, however many threads work.

With `--rows N` levels are chosen by N rows of 256 random tokens, as a project's are by its own, once and with two
threads, and only the memory is told.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from appliance import base_model
from convert import safetensors_file

HIDDEN, INNER, LAYERS, HEADS, KEYS = 3072, 8192, 28, 24, 8
PIECE = 1 << 22  # weights made at a time
ROOM = 12 * 10**9  # bytes: model, file, and as much again for what else runs
CONVERT = """
import sys
from pathlib import Path
from convert import to_gguf
to_gguf.convert(Path(sys.argv[1]), Path(sys.argv[2]), quantization="Q4_0", threads=int(sys.argv[3]))
"""
BY_ROWS = """
import random, sys
from pathlib import Path
import appliance.training, torch
from appliance import compiled
from appliance.calibration import Calibration
from appliance.paths import cache_folder
from appliance.training.encoding import Encoded
from convert import libggml, to_gguf
from convert.compensated import choose_levels, quantize_compensated
from convert.native_levels import SOURCE, NativeLevels
model, chance = Path(sys.argv[1]), random.Random(7)
rows = [Encoded(str(n), tuple(chance.choices(range(40_000), k=256)), (False,) + (True,) * 255)
        for n in range(int(sys.argv[4]))]
found = Calibration(model, None, rows, torch.bfloat16, torch.device("cpu"))
choose = compiled.load(SOURCE, cache_folder(), NativeLevels) or choose_levels
def rounded(name, weights, kind):
    how = found.of(name)
    return libggml.quantize(weights, kind) if how is None else quantize_compensated(weights, kind, how, choose)
to_gguf.convert(model, Path(sys.argv[2]), quantization="Q4_0", threads=int(sys.argv[3]), quantize=rounded)
"""


def _layout(layers: int, vocabulary: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    narrow = HIDDEN // HEADS * KEYS
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, HIDDEN)}
    for layer in range(layers):
        start = f"model.layers.{layer}"
        shapes |= {f"{start}.self_attn.{name}_proj.weight": (HIDDEN, HIDDEN) for name in "qo"}
        shapes |= {f"{start}.self_attn.{name}_proj.weight": (narrow, HIDDEN) for name in "kv"}
        shapes |= {f"{start}.mlp.{name}_proj.weight": (INNER, HIDDEN) for name in ("gate", "up")}
        shapes[f"{start}.mlp.down_proj.weight"] = (HIDDEN, INNER)
        shapes |= {f"{start}.{name}_layernorm.weight": (HIDDEN,) for name in ("input", "post_attention")}
    shapes["model.norm.weight"] = (HIDDEN,)
    return {name: ("F16", shape) for name, shape in shapes.items()}


def synthesize(folder: Path, layers: int) -> int:
    """Write the model into `folder`; returns its bytes in 16 bits."""
    embedded = base_model.resolve(base_model.EMBEDDED, Path.cwd())
    shutil.copytree(embedded, folder, ignore=shutil.ignore_patterns("*.safetensors", "provenance.json"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": layers}
    config |= {"num_attention_heads": HEADS, "num_key_value_heads": KEYS, "head_dim": HIDDEN // HEADS}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    layout = _layout(layers, int(config["vocab_size"]))
    chance = np.random.default_rng(7)
    piece = (chance.standard_normal(PIECE, dtype=np.float32) * 0.02).astype(np.float16)

    def parts() -> Iterator[memoryview]:
        for _, shape in layout.values():
            left = int(np.prod(shape))
            while left:
                yield piece[: min(left, PIECE)].data
                left -= min(left, PIECE)

    with (folder / safetensors_file.SINGLE).open("wb") as stream:
        safetensors_file.write(stream, layout, parts())
    return sum(2 * int(np.prod(shape)) for _, shape in layout.values())


def _default_scratch() -> Path:
    memory = Path("/dev/shm")
    return (
        memory if memory.is_dir() and shutil.disk_usage(memory).free > ROOM else Path(tempfile.gettempdir())
    )


def _run(folder: Path, output: Path, threads: int, rows: int = 0) -> tuple[float, float]:
    """Seconds and peak resident memory in bytes of one conversion."""
    begun = time.perf_counter()
    program = BY_ROWS if rows else CONVERT
    child = subprocess.Popen([sys.executable, "-c", program, folder, output, str(threads), str(rows)])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the conversion ended with {child.returncode}")
    return time.perf_counter() - begun, usage.ru_maxrss * 1024.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=LAYERS, help="28: 3 billion weights")
    parser.add_argument("--scratch", type=Path, default=_default_scratch())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=0, help="choose levels by so many rows")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anchorhold-large-", dir=given.scratch) as name:
        folder, output = Path(name) / "model", Path(name) / "out.gguf"
        size = synthesize(folder, given.layers)
        os.sync()  # or the disk is still busy with the model when its conversion is timed
        runs: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        if given.rows:
            runs = {2: [_run(folder, output, 2, given.rows)]}
        for _ in range(0 if given.rows else given.rounds):
            for threads, done in runs.items():
                done.append(_run(folder, output, threads))
    one, two = (min((seconds for seconds, _ in runs.get(threads, ())), default=0.0) for threads in (1, 2))
    memory = max(peak for _, peak in runs[2])
    what = (
        f"synthetic Llama of {size / 2e9:.2f} billion weights, {size / 1e9:.1f} GB in 16 bits, to Q4_0, in "
        f"{given.scratch}"
        + (f", levels by {given.rows} rows of 256 tokens, {two:.0f} s" if given.rows else "")
    )
    lines = [
        ("peak memory against a quarter of the model", memory / 1e6, size / 4e6, size / 4 / memory, "MB"),
        ("two threads against one", two, one, one / two, "s"),
    ]
    for title, ours, peer, ratio, unit in lines[: 1 if given.rows else 2]:
        line = {"name": f"convert a large model, {title}", "ours": round(ours, 1), "peer": round(peer, 1)}
        print(json.dumps(line | {"ratio": round(ratio, 2), "unit": unit, "how": what}))


if __name__ == "__main__":
    main()
