"""The audit's likelihood suites against an independent peer: transformers in float32, on the same prompts.

    python -m benchmarks.audit --data SHARED/data [--cases 50] [--sets retain_arc_easy,...] [--threads 1]

lm-evaluation-harness isn't among what we carry, so the peer is written here from its conventions: each context and
continuation tokenized as one text by transformers' tokenizer, one full forward pass a text (no shared beginning, no
batch), log-softmax in float64, `acc` by the sum and `acc_norm` by the bytes of the choice, perplexity in windows that
score each token once. Ours goes through the engine on the base's F16 GGUF. Prints a line a set and the largest
difference; exits with 1 if a share is more than half a point off, or a perplexity more than half a percent.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

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
from appliance.evaluation.systems import base_file
from appliance.events import ignore
from appliance.serving.engine_client import Engine

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


class Peer:
    """The base in transformers; computes one text at a time."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(str(checkpoint), local_files_only=True)
        self._model = AutoModelForCausalLM.from_pretrained(str(checkpoint), dtype=torch.float32).eval()

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _logprob(self, ids: list[int], start: int) -> float:
        with self._torch.inference_mode():
            logits = self._model(self._torch.tensor([ids])).logits[0].double()
        table = self._torch.log_softmax(logits, -1)
        return float(sum(table[place - 1, ids[place]] for place in range(start, len(ids))))

    def continuation(self, context: str, text: str) -> float:
        """log P(text | context)."""
        if not context:
            ids = [self._tokenizer.bos_token_id, *self._ids(text)]
            return self._logprob(ids, 1)
        blanks = len(context) - len(context.rstrip())
        if blanks:
            context, text = context[:-blanks], context[-blanks:] + text
        whole = self._ids(context + text)
        return self._logprob(whole, len(self._ids(context)))

    def rolling(self, text: str, room: int) -> float:
        """log P(text), each token scored once with as much before it as `room` tokens hold."""
        ids = self._ids(text)
        total = self._logprob([self._tokenizer.bos_token_id, *ids[:room]], 1)
        done = min(room, len(ids))
        while done < len(ids):
            count = min(room, len(ids) - done)
            end = done + count
            window = ids[max(0, end - room - 1) : end]
            total += self._logprob(window, len(window) - count)
            done += count
        return total


def _choice(peer: Peer, case: Case) -> dict[str, float]:
    choices = [str(choice) for choice in case.values["choices"]]
    contexts = [str(prompt) for prompt in case.values.get("prompts", [])] or [
        str(case.values.get("prompt", ""))
    ] * len(choices)
    if len(choices) == 1:
        choices *= len(contexts)
    sums = np.array(
        [
            peer.continuation(context, f" {choice}" if context else choice)
            for context, choice in zip(contexts, choices, strict=True)
        ]
    )
    sizes = np.array([len(choice.encode()) for choice in choices])
    answer = int(case.values["answer"])
    return {
        "acc": float(int(sums.argmax()) == answer),
        "acc_norm": float(int((sums / sizes).argmax()) == answer),
    }


def peer_figures(peer: Peer, suite: Suite) -> dict[str, float]:
    """The peer's figures of one suite, by their names in ours."""
    if suite.scorer == "choice":
        scores = [_choice(peer, case) for case in suite.cases]
        return {name: sum(score[name] for score in scores) / len(scores) for name in ("acc", "acc_norm")}
    if suite.scorer == "pair":
        likelier = [
            peer.continuation("", str(case.values["stereotype"]))
            > peer.continuation("", str(case.values["other"]))
            for case in suite.cases
        ]
        return {"stereotyped": sum(likelier) / len(likelier)}
    texts = [str(case.values["text"]) for case in suite.cases]
    logprob = sum(peer.rolling(text, CONTEXT) for text in texts)
    words = sum(len(re.split(r"\s+", text)) for text in texts)
    return {"word_perplexity": math.exp(-logprob / words)}


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
    given = parser.parse_args()
    checkpoint = resolve("embedded", Path(), ignore)
    file = base_file(checkpoint, ignore)
    wanted = given.sets.split(",")
    suites = [_cut(sampled(s, given.cases)) for s in public_suites(given.data)[0] if s.name in wanted]
    began = time.monotonic()
    ours = our_figures(file, suites, given.threads)
    middle = time.monotonic()
    peer = Peer(checkpoint, given.threads)
    worst = 0.0
    print(f"{'set':<22}{'figure':<18}{'cases':>6}{'ours':>10}{'peer':>10}{'off':>9}")
    for suite in suites:
        for name, theirs in peer_figures(peer, suite).items():
            mine = ours[suite.name][name]
            share = name != "word_perplexity"
            off = (mine - theirs) * 100 if share else (mine / theirs - 1) * 100
            worst = max(worst, abs(off))
            shown = f"{mine:>10.2%}{theirs:>10.2%}" if share else f"{mine:>10.3f}{theirs:>10.3f}"
            print(
                f"{suite.name:<22}{name:<18}{len(suite.cases):>6}{shown}{off:>+8.2f}{'p' if share else '%'}",
                flush=True,
            )
    print(f"largest difference {worst:.2f} (points, or percent of a perplexity); bar {_POINTS}")
    print(f"ours {middle - began:.0f} s, peer {time.monotonic() - middle:.0f} s")
    sys.exit(worst > _POINTS)


if __name__ == "__main__":
    main()
