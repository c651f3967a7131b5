"""A token classifier made of the embedded base, to be measured by `benchmarks.pii --tagger`: what a local model brings.

`python -m benchmarks.tagger FOLDER --data FOLDER [--epochs 3]` writes a checkpoint for `[dataset.redact] tagger`. It
stands for what a builder brings who has labelled rows: the first twelve of the base's layers with a head of labels,
attending both ways. (A classifier that others trained, with its weights, was not found among an index's packages.)

It learns from the half of each PII set whose line's SHA-256 is even (see benchmarks.pii), and from turns of
multidogo_json.train whose conversation isn't in pii_multidogo at all. The other half is seen by neither. In
pii_presidio_synth most templates occur in both halves, and the turns of multidogo are of the same two trades, so its
figures are those of a tagger that was taught the kind of text it meets; wnut17 has few rows to learn from.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from appliance import offline
from appliance.base_model import resolve
from benchmarks.open_data import ROOT, SHARED
from benchmarks.pii import KIND_OF, PLACES, SETS, Case, read_cases

LABELS = {
    "name": "PERSON", "address": "ADDRESS", "email": "EMAIL", "phone": "PHONE", "card": "CREDITCARD",
    "account": "ACCOUNTNUM", "national_id": "SSN",
}  # fmt: skip
_KIND_OF_SLOT = {
    "name": "name", "address": "address", "email_address": "email", "phone_number": "phone", "card_number": "card",
    "account_number": "account", "target_account_number": "account", "claimid": "account", "policyid": "account",
    "ssn": "national_id",
}  # fmt: skip
_LAYERS, _FROZEN = 12, 6  # of the base's thirty: kept, and of these as they are
_BATCH, _RATE, _LONGEST = 16, 2e-4, 256  # rows, learning rate, tokens
_IGNORED = -100  # a label that teaches nothing

Labelled = tuple[str, list[tuple[int, int, str]]]  # text; start, end, kind


def _of_set(cases: Sequence[Case]) -> Iterator[Labelled]:
    for case in cases:
        spans = [
            (start, end, KIND_OF[label])
            for start, end, label in case.labels
            if KIND_OF.get(label) in LABELS and label not in PLACES
        ]
        yield case.text, spans


def _conversation(identity: str) -> str:
    """`finance-4a0f3418-7aec` of `multidogo-finance-4a0f3418-7aec-4.0` and `pii-multidogo-finance-4a0f3418-7aec-9`."""
    return identity.partition("multidogo-")[2].rpartition("-")[0]


def multidogo_turns(data: Path) -> Iterator[Labelled]:
    """Turns of conversations that aren't in pii_multidogo, their slots found in the text again."""
    measured = {
        _conversation(json.loads(line)["id"])
        for line in (data / "pii_multidogo.dev.jsonl").read_text(encoding="utf-8").splitlines()
    }
    for line in (data / "multidogo_json.train.jsonl").read_text(encoding="utf-8").splitlines():
        row: dict[str, Any] = json.loads(line)
        if _conversation(row["id"]) in measured:
            continue
        text = row["messages"][0]["content"].partition("Message: ")[2]
        spans = []
        for slot, value in json.loads(row["messages"][-1]["content"])["slots"].items():
            if kind := _KIND_OF_SLOT.get(slot):
                found = re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", text)
                spans += [(found.start(), found.end(), kind)] if found else []
        yield text, spans


def rows_to_learn(data: Path, turns: int, chance: random.Random) -> list[Labelled]:
    """The looked-at half of each set, and so many of multidogo's turns."""
    rows = [
        row
        for name in SETS
        for row in _of_set([case for case in read_cases(data / f"{name}.dev.jsonl") if not case.held])
    ]
    others = list(multidogo_turns(data))
    return rows + chance.sample(others, min(turns, len(others)))


def train(checkpoint: Path, rows: list[Labelled], epochs: int, chance: random.Random) -> tuple[Any, Any]:
    """(model, tokenizer) taught the rows' labels."""
    import torch
    from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer

    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    config = AutoConfig.from_pretrained(checkpoint, local_files_only=True)
    config.num_hidden_layers, config.is_causal = _LAYERS, False
    config.id2label = dict(enumerate(["O", *LABELS.values()]))
    config.label2id = {label: number for number, label in config.id2label.items()}
    number_of = {kind: config.label2id[label] for kind, label in LABELS.items()}
    model = AutoModelForTokenClassification.from_pretrained(
        checkpoint, config=config, dtype=torch.float32, attn_implementation="eager"
    )
    for name, weight in model.named_parameters():
        layer = re.search(r"layers\.(\d+)\.", name)
        weight.requires_grad = "embed" not in name and (layer is None or int(layer[1]) >= _FROZEN)
    taught = [weight for weight in model.parameters() if weight.requires_grad]
    steps = epochs * -(-len(rows) // _BATCH)
    optimizer = torch.optim.AdamW(taught, lr=_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=0.1)
    model.train()
    for _ in range(epochs):
        for batch in _batches(rows, chance):
            encoded = tokenizer(
                [text for text, _ in batch],
                return_offsets_mapping=True, truncation=True, max_length=_LONGEST, padding=True, return_tensors="pt",
            )  # fmt: skip
            labels = torch.full(encoded["input_ids"].shape, _IGNORED)
            for place, (_, spans) in enumerate(batch):
                for token, (start, end) in enumerate(encoded["offset_mapping"][place].tolist()):
                    if end > start and encoded["attention_mask"][place, token]:
                        kinds = [
                            number_of[kind] for first, last, kind in spans if start < last and first < end
                        ]
                        labels[place, token] = kinds[0] if kinds else 0
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(
                    input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], labels=labels
                ).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(taught, 1.0)
            optimizer.step()
            schedule.step()
    return model.eval(), tokenizer


def _batches(rows: list[Labelled], chance: random.Random) -> list[list[Labelled]]:
    """Rows of like length together, the batches in any order."""
    near = sorted(rows, key=lambda row: len(row[0]) * chance.uniform(0.9, 1.1))
    batches = [near[place : place + _BATCH] for place in range(0, len(near), _BATCH)]
    chance.shuffle(batches)
    return batches


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="gets the checkpoint")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument(
        "--turns", type=int, default=400, help="of multidogo_json to learn from beside the sets"
    )
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    offline.seal()
    chance = random.Random(1)
    rows = rows_to_learn(options.data, options.turns, chance)
    begun, busy = time.perf_counter(), time.process_time()
    model, tokenizer = train(resolve("embedded", ROOT), rows, options.epochs, chance)
    model.save_pretrained(options.folder)
    tokenizer.save_pretrained(options.folder)
    line = {
        "name": "tagger of the embedded base",
        "rows": len(rows),
        "spans": sum(len(spans) for _, spans in rows),
        "epochs": options.epochs,
        "seconds": round(time.perf_counter() - begun),
        "cpu_seconds": round(time.process_time() - busy),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
