"""A whole audit of a project: which suites, which systems, run, judged and written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.audit_scope import Scope, lacking, standing_scope, taken_away
from appliance.errors import EvaluationError
from appliance.evaluation.answers import AnswerStore
from appliance.evaluation.auditing import gates as judging
from appliance.evaluation.auditing.card_page import render
from appliance.evaluation.auditing.fidelity import Comparer, FidelityStore
from appliance.evaluation.auditing.likelihoods import LikelihoodStore
from appliance.evaluation.auditing.meaning import EmbeddingStore, Meaning, by_meaning
from appliance.evaluation.auditing.personal_answers import looked_through
from appliance.evaluation.auditing.results import SuiteResult, suite_result, to_json
from appliance.evaluation.auditing.running import Outcome, Runner
from appliance.evaluation.auditing.sides import Sides, compares, sampled, who_is_asked
from appliance.evaluation.suite import Fault, Suite
from appliance.evaluation.systems import SHIPPED, TUNED_FULL, ModelFile
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.serving.engine_client import Engine

STAGE = "audit"
FORMAT = 1
CONTEXT, SLOTS = 2048, 8  # tokens of one case; cases answered side by side


@dataclass(frozen=True)
class Plan:
    """What an audit is to do.

    Attributes:
        suites: to run.
        faults: of their files.
        against: further systems to run all suites on, beside those that a gate names for its own suite.
        rivals: systems to run some cases of the domain suites on (base, the base with examples, what is in service).
        sample: ask at most so many cases of a suite (0: all), drawn by the hash of their ids.
        scope: what of the project's audit it asks; None: a part of it, which no release counts.
        left_out: suites that the project's rows don't give, and why (`suite: reason`).
    """

    suites: Sequence[Suite]
    faults: Sequence[Fault] = ()
    against: Sequence[str] = ()
    rivals: Sequence[str] = ()
    sample: int = 0
    scope: Scope | None = None
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class AuditResult:
    """All that an audit found; stored as build/audit/audit.json, equal for equal answers.

    Attributes:
        project, version: whose.
        shipped: key of the shipped file's system.
        sample: as the plan has it.
        systems: that were asked, the shipped file first.
        suites: their results.
        faults: of files that gave no suite.
        engine: its version.
        gates: verdicts on the suites whose head, gates or file are wrong.
        lacks: what keeps it from standing for the file; empty: it does, and a release counts it.
    """

    project: str
    version: str
    shipped: str
    sample: int
    systems: list[dict[str, Any]]
    suites: list[SuiteResult]
    faults: list[str]
    engine: str
    left_out: list[str] = field(default_factory=list)
    gates: list[dict[str, Any]] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    format: int = field(default=FORMAT)

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON value."""
        return {**asdict(self), "suites": [to_json(suite) for suite in self.suites]}

    @property
    def verdicts(self) -> list[judging.Verdict]:
        """Of all gates."""
        return [*judging.of_suites(self.suites), *(judging.Verdict(**verdict) for verdict in self.gates)]


def prepared(project: Project, plan: Plan) -> Plan:
    """A plan's suites sampled, and with the project's own system prompt where a suite names none."""
    system = project.config.dataset.system
    suites = [
        replace(suite, system=system) if suite.system is None and system else suite
        for suite in (sampled(suite, plan.sample) for suite in plan.suites)
    ]
    return replace(plan, suites=suites)


def _judged(result: SuiteResult, suite: Suite, missing: int) -> SuiteResult:
    """The result with the verdicts of the suite's gates; `missing` is how many of its cases had a fault."""
    verdicts = []
    note = f"; left out for a fault: {missing} case{'' if missing == 1 else 's'}" if missing else ""
    for gate in suite.gates:
        gap = next(
            (d for d in result.differences if d.metric == gate.metric and d.against == gate.against), None
        )
        other = result.figure(gate.against, gate.metric) if gate.against else None
        verdict = judging.judge(suite, gate, result.figure(SHIPPED, gate.metric), other, gap)
        verdicts.append(asdict(replace(verdict, reason=verdict.reason + note)))
    return replace(result, gates=verdicts)


