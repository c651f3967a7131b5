"""The gates of every evaluation: on what it measures anyway, and on canaries where some were planted."""

from __future__ import annotations

from dataclasses import replace

from appliance import storage
from appliance.evaluation.answers import AnswerStore
from appliance.evaluation.auditing.gates import Verdict, judge, record, standing
from appliance.evaluation.auditing.likelihoods import LikelihoodStore
from appliance.evaluation.auditing.running import Runner
from appliance.evaluation.resampling import figure
from appliance.evaluation.results import EvaluationResult
from appliance.evaluation.scoring import SCORERS
from appliance.evaluation.suites.project_rows import canary_suite
from appliance.evaluation.systems import System
from appliance.paths import Project
from appliance.serving.engine_client import Engine

_CANARIES = 12  # weighed in each evaluation; an audit takes more


def canary_verdicts(project: Project, engine: Engine, system: System, answers: AnswerStore) -> list[Verdict]:
    """Whether planted secrets are recalled; nothing where none were planted."""
    suite = canary_suite(project, _CANARIES)
    if suite is None:
        return []
    suite = replace(suite, system=project.config.dataset.system or None)
    with LikelihoodStore(project.evaluation / "likelihoods.jsonl") as store:
        runner = Runner(engine, system.key, system.file.sha256, answers, store, lambda *_: None)
        outcome = runner.run([suite])[0]
    scores = list(outcome.scores.values())
    gate = suite.gates[0]
    metric = next(metric for metric in SCORERS[suite.scorer].metrics if metric.name == gate.metric)
    verdict = judge(suite, gate, figure(metric, scores), None, None)
    return [replace(verdict, gate=f"answers:{suite.name}")]


def write_gates(project: Project, result: EvaluationResult, more: list[Verdict]) -> list[Verdict]:
    """Judge an evaluation and write gates.json beside its results."""
    bounds = project.config.evaluation.gates
    verdicts = [*standing(result, bounds.int4_drop, bounds.ended, bounds.beats_base), *more]
    model = str(result.systems[-1].file["sha256"])
    storage.write_json(project.evaluation / "gates.json", record(model, verdicts))
    return verdicts
