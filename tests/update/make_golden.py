"""Writes what test_golden_station.py keeps: `python -m tests.update.make_golden FOLDER`, packed by tar and xz.

A base of a few thousand weights and six hundred tokens goes the whole road twice: 1.0.0, and 1.1.0 whole and as a delta
against it, signed by two of three keys. A second stick holds 1.1.0 encrypted to one device, whose folder is kept with
its keys; the publisher's aren't.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded
from appliance.base_model import resolve
from appliance.events import ignore
from appliance.paths import Device, Project
from appliance.pipeline import Journey, walk
from appliance.trust import encryption_keys, keys
from appliance.trust.unlocking import Secrets
from appliance.update import device_keys
from appliance.update.publish import publish_project
from tests.conftest import TOKENIZER_FILES, station_rows, teach, tiny_llama
from tests.stick_simulator import CHEAP_SCRYPT

TOKENS = 600
SECRETS = Secrets("of nobody")


def small_base(folder: Path) -> Path:
    """A tiny Llama with the first tokens of the embedded base's vocabulary, taught to answer as the fixtures' one."""
    folder.mkdir(parents=True)
    embedded = resolve("embedded", Path())
    for name in TOKENIZER_FILES:
        if (embedded / name).exists():
            shutil.copy(embedded / name, folder / name)
    path = folder / "tokenizer.json"
    tokenizer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    model = tokenizer["model"]
    model["vocab"] = {token: number for token, number in model["vocab"].items() if number < TOKENS}
    whole = [each if isinstance(each, list) else each.split(" ") for each in model["merges"]]
    model["merges"] = [pair for pair in whole if {*pair, "".join(pair)} <= model["vocab"].keys()]
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    tiny = tiny_llama(TOKENS)
    for _ in range(8):  # words are of more tokens here, so it takes longer
        teach(tiny, folder)
    tiny.save_pretrained(folder)
    return folder


def project_of(folder: Path, base: Path, version: str, rows: int) -> Project:
    """A project that has walked its road."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"messages": messages}) + "\n" for messages in station_rows(rows)]
    (folder / "data" / "rows.jsonl").write_text("".join(lines))
    (folder / "anchorhold.toml").write_text(
        f'[project]\nname = "station"\nversion = "{version}"\n[base]\npath = "{base}"\n[training]\nepochs = 2.0\n'
        "batch_rows = 8\nrank = 4\nalpha = 8.0\nlearning_rate = 0.01\nevaluations = 1\nvalidation_rows = 8\n"
        'dtype = "float32"\nthreads = 1\nmodules = ["q_proj", "v_proj"]\n[evaluation]\nmax_tokens = 64\nmax_rows = 6\n'
        "shots = 1\n[release]\nexpires_days = 3650\n"
    )
    project = Project.open(folder)
    walk(Journey(project, resolve(project.config.base.path, project.root), ignore), until="release")
    return project


def main() -> None:
    """Make all of it anew."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="anchorhold-golden-") as name:
        room = Path(name)
        os.environ["ANCHORHOLD_REGISTRY"] = str(room / "registry")
        base = small_base(room / "base")
        project = project_of(room / "project", base, "1.0.0", 60)
        keys.create(project.keys, SECRETS, n=CHEAP_SCRYPT, quorums=keys.OFFERED)
        publish_project(project, target / "stick", ignore, secrets=SECRETS)
        first = room / "first.gguf"
        shutil.copy(project.gguf("Q4_0"), first)
        project = project_of(room / "project", base, "1.1.0", 90)
        publish_project(project, target / "stick", ignore, secrets=SECRETS, bases=[first])
        device = Device(target / "device")
        receiver = device_keys.make(device, "station-7").receiver
        encryption_keys.enrol(project.keys, receiver)
        publish_project(project, target / "sealed", ignore, secrets=SECRETS, encrypt_to=[receiver.name])
        shutil.copy(project.keys / keys.ROOT_FILE, target / "root.json")


if __name__ == "__main__":
    main()