class _Progress:
    def __init__(self, emit: Emit, total: int) -> None:
        self._emit, self._total, self._done, self._title = emit, total, 0, ""

    def system(self, title: str) -> None:
        self._title = title

    def tell(self, suite: str, more: int) -> None:
        self._done += more
        text = f"{self._title}: {suite}"
        self._emit(Event(STAGE, "progress", text, done=self._done, total=self._total, unit="cases"))


def audit(project: Project, plan: Plan, checkpoint: Path, emit: Emit, *, threads: int = 0) -> AuditResult:
    """Run the plan's suites on the shipped file, and on others where a gate or the plan asks for it.

    Whatever was found is kept at once; an audit that was stopped goes on where it was, and what hasn't changed
    (file, engine, prompt or texts) isn't computed again; gates are judged anew each time. Writes speed.json,
    report-card.html, audit.json and, last, gates.json to build/audit, where those of before stand until then. An audit
    that asks less than a release does, or less than what stands judged of the file, goes to build/audit/part.

    Raises:
        EvaluationError: no suite, or a file is missing.
        ServingError: the engine can't load a file or has died.
    """
    broken = [fault for fault in plan.faults if fault.judged]
    if not plan.suites and not broken:
        raise EvaluationError("no suite to run", "`anchorhold audit list` shows those there are")
    plan = prepared(project, plan)
    folder = project.audit
    folder.mkdir(parents=True, exist_ok=True)
    storage.remove_leftovers(folder)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        work = _Work(project, plan, checkpoint, emit, stack, threads)
        lacks = _lacks(project, plan, work.model)
        output = folder / "part" if lacks else folder
        for name in ("audit.json", "gates.json") if lacks else ():
            (output / name).unlink(missing_ok=True)
        work.ask()
        work.compare()
        work.weigh()
    suites = list(plan.suites)
    answered = looked_through({key: list(found.values()) for key, found in work.outcomes.items()})
    if answered is not None:
        suites.append(answered[0])
        for key, outcome in answered[1].items():
            work.outcomes[key][answered[0].name] = outcome
    result = AuditResult(
        project=project.config.project.name,
        version=project.config.project.version,
        shipped=SHIPPED,
        sample=plan.sample,
        systems=work.systems,
        suites=[work.result(suite) for suite in suites],
        faults=[str(f) for f in plan.faults if not any(_is_of(f, suite) for suite in suites)],
        engine=work.build,
        left_out=list(plan.left_out),
        gates=[asdict(verdict) for verdict in judging.of_faults(broken)],
        lacks=lacks,
    )
    _write(output, result, work.seconds, plan.scope)
    failed = [verdict for verdict in result.verdicts if not verdict.passed]
    text = f"{len(result.verdicts) - len(failed)} of {len(result.verdicts)} gates passed"
    emit(Event(STAGE, "finished", text, data={"seconds": time.monotonic() - began}))
    return result


def _lacks(project: Project, plan: Plan, model: str) -> list[str]:
    """Why the plan's verdicts may not stand for the file whose SHA-256 is `model`; empty where they may."""
    if plan.scope is None:
        return ["only some of its suites were asked"]
    return [*lacking(project, plan.scope), *taken_away(plan.scope, standing_scope(project, model))]


