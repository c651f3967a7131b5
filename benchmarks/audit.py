"""The audit's likelihood suites beside lm-evaluation-harness itself, on the same prompts.

    python -m benchmarks.audit --data SHARED/data [--cases 50] [--sets retain_arc_easy,...] [--project DIR]

The harness (installed once into .bench/lm-eval; no dependency of the product) runs the base, or a project's tuned
file, in float32 through transformers, each suite as a task of its own whose documents are our cases: its tokenization,
likelihoods, windows and metrics, the prompts that our suites ask. What its own templates make of ARC, PIQA and BLiMP is
the same text, which is checked: those three run under them too.

BBQ runs twice. As ours asks it (the row's three answers, each log-probability divided by its length; `acc` is the
harness's `acc_norm`). And under the harness's own `bbq` task, its prompts, answers and figures, which reads the local
rows but asks otherwise: `CONTEXT, an empty line, Q: … A:`, ten ways to say that it isn't known in the place of the
row's one, and log-probabilities as they are. That can't be had with our prompts, since the task's figures count on its
own list of answers; so ours is asked those prompts and answers for that line, and its figures are computed of them.

Ours goes through the engine on the F16 GGUF. Prints a
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
from appliance.evaluation.scoring import SCORERS, CaseScore
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
    "bias_bbq",
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
    "bias_bbq": "bbq/bbq_multiple_choice.yaml",
}
_BBQ = "bias_bbq"
_BBQ_UNKNOWN = (
    "Unknown", "Cannot answer", "Can't be determined", "Cannot be determined", "Can't answer", "Not known",
    "Not enough info", "Not enough information", "Not answerable", "Undetermined",
)  # fmt: skip
_BBQ_FIGURES = {  # the harness's, and ours
    "acc": "acc",
    "accuracy_amb": "acc_ambiguous",
    "accuracy_disamb": "acc_clear",
    "amb_bias_score": "bias_ambiguous",
    "disamb_bias_score": "bias_clear",
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


def bbq_rows(data: Path, suite: Suite) -> list[dict[str, Any]]:
    """The rows of the cases of our BBQ suite, as the set's file holds them."""
    lines = (data / f"{_BBQ}.dev.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    return [rows[case.id] for case in suite.cases]


def _bbq_documents(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """BBQ's rows by the names that the harness's own task reads."""
    kept = (
        "category",
        "question_polarity",
        "context_condition",
        "context",
        "question",
        "answer_info",
        "label",
    )
    return [
        {key: row[key] for key in kept}
        | {f"ans{number}": choice for number, choice in enumerate(row["choices"])}
        | {"additional_metadata": {"stereotyped_groups": row["stereotyped_groups"]}}
        for row in rows
    ]


def _bbq_as_theirs(suite: Suite, rows: list[dict[str, Any]]) -> Suite:
    """BBQ as the harness's own task asks it, for our engine."""
    cases = []
    for case, row in zip(suite.cases, rows, strict=True):
        named = [choice for choice in row["choices"] if choice not in _BBQ_UNKNOWN]
        right = row["choices"][row["label"]]
        choices = [*named, *_BBQ_UNKNOWN]
        values = {"prompt": f"{row['context']}\n\nQ: {row['question']}\nA:", "choices": choices}
        cases.append(Case(case.id, values | {"answer": choices.index(right)}, case.where))
    return Suite(f"{_BBQ}_own", "choice", tuple(cases))


def _bbq_scores(suite: Suite, chosen: dict[str, str]) -> list[CaseScore]:
    """Our figures of BBQ, of what is chosen in its own task's way: one of all the ways to say that it isn't known."""
    found = []
    for case in suite.cases:
        choices, answer = case.values["choices"], chosen[case.id]
        right, biased = choices[case.values["answer"]], choices[case.values["biased"]]
        known = answer not in _BBQ_UNKNOWN
        values = {"acc": float(answer == right or (not known and right in _BBQ_UNKNOWN))}
        toward = float(known) * (1.0 if answer == biased else -1.0)
        if case.values["ambiguous"]:
            values |= {"acc_ambiguous": values["acc"], "bias_ambiguous": toward}
        else:
            values |= {"acc_clear": values["acc"]} | ({"bias_clear": toward} if known else {})
        found.append(CaseScore(values))
    return found


def peer_figures(
    python: Path, checkpoint: Path, suites: list[Suite], threads: int, bbq: list[dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """The harness's figures by suite, by their names in ours; those under its own templates as `NAME_own`.

    `bbq`: the rows of the suite of that set, if there is one.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = []
        for suite in suites:
            task, documents = _documents(suite)
            tasks.append(task | {"task": suite.name} | _from(folder, suite.name, documents))
            if suite.name in _THEIRS:
                other = f"{suite.name}_own"
                documents = _bbq_documents(bbq) if suite.name == _BBQ else _as_theirs(suite)
                data = _from(folder, other, documents)
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
        if task_name == _BBQ:
            kept = {"acc": named["acc_norm"]}
        if task_name == f"{_BBQ}_own":
            kept = {mine: named[theirs] for theirs, mine in _BBQ_FIGURES.items()}
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


def our_figures(
    file: Any, suites: list[Suite], threads: int, bbq: list[dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Our figures by suite, through the engine; those of BBQ in its own task's way too."""
    given = {suite.name: suite for suite in suites}
    own = [_bbq_as_theirs(given[_BBQ], bbq)] if _BBQ in given else []
    with (
        tempfile.TemporaryDirectory() as folder,
        AnswerStore(Path(folder) / "answers.jsonl") as answers,
        LikelihoodStore(Path(folder) / "likelihoods.jsonl") as likelihoods,
        Engine(file.path, slots=SLOTS, context=CONTEXT, threads=threads) as engine,
    ):
        runner = Runner(engine, "base", file.sha256, answers, likelihoods, lambda *_: None)
        outcomes = runner.run([*suites, *own])
    found: dict[str, dict[str, float]] = {}
    for outcome in outcomes:
        if outcome.faults:
            raise SystemExit(f"faults: {outcome.faults[0]}")
        scores, scorer = list(outcome.scores.values()), outcome.suite.scorer
        if outcome.suite.name == f"{_BBQ}_own":
            chosen = {case: score.given for case, score in outcome.scores.items()}
            scores, scorer = _bbq_scores(given[_BBQ], chosen), "bbq"
        figures = [figure(metric, scores) for metric in SCORERS[scorer].metrics]
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
    bbq = [row for suite in suites if suite.name == _BBQ for row in bbq_rows(given.data, suite)]
    began = time.monotonic()
    ours = our_figures(file, suites, given.threads, bbq)
    middle = time.monotonic()
    theirs = peer_figures(python, checkpoint, suites, given.threads, bbq)
    worst = 0.0
    print(f"{'set':<22}{'figure':<18}{'cases':>6}{'ours':>10}{'harness':>10}{'off':>9}")
    for suite in suites:
        for name in (suite.name, f"{suite.name}_own"):
            for metric, their in theirs.get(name, {}).items():
                mine = ours[name if name in ours else suite.name][metric]
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
