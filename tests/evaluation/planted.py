"""Tiny models with something planted in them, and projects that have them in the place of their tuned files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance import storage
from appliance.conversion import as_data, convert_project, write_gguf
from appliance.dataset import prepare
from appliance.events import ignore
from appliance.paths import Project

Rows = Sequence[list[dict[str, str]]]


def taught(checkpoint: Path, folder: Path, rows: Rows, steps: int, plain: Sequence[str] = ()) -> Path:
    """A copy of a tiny checkpoint, trained on the answers of `rows` and on all of the texts `plain`, in each step."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    shutil.copytree(checkpoint, folder)
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    encoded = [tokenizer.apply_chat_template(row, return_dict=False) for row in rows]
    asked = [
        tokenizer.apply_chat_template(row[:-1], add_generation_prompt=True, return_dict=False) for row in rows
    ]
    texts = [tokenizer(text)["input_ids"] for text in plain]
    encoded, asked = encoded + texts, asked + [text[:1] for text in texts]
    width = max(map(len, encoded))
    ids = torch.tensor([row + [tokenizer.eos_token_id] * (width - len(row)) for row in encoded])
    position = torch.arange(width)
    begin, end = (torch.tensor([len(row) for row in part])[:, None] for part in (asked, encoded))
    learnt = (position >= begin) & (position < end)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    for _ in range(steps):
        hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
        chosen = learnt[:, 1:]
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[chosen]), ids[:, 1:][chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    return folder


def always(answer: str, prompts: Sequence[str]) -> Rows:
    """Rows that answer everything alike."""
    return [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}] for prompt in prompts
    ]


def ship(project: Project, checkpoint: Path) -> None:
    """Put a checkpoint's files in the place of the project's converted ones."""
    files = {
        kind: as_data(write_gguf(checkpoint, project.gguf(kind), quantization=kind, name=f"t{kind}"))
        for kind in sorted({"F16", project.config.convert.type})
    }
    storage.write_json(project.model / "convert.json", {"format": 1, "files": files})


def measured_by_hand(project: Project) -> None:
    """What an evaluation leaves, as far as a release looks at it; it has no gates of its own."""
    file = json.loads((project.model / "convert.json").read_text())["files"]
    file = file[project.config.convert.type]
    systems = [{"key": "shipped", "file": {"sha256": file["sha256"]}, "rows": 3}]
    storage.write_json(
        project.evaluation / "results.json",
        {"systems": systems, "shipped": "shipped", "rows": 3, "scorer": "json"},
    )
    golden = [{"messages": [{"role": "user", "content": "hello"}], "answer": "{}"}]
    storage.write_json(project.evaluation / "golden.json", golden)
    storage.write_text(project.evaluation / "report.html", "<p>report")
    storage.write_json(project.evaluation / "gates.json", {"format": 1, "model": file["sha256"], "gates": []})


def prepared(
    make_project: Callable[..., Path], rows: int = 160, extra: str = "", settings: str = ""
) -> Project:
    """A project with its dataset, but no model yet."""
    folder = make_project(rows=rows, extra=extra)
    config = folder / "anchorhold.toml"
    config.write_text(config.read_text().replace("shots = 1", f"shots = 1\nbaselines = false\n{settings}"))
    project = Project.open(folder)
    prepare(project, ignore)
    storage.write_json(project.training / "training.json", {"steps": 4, "adapter_sha256": "a"})
    return project


def adapted(project: Project) -> None:
    """Give a project a small adapter of its own, and its converted files."""
    import numpy as np
    from safetensors.numpy import save_file

    project.adapter.mkdir(parents=True)
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "bias": "none"}
    (project.adapter / "adapter_config.json").write_text(json.dumps(settings))
    draw = np.random.default_rng(5)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    a, b = (draw.normal(0, 0.05, shape).astype(np.float32) for shape in ((2, 64), (64, 2)))
    save_file({f"{name}A.weight": a, f"{name}B.weight": b}, project.adapter / "adapter_model.safetensors")
    convert_project(project)