class _Work:
    """The asking of one audit: `outcomes` by system and suite, `seconds` by what took them; `model` is the shipped
    file's SHA-256."""

    def __init__(
        self,
        project: Project,
        plan: Plan,
        checkpoint: Path,
        emit: Emit,
        stack: contextlib.ExitStack,
        threads: int,
    ) -> None:
        """Find out who is asked what; stores and files that are made for it are given back with `stack`."""
        self._plan, self._folder, self._stack = plan, project.audit, stack
        self._sides = Sides(project, checkpoint, emit, stack)
        self.model = self._sides.of(SHIPPED).sha256
        self._wanted = who_is_asked(plan.suites, plan.against, plan.rivals, self._sides)
        self._compared = [suite for suite in plan.suites if compares(suite)]
        total = sum(
            len(suite.cases) for suites in [*self._wanted.values(), self._compared] for suite in suites
        )
        emit(Event(STAGE, "started", f"{len(plan.suites)} suites, {total} cases"))
        self._progress = _Progress(emit, total)
        self._start = partial(_engine, threads=threads, log=self._folder / "engine.log")
        self.outcomes: dict[str, dict[str, Outcome]] = {}
        self.systems: list[dict[str, Any]] = []
        self.seconds: dict[str, float] = {}
        self.build = ""

    @contextlib.contextmanager
    def _timed(self, key: str) -> Iterator[None]:
        since = time.monotonic()
        yield
        self.seconds[key] = round(time.monotonic() - since, 2)

    def _of(self, suite: Suite) -> dict[str, Outcome]:
        """What each system that was asked it made of a suite."""
        return {key: found[suite.name] for key, found in self.outcomes.items() if suite.name in found}

    def ask(self) -> None:
        """Each system its suites."""
        answers = self._stack.enter_context(AnswerStore(self._folder / "answers.jsonl"))
        likelihoods = self._stack.enter_context(LikelihoodStore(self._folder / "likelihoods.jsonl"))
        for key, suites in self._wanted.items():
            file, title = self._sides.of(key), self._sides.title(key)
            self.systems.append({"key": key, "title": title, "file": _facts(file)})
            self._progress.system(title)
            self.outcomes[key] = {}
            with self._timed(key):
                if not suites:
                    continue
                with self._start(file) as engine:
                    self.build = engine.info.build.partition(";")[0]
                    runner = Runner(
                        engine,
                        key,
                        file.sha256,
                        answers,
                        likelihoods,
                        self._progress.tell,
                        self._sides.frame(key),
                    )
                    self.outcomes[key] = {outcome.suite.name: outcome for outcome in runner.run(suites)}

    def compare(self) -> None:
        """The shipped file beside the 16-bit one, where a suite wants it."""
        if not self._compared:
            return
        ours, full = self._sides.of(SHIPPED), self._sides.of(TUNED_FULL)
        self._progress.system(f"{self._sides.title(SHIPPED)} beside 16 bits")
        with (
            self._timed("fidelity"),
            self._start(ours) as engine,
            self._start(full) as other,
            FidelityStore(self._folder / "fidelity.jsonl") as kept,
        ):
            self.build = engine.info.build.partition(";")[0]
            comparer = Comparer(engine, other, (ours.sha256, full.sha256), kept, self._progress.tell)
            self.outcomes[SHIPPED] |= comparer.run(self._compared)

    def weigh(self) -> None:
        """The meaning of answers, where a suite wants it."""
        meant = [suite for suite in self._plan.suites if by_meaning(suite)]
        if not meant:
            return
        file = self._sides.of(SHIPPED)
        with (
            self._timed("embeddings"),
            self._start(file) as engine,
            EmbeddingStore(self._folder / "embeddings.jsonl") as vectors,
        ):
            meaning = Meaning(engine, file.sha256, vectors)
            for suite in meant:
                meaning.score(suite, self._of(suite))

    def result(self, suite: Suite) -> SuiteResult:
        """A suite's figures and the verdicts of its gates."""
        faults = [fault for fault in self._plan.faults if _is_of(fault, suite)]
        outcomes = self._of(suite)
        missing = {fault.where for fault in [*faults, *outcomes[SHIPPED].faults] if not fault.judged}
        return _judged(suite_result(suite, SHIPPED, outcomes, faults), suite, len(missing))


def _is_of(fault: Fault, suite: Suite) -> bool:
    """Whether a fault is of a suite: by its name or, of a line that says none, by its file's."""
    return fault.suite == suite.name or (not fault.suite and fault.where.partition(":")[0] == suite.where)


def _engine(file: ModelFile, *, threads: int, log: Path) -> Engine:
    return Engine(file.path, slots=SLOTS, context=CONTEXT, threads=threads, log=log)


def _facts(file: ModelFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "sha256": file.sha256,
        "bytes": file.bytes,
        "bits_per_weight": file.bits_per_weight,
    }


def _write(folder: Path, result: AuditResult, seconds: dict[str, float], scope: Scope | None) -> None:
    """What was found; gates.json last, whole and with the digests of the others, so that they are of one audit."""
    model = result.systems[0]["file"]["sha256"]
    storage.write_json(folder / "speed.json", {"seconds": seconds})
    storage.write_text(folder / "report-card.html", render(result.to_json()))
    storage.write_json(folder / "audit.json", result.to_json())
    files = {name: storage.sha256_file(folder / name) for name in ("report-card.html", "audit.json")}
    asked = scope.to_json() if scope is not None else None
    value = {**judging.record(model, result.verdicts), "asked": asked, "files": files}
    storage.write_json(folder / "gates.json", value)
