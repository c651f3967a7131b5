"""Training speed: our loop against TRL's SFTTrainer on the same rows, rank and batch, in the same run.

`python -m benchmarks.training [--rows N] [--data FILE | --banking FOLDER]` prints two JSON lines: against TRL at its
defaults, and at its best settings (weights in bfloat16, no gradient checkpointing, batches by length). The figure is
useful tokens a second: tokens of the rows themselves, padding apart, a beginning that rows share counted in each row.
TRL is no dependency of the product; it is installed once into .bench/trl.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded
from appliance.base_model import resolve
from appliance.config import TrainingSection

ROOT = Path(__file__).resolve().parents[1]
PEER_PACKAGES = ("trl==1.16.0", "datasets==5.2.0")
RANK, ALPHA, BATCH, RATE = 16, 32, 16, 1e-3

_PEER_PROGRAM = """
import json, sys, time
checkpoint, rows_file, best, output = sys.argv[1], sys.argv[2], sys.argv[3] == "best", sys.argv[4]
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer
rows = [json.loads(line) for line in open(rows_file)]
data = Dataset.from_list([{"prompt": r[:-1], "completion": r[-1:]} for r in rows])
options = dict(output_dir=output, per_device_train_batch_size=%(batch)d, learning_rate=%(rate)g, report_to=[],
    num_train_epochs=1, save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True)
model, kwargs = checkpoint, {}
tokenizer = AutoTokenizer.from_pretrained(checkpoint)
if best:
    options.update(gradient_checkpointing=False, train_sampling_strategy="group_by_length")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16)
marks = []
class Clock(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        marks.append(time.perf_counter())
try:
    config = SFTConfig(**options)
except TypeError:
    options.pop("train_sampling_strategy", None)
    config = SFTConfig(**options, group_by_length=True)
trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer,
    peft_config=LoraConfig(r=%(rank)d, lora_alpha=%(alpha)d, target_modules="all-linear", task_type="CAUSAL_LM"),
    callbacks=[Clock()])
start = time.perf_counter()
trainer.train()
print("SECONDS", json.dumps({"seconds": marks[-1] - start, "steps": len(marks)}))
"""


def prepare_peer(name: str = "trl", packages: tuple[str, ...] = PEER_PACKAGES) -> Path:
    """A peer's own environment on top of ours, in .bench; made once. Its Python."""
    folder = ROOT / ".bench" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        site = next((folder / "lib").glob("python*/site-packages"))
        ours = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
        (site / "ours.pth").write_text(f"{ours}\n")
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        (folder / "ready").touch()
    return python


def conversations(path: Path, count: int) -> list[list[dict[str, Any]]]:
    """The first `count` conversations of a chat JSON-lines file."""
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line)["messages"] for line, _ in zip(stream, range(count), strict=False)]


def banking_conversations(data: Path, count: int) -> list[list[dict[str, Any]]]:
    """The first `count` rows of banking77 under an instruction of some 700 tokens, which lists all the labels."""
    labels = ", ".join(json.loads((data / "banking77.labels.json").read_text(encoding="utf-8")))
    asked = (
        f"Classify this bank customer message. Answer with one of these labels only: {labels}.\n\nMessage: "
    )
    with (data / "banking77.train.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row, _ in zip(csv.DictReader(stream), range(count), strict=False)]
    return [
        [{"role": "user", "content": asked + row["text"]}, {"role": "assistant", "content": row["category"]}]
        for row in rows
    ]


def our_speed(checkpoint: Path, rows: list[list[dict[str, Any]]]) -> tuple[float, int]:
    """Tokens a second of our loop over one epoch, and the rows' tokens."""
    import os

    import torch
    from transformers import AutoTokenizer

    from appliance.paths import cache_folder
    from appliance.training import encode_rows
    from appliance.training._process import keep_freed_memory
    from appliance.training.batches import collate, step_rows
    from appliance.training.llama import load
    from appliance.training.probe import probe

    keep_freed_memory()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    tokenizer = AutoTokenizer.from_pretrained(str(checkpoint), local_files_only=True)
    encoded = encode_rows(
        [(str(number), row) for number, row in enumerate(rows)],
        lambda part, prompt: str(
            tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=prompt)
        ),
        lambda text: list(tokenizer(text, add_special_tokens=False)["input_ids"]),
        {tokenizer.eos_token_id},
    )
    recipe = TrainingSection(rank=RANK, alpha=ALPHA, batch_rows=BATCH, learning_rate=RATE)
    trainable = load(checkpoint, recipe, probe().choice, cache_folder())
    optimizer = torch.optim.AdamW(trainable.masters, lr=RATE, fused=True)
    lengths = [len(row.ids) for row in encoded]
    steps = -(-len(encoded) // BATCH)
    begun = time.perf_counter()
    for numbers in step_rows(len(encoded), BATCH, 7, 1, steps):
        trainable.learn(collate([encoded[number] for number in numbers], share=trainable.shares_prefix))
        torch.nn.utils.clip_grad_norm_(trainable.masters, 1.0)
        optimizer.step()
        trainable.push_weights()
    return sum(lengths) / (time.perf_counter() - begun), sum(lengths)


def peer_speed(
    python: Path, checkpoint: Path, rows: list[list[dict[str, Any]]], best: bool, tokens: int
) -> float:
    """Tokens a second of TRL over one epoch of the same rows."""
    with tempfile.TemporaryDirectory() as folder:
        file, program = Path(folder) / "rows.jsonl", Path(folder) / "peer.py"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        program.write_text(_PEER_PROGRAM % {"batch": BATCH, "rate": RATE, "rank": RANK, "alpha": ALPHA})
        mode = "best" if best else "defaults"
        done = subprocess.run(
            [str(python), str(program), str(checkpoint), str(file), mode, folder],
            capture_output=True,
            text=True,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("SECONDS ")]
    if not lines:
        raise SystemExit(f"the peer failed:\n{done.stderr[-3000:]}")
    return float(tokens / json.loads(lines[-1].removeprefix("SECONDS "))["seconds"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=96, help="rows of one epoch")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "examples" / "workorders" / "data" / "notes.jsonl"
    )
    parser.add_argument(
        "--banking",
        type=Path,
        metavar="FOLDER",
        help="banking77 of this folder of open data, with its labels",
    )
    options = parser.parse_args()
    checkpoint = resolve("embedded", ROOT)
    what = "banking77 with its long instruction" if options.banking else options.data.name
    if options.banking:
        rows = banking_conversations(options.banking, options.rows)
    else:
        rows = conversations(options.data, options.rows)
    ours, tokens = our_speed(checkpoint, rows)
    python = prepare_peer()
    for best in (False, True):
        peer = peer_speed(python, checkpoint, rows, best, tokens)
        print(
            json.dumps(
                {
                    "name": f"training, against TRL at its {'best' if best else 'defaults'}",
                    "ours": round(ours, 1),
                    "peer": round(peer, 1),
                    "ratio": round(ours / peer, 2),
                    "unit": "useful tokens/s",
                    "how": f"{len(rows)} rows of {what}, {tokens} tokens, LoRA rank {RANK} on all linear "
                    f"layers, batch {BATCH}, one epoch, the same CPU and run",
                }
            )
        )


if __name__ == "__main__":
    main()
