"""Training on a GPU: our loop, its two ways, against TRL's SFTTrainer and Unsloth, on one card in one run.

`python -m benchmarks.training_gpu --rows-file FILE [--count 1024] [--base FOLDER] [--unsloth FOLDER]`. The rows are
chat JSON lines. Without `--base`, a checkpoint of SmolLM2-135M's shape with random weights is made, as speed doesn't
depend on what they are; its tokenizer is taken from `--tokenizer FOLDER`. Peers are those that this Python imports;
`--unsloth` names a folder of packages that is put before its path. JSON lines: useful tokens a second (as
benchmarks.training counts them) over the second half of an epoch, so that what is compiled or recorded on the way isn't
counted, and over the whole of it; peak memory of the card; and the mean loss of the first steps on CPU and card.
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
from pathlib import Path
from typing import Any

import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded
from appliance.config import TrainingSection
from benchmarks.training import ALPHA, BATCH, RANK, RATE, conversations

PATIENCE = 150  # seconds for a peer
FIRST = 4  # steps whose losses are compared

_PEER_PROGRAM = """
import json, sys, time
checkpoint, rows_file, mode, output = sys.argv[1:5]
if mode == "unsloth":
    from unsloth import FastLanguageModel
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer
rows = [json.loads(line)["messages"] for line in open(rows_file)]
options = dict(output_dir=output, per_device_train_batch_size=%(batch)d, learning_rate=%(rate)g, report_to=[],
    num_train_epochs=1, save_strategy="no", logging_strategy="no", disable_tqdm=True)
model, tokenizer = checkpoint, AutoTokenizer.from_pretrained(checkpoint)
lora = dict(r=%(rank)d, lora_alpha=%(alpha)d)
if mode == "unsloth":
    model, tokenizer = FastLanguageModel.from_pretrained(checkpoint, max_seq_length=2048, dtype=torch.bfloat16,
        load_in_4bit=False, local_files_only=True)
    model = FastLanguageModel.get_peft_model(model, target_modules=["q_proj", "k_proj", "v_proj", "o_proj",
        "gate_proj", "up_proj", "down_proj"], lora_dropout=0, bias="none", use_gradient_checkpointing=False, **lora)
    data = Dataset.from_list([{"text": tokenizer.apply_chat_template(r, tokenize=False)} for r in rows])
    given = {}
else:
    data = Dataset.from_list([{"prompt": r[:-1], "completion": r[-1:]} for r in rows])
    given = dict(peft_config=LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", **lora))
if mode != "defaults":
    options.update(gradient_checkpointing=False)
if mode == "best":
    options.update(train_sampling_strategy="group_by_length")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16)
marks = []
class Clock(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        torch.cuda.synchronize()
        marks.append(time.perf_counter())
trainer = SFTTrainer(model=model, args=SFTConfig(**options), train_dataset=data, processing_class=tokenizer,
    callbacks=[Clock()], **given)
begun = time.perf_counter()
trainer.train()
half = len(marks) // 2
print("SECONDS", json.dumps({"half": marks[-1] - marks[half - 1], "steps": len(marks) - half, "of": len(marks),
    "whole": marks[-1] - begun, "memory": torch.cuda.max_memory_allocated() / 2**20}))
"""

NAMES = {
    "modules": "our modules without graphs", "best": "TRL at its best", "defaults": "TRL at its defaults",
    "unsloth": "Unsloth",
}  # fmt: skip

_SHAPE = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True, "rope_theta": 100000.0, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
}  # fmt: skip


def random_base(tokenizer: Path, folder: Path) -> Path:
    """A checkpoint of SmolLM2-135M's shape with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(tokenizer, folder)
    torch.manual_seed(7)
    LlamaForCausalLM(LlamaConfig(**_SHAPE)).to(torch.bfloat16).save_pretrained(folder)
    return folder


def encoded_rows(checkpoint: Path, rows: list[list[dict[str, Any]]]) -> list[Any]:
    """The rows as our loop learns them."""
    from transformers import AutoTokenizer

    from appliance.training import encode_rows

    tokenizer = AutoTokenizer.from_pretrained(str(checkpoint), local_files_only=True)
    return encode_rows(
        [(str(number), row) for number, row in enumerate(rows)],
        lambda part, prompt: str(
            tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=prompt)
        ),
        lambda text: list(tokenizer(text, add_special_tokens=False)["input_ids"]),
        {tokenizer.eos_token_id},
    )


