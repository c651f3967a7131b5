"""One of torchrun's processes: loads its part of a base, takes a step on the grid, and writes what it held.

`python -m tests.training.holding CHECKPOINT OUTPUT` writes OUTPUT/RANK.json: bytes of all tensors after loading and
after the step, and the fresh LoRA weights.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from appliance.training.batches import (
    collate,
)  # the package first: it sets what torch reads when it is loaded
from appliance.training.crew import Crew
from appliance.training.int4 import Grid
from appliance.training.llama import load
from convert.type_mix import Mix
from tests.training.test_decoder import RECIPE, rows_of

import torch  # isort: skip


def held() -> int:
    """Bytes of all memory that tensors of this process stand on."""
    gc.collect()
    found = {}
    for each in gc.get_objects():
        if isinstance(each, torch.Tensor):
            local = each.to_local() if isinstance(each, torch.distributed.tensor.DTensor) else each
            if local.device.type == "cpu":
                storage = local.untyped_storage()
                found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def main(checkpoint: Path, output: Path) -> None:
    """Load, step, write."""
    crew = Crew()
    recipe = RECIPE.model_copy(update={"shard": True})
    before = held()
    trainable = load(checkpoint, recipe, torch.float32, output)
    factors = {name: tensor.tolist() for name, tensor in trainable.adapter().items()}
    loaded = held() - before
    trainable.enter_grid(Grid(checkpoint, Mix.named("Q4_0", "Q8_0"), recipe.alpha / recipe.rank))
    trainable.learn(collate(rows_of([20, 31]), share=False))
    for master in trainable.masters:
        master.grad = None
    said = {"loaded": loaded, "learnt": held() - before, "factors": factors}
    (output / f"{crew.rank}.json").write_text(json.dumps(said))
    crew.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
