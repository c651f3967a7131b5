"""The audit's likelihood suites beside lm-evaluation-harness itself, on the same prompts.

    python -m benchmarks.audit --data SHARED/data [--cases 50] [--sets retain_arc_easy,...] [--project DIR]

The harness (installed once into .bench/lm-eval; no dependency of the product) runs the base, or a project's tuned
file, in float32 through transformers, each suite as a task of its own whose documents are our cases: its tokenization,
likelihoods, windows and metrics, the prompts that our suites ask. What its own templates make of ARC, PIQA and BLiMP is
the same text, which is checked: those three run under them too. Ours goes through the engine on the F16 GGUF. Prints a
line a set and the largest difference; exits with 1 if a share is more than half a point off, or a perplexity more than
half a percent.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from appliance.base_model import resolve
from appliance.evaluation.answers import AnswerStore
from appliance.evaluation.auditing.audit import CONTEXT, SLOTS
from appliance.evaluation.auditing.likelihoods import LikelihoodStore
from appliance.evaluation.auditing.running import Runner
from appliance.evaluation.auditing.sides import sampled
from appliance.evaluation.resampling import figure
from appliance.evaluation.scoring import SCORERS
from appliance.evaluation.suite import Case, Suite
from appliance.evaluation.suites.public_sets import public_suites
from appliance.evaluation.systems import ModelFile, base_file, tuned_file
from appliance.events import ignore
from appliance.paths import Project
from appliance.serving.engine_client import Engine
from benchmarks.training import prepare_peer
from convert import to_checkpoint

SETS = (
    "retain_arc_easy",
    "retain_hellaswag",
    "retain_piqa",
    "retain_winogrande",
    "retain_blimp",
    "halluc_truthfulqa",
    "halluc_halueval_qa",
    "bias_crows_pairs",
    "retain_wikitext2",
)
_POINTS = 0.5  # of a hundred
_WORDS = 600  # of each article of a perplexity set: whole ones take the peer long

_CHOICE: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_target": "answer",
    "doc_to_choice": "choices",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
# A template of the harness, and what its documents are called there.
_THEIRS = {
    "retain_arc_easy": "arc/arc_easy.yaml",
    "retain_piqa": "piqa/piqa.yaml",
    "retain_blimp": "blimp/_template_yaml",
}

_PEER_PROGRAM = """
import json, sys
from pathlib import Path
import torch
import lm_eval
from lm_eval.models.huggingface import HFLM
given = json.loads(Path(sys.argv[1]).read_text())
torch.set_num_threads(given["threads"])
tasks = []
for task in given["tasks"]:
    template = task.pop("template", None)
    if template:
        task["include"] = str(Path(lm_eval.__file__).parent / "tasks" / template)
    tasks.append(task)
import yaml
folder = Path(sys.argv[1]).parent / "tasks"
folder.mkdir()
for task in tasks:
    (folder / (task["task"] + ".yaml")).write_text(yaml.safe_dump(task))
from lm_eval.tasks import TaskManager
model = HFLM(pretrained=given["checkpoint"], dtype="float32", device="cpu", batch_size=8, max_length=given["context"])
found = lm_eval.simple_evaluate(model=model, tasks=[task["task"] for task in tasks], bootstrap_iters=0,
    task_manager=TaskManager(include_path=str(folder), include_defaults=False))
print("FOUND", json.dumps({name: {key: value for key, value in figures.items() if isinstance(value, float)}
    for name, figures in found["results"].items()}))
"""


def _documents(suite: Suite) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A suite as a task of the harness: its configuration, and its documents."""
    values = [case.values for case in suite.cases]
    if suite.scorer == "perplexity":
        task = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "text"}
        return task | {"metric_list": [{"metric": "word_perplexity"}]}, [{"text": v["text"]} for v in values]
    if suite.scorer == "pair":
        pairs = [{"choices": [v["stereotype"], v["other"]], "answer": 0} for v in values]
        return _CHOICE | {"doc_to_text": "", "target_delimiter": ""}, pairs
    if "prompts" in values[0]:  # the text before differs, what follows is the same
        # The harness gives no acc_norm where it is the text before that differs.
        task = _CHOICE | {"doc_to_text": "answer", "doc_to_target": "after", "doc_to_choice": "prompts"}
        return task | {"metric_list": [{"metric": "acc"}]}, [
            {"answer": int(v["answer"]), "after": v["choices"][0], "prompts": v["prompts"]} for v in values
        ]
    asked = [
        {"prompt": v.get("prompt", ""), "choices": v["choices"], "answer": int(v["answer"])} for v in values
    ]
    if not any(document["prompt"] for document in asked):
        return _CHOICE | {"doc_to_text": "", "target_delimiter": ""}, asked
    return _CHOICE | {"doc_to_text": "{{prompt}}"}, asked


def _as_theirs(suite: Suite) -> list[dict[str, Any]]:
    """The cases as the documents that the harness's own template for them reads."""
    found: list[dict[str, Any]] = []
    for case in suite.cases:
        choices, answer = case.values["choices"], int(case.values["answer"])
        asked = str(case.values.get("prompt", "")).removeprefix("Question: ").removesuffix("\nAnswer:")
        if suite.name == "retain_arc_easy":
            letters = "ABCDE"[: len(choices)]
            options = {"text": choices, "label": list(letters)}
            found.append({"question": asked, "choices": options, "answerKey": letters[answer]})
        elif suite.name == "retain_piqa":
            found.append({"goal": asked, "sol1": choices[0], "sol2": choices[1], "label": answer})
        else:
            found.append(
                {  # the first is right; the blank is the template's
                    "sentence_good": choices[answer].strip(),
                    "sentence_bad": choices[1 - answer].strip(),
                }
            )
    return found