def ours(checkpoint: Path, encoded: list[Any], device: str, way: str, steps: int) -> dict[str, Any]:
    """`steps` steps of our loop: tokens a second after the first, the card's peak memory, the first steps' losses."""
    import torch

    from appliance.paths import cache_folder
    from appliance.training.batches import collate, step_rows
    from appliance.training.device import device_of, wait_for
    from appliance.training.llama import load
    from appliance.training.modules import load_on

    recipe = TrainingSection.model_validate(
        {"rank": RANK, "alpha": ALPHA, "batch_rows": BATCH, "learning_rate": RATE, "device": device}
    )
    where = device_of(recipe)
    if way == "modules":
        trainable: Any = load_on(where, checkpoint, recipe, torch.bfloat16)
    else:
        trainable = load(checkpoint, recipe, torch.bfloat16, cache_folder())
    optimizer = torch.optim.AdamW(trainable.masters, lr=RATE, fused=True)
    losses, tokens, marks = [], [], [time.perf_counter()]
    for numbers in step_rows(len(encoded), BATCH, 7, 1, steps):
        rows = [encoded[number] for number in numbers]
        batch = collate(rows, share=trainable.shares_prefix, coarse=trainable.coarse)
        losses.append(trainable.learn(batch))
        torch.nn.utils.clip_grad_norm_(trainable.masters, 1.0)
        optimizer.step()
        trainable.push_weights()
        wait_for(where)
        tokens.append(batch.tokens)
        marks.append(time.perf_counter())
    half = steps // 2
    return {
        "speed": sum(tokens[half:]) / (marks[-1] - marks[half]),
        "whole": sum(tokens) / (marks[-1] - marks[0]),
        "memory": torch.cuda.max_memory_allocated() / 2**20 if where.type == "cuda" else 0.0,
        "losses": losses,
    }


def peer(
    checkpoint: Path, file: Path, mode: str, tokens: int, packages: Path | None
) -> dict[str, Any] | None:
    """A peer's tokens a second over one epoch, and the card's peak memory; None, and why on stderr, where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peer.py"
        program.write_text(_PEER_PROGRAM % {"batch": BATCH, "rate": RATE, "rank": RANK, "alpha": ALPHA})
        before = [str(packages)] if packages else []
        path = os.pathsep.join(before + os.environ.get("PYTHONPATH", "").split(os.pathsep))
        done = subprocess.run(
            [sys.executable, str(program), str(checkpoint), str(file), mode, folder],
            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
            timeout=PATIENCE,
        )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("SECONDS ")]
    if not lines:
        print(f"{mode} failed:\n{done.stdout[-500:]}{done.stderr[-2500:]}", file=sys.stderr)
        return None
    found = json.loads(lines[-1].removeprefix("SECONDS "))
    part = tokens * found["steps"] / found["of"]
    return {"speed": part / found["half"], "whole": tokens / found["whole"], "memory": found["memory"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows-file", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1024)
    parser.add_argument("--base", type=Path, help="a checkpoint's folder; without it a random one is made")
    parser.add_argument("--tokenizer", type=Path, help="folder whose tokenizer the random one gets")
    parser.add_argument("--unsloth", type=Path, help="a folder with Unsloth and what it needs")
    given = parser.parse_args()

    import torch

    with tempfile.TemporaryDirectory() as folder:
        base = given.base or random_base(given.tokenizer, Path(folder) / "base")
        rows, file = conversations(given.rows_file, given.count), Path(folder) / "rows.jsonl"
        file.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
        encoded = encoded_rows(base, rows)
        tokens, steps = sum(len(row.ids) for row in encoded), -(-len(encoded) // BATCH)
        what = (
            f"{torch.cuda.get_device_name()}, {len(rows)} rows of {given.rows_file.name}, {tokens} tokens, "
        )
        what += f"LoRA rank {RANK} on all linear layers, batch {BATCH}, bfloat16"
        written = ours(base, encoded, "cuda", "written out", steps)
        cpu = ours(base, encoded, "cpu", "written out", FIRST)["losses"]
        print(json.dumps({"name": "first losses", "cpu": cpu, "gpu": written["losses"][:FIRST]}), flush=True)
        torch.cuda.reset_peak_memory_stats()
        for mode in ("modules", "best", "defaults", *(("unsloth",) if given.unsloth else ())):
            packages = given.unsloth if mode == "unsloth" else None
            found = (
                ours(base, encoded, "cuda", mode, min(steps, 24))
                if mode == "modules"
                else peer(base, file, mode, tokens, packages)
            )
            if not found:
                continue
            line = {"name": f"training on a GPU, against {NAMES[mode]}", "ours": round(written["speed"])}
            line |= {"peer": round(found["speed"]), "ratio": round(written["speed"] / found["speed"], 2)}
            line |= {"whole": [round(written["whole"]), round(found["whole"])], "unit": "useful tokens/s"}
            line |= {"memory": [round(written["memory"]), round(found["memory"])], "how": what}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
