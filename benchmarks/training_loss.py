"""Does the quick loop learn as well? `python -m benchmarks.training_loss [--rows 128] [--epochs 2] [--seeds 7,8,9]`.

The same rows, LoRA rank, batch, rates and number of steps with our loop (16 bits, off the grid) and with TRL's
SFTTrainer at its default precision; then the mean loss of the validation answers' tokens under each adapter, both
computed by transformers and peft in float32. One JSON line: means over the seeds (`ratio` above 1: ours is lower), with
each seed's losses in `how`. TRL is installed as for benchmarks.training.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from pathlib import Path
from statistics import fmean, stdev

import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded
from appliance import offline
from appliance.base_model import resolve
from appliance.dataset import prepare, read_rows
from appliance.events import Emit
from appliance.paths import Project
from appliance.progress import terminal_progress
from appliance.training import resolve_plan, session
from appliance.training.encoding import Encoded
from benchmarks.open_data import ROOT, SETS, SHARED, project_of
from benchmarks.training import prepare_peer

BATCH, RATE, VALIDATION = 16, 1e-3, 100

_PEER_PROGRAM = """
import json, sys
checkpoint, rows_file, output = sys.argv[1:4]
epochs, seed, warmup = float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer
rows = [json.loads(line) for line in open(rows_file)]
data = Dataset.from_list([{"prompt": r[:-1], "completion": r[-1:]} for r in rows])
config = SFTConfig(output_dir=output, per_device_train_batch_size=%(batch)d, learning_rate=%(rate)g, report_to=[],
    num_train_epochs=epochs, save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True, seed=seed,
    gradient_checkpointing=False, lr_scheduler_type="cosine_with_min_lr", warmup_steps=warmup,
    lr_scheduler_kwargs={"min_lr_rate": 0.1}, weight_decay=0.0, max_grad_norm=1.0)
trainer = SFTTrainer(model=checkpoint, args=config, train_dataset=data,
    peft_config=LoraConfig(r=%(rank)d, lora_alpha=%(alpha)d, target_modules="all-linear", task_type="CAUSAL_LM"))
trainer.train()
trainer.model.save_pretrained(output)
"""


def our_adapter(project: Project, checkpoint: Path, emit: Emit) -> Path:
    """Train with our loop, to the last step."""
    session.train(project, checkpoint, emit, restart=True, checkpoint_seconds=math.inf)
    return project.adapter


def peer_adapter(project: Project, checkpoint: Path, python: Path, output: Path, seed: int) -> Path:
    """Train the same rows with TRL."""
    recipe, rows = project.config.training, read_rows(project.dataset / "train.jsonl")
    file, program = output / "rows.jsonl", output / "peer.py"
    file.write_text("".join(json.dumps(row.messages) + "\n" for row in rows), encoding="utf-8")
    settings = {"batch": BATCH, "rate": RATE, "rank": recipe.rank, "alpha": recipe.alpha}
    program.write_text(_PEER_PROGRAM % settings, encoding="utf-8")
    warmup = resolve_plan(recipe, len(rows)).warmup_steps
    given = [checkpoint, file, output, recipe.epochs, seed, warmup]
    done = subprocess.run(
        [str(python), str(program), *map(str, given)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the peer failed:\n{done.stderr[-3000:]}")
    return output


def answer_loss(checkpoint: Path, adapter: Path, rows: list[Encoded]) -> float:
    """Mean loss of the learnt tokens in nats, by transformers and peft in float32."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(str(checkpoint), dtype=torch.float32, local_files_only=True)
    model = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    total, targets = 0.0, 0
    for row in rows:
        ids, learnt = torch.tensor(row.ids), torch.tensor(row.learnt[1:])
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, :-1][learnt]
        total += float(torch.nn.functional.cross_entropy(logits, ids[1:][learnt], reduction="sum"))
        targets += row.targets
    return total / targets


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--set", default="coffee_order_json", choices=SETS)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--seeds", default="7,8,9", help="comma-separated")
    given = parser.parse_args()
    python = prepare_peer()
    offline.seal()
    ours, peers = [], []
    with terminal_progress() as emit:
        checkpoint = resolve("embedded", ROOT, emit)
        for seed in map(int, given.seeds.split(",")):
            folder = ROOT / ".bench" / "loss" / f"{given.set}-{seed}"
            project = project_of(
                given.set, given.data, folder, rows=given.rows, epochs=given.epochs, seed=seed, batch_rows=BATCH,
                learning_rate=RATE, grid_start=1.0, evaluations=1,
            )  # fmt: skip
            prepare(project, emit, checkpoint=checkpoint)
            held_out = read_rows(project.dataset / "valid.jsonl")[:VALIDATION]
            rows = session.encode_with(held_out, checkpoint)
            ours.append(answer_loss(checkpoint, our_adapter(project, checkpoint, emit), rows))
            with tempfile.TemporaryDirectory() as scratch:
                adapter = peer_adapter(project, checkpoint, python, Path(scratch), seed)
                peers.append(answer_loss(checkpoint, adapter, rows))
    spread = max(stdev(ours), stdev(peers)) if len(ours) > 1 else float("nan")
    pairs = ", ".join(f"{mine:.4f} / {theirs:.4f}" for mine, theirs in zip(ours, peers, strict=True))
    line = {
        "name": f"{given.set}: validation loss after the last step, against TRL",
        "ours": round(fmean(ours), 4),
        "peer": round(fmean(peers), 4),
        "ratio": round(fmean(peers) / fmean(ours), 3),
        "unit": "nats a token",
        "how": f"{given.rows} rows, {given.epochs:g} epochs, batch {BATCH}, {len(rows)} validation rows; by seed "
        f"{pairs}; the larger standard deviation over seeds {spread:.4f}",
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