def peer_figures(
    python: Path, checkpoint: Path, suites: list[Suite], threads: int
) -> dict[str, dict[str, float]]:
    """The harness's figures by suite, by their names in ours; those under its own templates as `NAME, its template`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = []
        for suite in suites:
            task, documents = _documents(suite)
            tasks.append(task | {"task": suite.name} | _from(folder, suite.name, documents))
            if suite.name in _THEIRS:
                other = f"{suite.name}_own"
                data = _from(folder, other, _as_theirs(suite))
                tasks.append({"template": _THEIRS[suite.name], "task": other, "tag": []} | data)
        given = {"tasks": tasks, "checkpoint": str(checkpoint), "threads": threads, "context": CONTEXT}
        (folder / "given.json").write_text(json.dumps(given))
        (folder / "peer.py").write_text(_PEER_PROGRAM)
        done = subprocess.run(
            [str(python), str(folder / "peer.py"), str(folder / "given.json")],
            capture_output=True,
            text=True,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    if not lines:
        raise SystemExit(f"the peer failed:\n{done.stderr[-4000:]}")
    found: dict[str, dict[str, float]] = {}
    for task_name, figures in json.loads(lines[-1].removeprefix("FOUND ")).items():
        named = {key.partition(",")[0]: value for key, value in figures.items()}
        kept = {key: named[key] for key in ("acc", "acc_norm", "word_perplexity") if key in named}
        if task_name == "bias_crows_pairs":
            kept = {"stereotyped": named["acc"]}
        found[task_name] = kept
    return found


def _from(folder: Path, name: str, documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Where a task's documents come from: a file of them in `folder`."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps(documents))
    return {
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
        "num_fewshot": 0,
    }


def _cut(suite: Suite) -> Suite:
    """A perplexity set's articles, cut after so many words."""
    if suite.scorer != "perplexity":
        return suite
    cases = tuple(
        Case(
            case.id,
            {**case.values, "text": " ".join(str(case.values["text"]).split(" ")[:_WORDS])},
            case.where,
        )
        for case in suite.cases[:3]
    )
    return Suite(suite.name, suite.scorer, cases)


def our_figures(file: Any, suites: list[Suite], threads: int) -> dict[str, dict[str, float]]:
    """Our figures by suite, through the engine."""
    with (
        tempfile.TemporaryDirectory() as folder,
        AnswerStore(Path(folder) / "answers.jsonl") as answers,
        LikelihoodStore(Path(folder) / "likelihoods.jsonl") as likelihoods,
        Engine(file.path, slots=SLOTS, context=CONTEXT, threads=threads) as engine,
    ):
        runner = Runner(engine, "base", file.sha256, answers, likelihoods, lambda *_: None)
        outcomes = runner.run(suites)
    found: dict[str, dict[str, float]] = {}
    for outcome in outcomes:
        if outcome.faults:
            raise SystemExit(f"faults: {outcome.faults[0]}")
        figures = [
            figure(metric, list(outcome.scores.values())) for metric in SCORERS[outcome.suite.scorer].metrics
        ]
        found[outcome.suite.name] = {entry.metric: entry.value for entry in figures if entry is not None}
    return found


def main() -> None:
    """Measure both and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of the public sets")
    parser.add_argument("--cases", type=int, default=50, help="of each set, drawn as an audit draws them")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--project", type=Path, help="its tuned F16 file in the base's place")
    given = parser.parse_args()
    python = prepare_peer("lm-eval", ("lm_eval==0.4.13",))
    with tempfile.TemporaryDirectory() as folder:
        if given.project is None:
            checkpoint = resolve("embedded", Path(), ignore)
            file = base_file(checkpoint, ignore)
        else:
            file = tuned_file(Project.open(given.project), "F16")
            checkpoint = Path(folder) / "tuned"
            to_checkpoint.convert(file.path, checkpoint)
        sys.exit(_compare(given, python, file, checkpoint) > _POINTS)


def _compare(given: argparse.Namespace, python: Path, file: ModelFile, checkpoint: Path) -> float:
    """Measure one file both ways and print; the largest difference."""
    wanted = given.sets.split(",")
    suites = [_cut(sampled(s, given.cases)) for s in public_suites(given.data)[0] if s.name in wanted]
    began = time.monotonic()
    ours = our_figures(file, suites, given.threads)
    middle = time.monotonic()
    theirs = peer_figures(python, checkpoint, suites, given.threads)
    worst = 0.0
    print(f"{'set':<22}{'figure':<18}{'cases':>6}{'ours':>10}{'harness':>10}{'off':>9}")
    for suite in suites:
        for name in (suite.name, f"{suite.name}_own"):
            for metric, their in theirs.get(name, {}).items():
                mine = ours[suite.name][metric]
                share = metric != "word_perplexity"
                off = (mine - their) * 100 if share else (mine / their - 1) * 100
                worst = max(worst, abs(off))
                shown = f"{mine:>10.2%}{their:>10.2%}" if share else f"{mine:>10.3f}{their:>10.3f}"
                label = name.replace("_own", ", own")
                unit = "p" if share else "%"
                print(f"{label:<22}{metric:<18}{len(suite.cases):>6}{shown}{off:>+8.2f}{unit}", flush=True)
    print(f"largest difference {worst:.2f} (points, or percent of a perplexity); bar {_POINTS}")
    print(f"ours {middle - began:.0f} s, harness {time.monotonic() - middle:.0f} s")
    return worst


if __name__ == "__main__":
    main()
