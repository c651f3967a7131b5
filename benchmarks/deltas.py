"""What a delta takes: the embedded base with an adapter on q and v alone, against the base without one and another.

`python -m benchmarks.deltas` prints one JSON line a pair: bytes of the delta and of the file, their share, seconds of
CPU to make and to apply it. The adapters are random, of rank 16, and move the weights by about the share of their own
size that is named; rounding is to the nearest, the mix is what a project gets by default. No training: a minute.

With --trained they are no random ones: coffee orders are learnt by q and v alone (`training.modules`), twice, with two
seeds; each is a release as a project makes it, rounded by its own rows. The second is made plainly and with
`convert.like` naming the first one, and asked all dev rows both ways. Trainings are kept in .bench/deltas.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded
from appliance import base_model, conversion, offline, storage
from appliance.config import KEYS_AND_VALUES
from appliance.dataset import read_rows
from appliance.evaluation.one_file import measure_file
from appliance.evaluation.systems import System, plain_prompt, tuned_file
from appliance.events import ignore
from appliance.paths import Project
from appliance.pipeline import Journey, walk
from appliance.update import delta_applying, delta_making
from appliance.update.target_files import Delta, Target
from benchmarks.open_data import ROOT, SHARED, project_of
from convert.safetensors_file import read_checkpoint

RANK = 16
SHARES = (0.02, 0.1, 0.5)
SET = "coffee_order_json"


def random_adapter(checkpoint: Path, folder: Path, share: float, seed: int) -> Path:
    """An adapter on q and v in peft's format whose product has `share` of each weight's root mean square."""
    from safetensors.numpy import save_file

    draw, tensors = np.random.default_rng(seed), {}
    for name, stored in read_checkpoint(checkpoint).items():
        if not name.endswith(("q_proj.weight", "v_proj.weight")):
            continue
        rows, columns = stored.shape
        size = float(np.sqrt(np.square(stored.rows(slice(None))).mean()))
        key = f"base_model.model.{name.removesuffix('.weight')}"
        a, b = draw.standard_normal((RANK, columns)), draw.standard_normal((rows, RANK))
        tensors[f"{key}.lora_A.weight"] = a.astype(np.float32)
        tensors[f"{key}.lora_B.weight"] = (b * (share * size / RANK**0.5)).astype(np.float32)
    folder.mkdir()
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def measure(base: Path, result: Path, folder: Path) -> dict[str, float]:
    """Make a delta and apply it; what it took."""
    begun = time.process_time()
    made = delta_making.make(base, result, folder / f"{base.stem}-{result.stem}.delta")
    between = time.process_time()
    data = made.path.read_bytes()
    head = made.head
    stored = Target("delta", "", made.bytes, ())
    chunks = tuple(_chunks(result))
    target = Target("model", head.sha256, head.size, chunks)
    delta, digest = Delta(head.base_sha256, head.base_bytes, stored), hashlib.sha256()
    for block in delta_applying.blocks((each for each in [data]), base, delta, target):
        digest.update(block)
    assert digest.hexdigest() == head.sha256
    return {
        "delta_bytes": made.bytes,
        "file_bytes": head.size,
        "share": round(made.bytes / head.size, 4),
        "tensors": len(made.tensors),
        "making_cpu_s": round(between - begun, 2),
        "applying_cpu_s": round(time.process_time() - between, 2),
    }


def _chunks(path: Path) -> list[str]:
    from appliance.trust import limits

    with path.open("rb") as stream:
        blocks = iter(lambda: stream.read(limits.HASH_CHUNK_BYTES), b"")
        return [hashlib.sha256(block).hexdigest() for block in blocks]


def trained(data: Path, seed: int, like: str = "") -> Project:
    """Coffee orders learnt by q and v, converted as a project is by default, or like another file."""
    folder = ROOT / ".bench" / "deltas" / str(seed)
    project = project_of(
        SET, data, folder, baselines=False, seed=seed, modules=["q_proj", "v_proj"], rank=RANK
    )
    if like:
        text = (folder / "anchorhold.toml").read_text(encoding="utf-8")
        storage.write_text(folder / "anchorhold.toml", text + f"\n[convert]\nlike = {json.dumps(like)}\n")
        project = Project.open(folder)
    walk(Journey(project, base_model.resolve("embedded", Path()), ignore), until="convert")
    return project


def exactly_right(project: Project) -> float:
    """Share of the dev rows that the shipped file answers so."""
    rows = read_rows(project.dataset / "test.jsonl")
    system = System("Q4_0", "Q4_0", tuned_file(project, "Q4_0"), plain_prompt)
    checkpoint = base_model.resolve("embedded", Path())
    with tempfile.TemporaryDirectory(prefix="anchorhold-asked-") as name:
        return measure_file(project, checkpoint, system, rows, Path(name), lambda _: None).exact.share


def of_trained(data: Path) -> None:
    """The lines of two releases that learnt with q and v alone."""
    base = trained(data, 7).gguf("Q4_0")
    for like in ("", str(base)):
        project = trained(data, 8, like)
        with tempfile.TemporaryDirectory(prefix="anchorhold-deltas-") as name:
            found = measure(base, project.gguf("Q4_0"), Path(name))
        right = round(exactly_right(project), 4)
        told = "what doesn't learn as in seed 7" if like else "rounded by its own rows alone"
        print(
            json.dumps({"base": "seed 7", "result": f"seed 8, {told}", **found, "exact": right}),
            flush=True,
        )


def main() -> None:
    """Convert the models and print the lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trained", action="store_true", help="two trainings in place of random adapters")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data, for --trained")
    given = parser.parse_args()
    if given.trained:
        offline.seal()
        of_trained(given.data)
        return
    checkpoint = base_model.resolve("embedded", Path())
    with tempfile.TemporaryDirectory(prefix="anchorhold-deltas-") as name:
        folder = Path(name)
        files = []
        for number, share in enumerate((0.0, *SHARES)):
            adapter = random_adapter(checkpoint, folder / str(share), share, number) if share else None
            files.append(folder / f"moved-{share}.gguf")
            overrides = {KEYS_AND_VALUES: "Q8_0"}
            label = f"measured {share}"
            conversion.write_gguf(checkpoint, files[-1], adapter=adapter, overrides=overrides, name=label)
        for base, result in [(files[0], each) for each in files[1:]] + [(files[2], files[3])]:
            print(json.dumps({"base": base.stem, "result": result.stem, **measure(base, result, folder)}))


if __name__ == "__main__":
    main()
