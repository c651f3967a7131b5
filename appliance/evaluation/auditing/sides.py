"""Who is asked what in an audit: the file that ships, the same in 16 bits, the base, and what is in service now."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from appliance import storage
from appliance.conversion import ships
from appliance.dataset import read_rows
from appliance.errors import UsageError
from appliance.evaluation.auditing.fidelity import full_file
from appliance.evaluation.auditing.instructed import instructed
from appliance.evaluation.holding import schema_of
from appliance.evaluation.scoring import SCORERS, AnswerScorer, EmbeddingScorer, FidelityScorer
from appliance.evaluation.suite import Messages, Suite
from appliance.evaluation.systems import (
    BASE,
    BASE_SHOTS,
    BASE_TOLD,
    SHIPPED,
    TUNED_FULL,
    ModelFile,
    base_file,
    choose_examples,
    tuned_file,
    with_examples,
)
from appliance.events import Emit
from appliance.paths import Project, registry_folder
from appliance.registry.store import Registry

IN_SERVICE = "in_service"
RIVALS = (BASE, BASE_SHOTS, BASE_TOLD, IN_SERVICE)
RIVAL_CASES = 50  # of a suite that a rival is asked: rambling answers of a base take the longest of an audit
DOMAIN, TONE = "domain", "tone"
COMPARED = (DOMAIN, TONE)
"""Kinds of suites of which it is said who won."""
SEED = 7

Frame = Callable[[Messages], Messages]


def sampled(suite: Suite, count: int) -> Suite:
    """At most `count` of a suite's cases, the first by the hash of seed and id, in their own order."""
    if not count or len(suite.cases) <= count:
        return suite
    order = sorted(suite.cases, key=lambda case: storage.sha256_bytes(f"{SEED} {case.id}".encode()))
    kept = {case.id for case in order[:count]}
    return replace(suite, cases=tuple(case for case in suite.cases if case.id in kept), of=len(suite.cases))


def compares(suite: Suite) -> bool:
    """Whether a suite sets the file that ships beside its 16-bit file, and is run on both at once."""
    return isinstance(SCORERS[suite.scorer], FidelityScorer)


class Sides:
    """The systems of one audit, each looked for once; what is opened or made for them goes with `stack`.

    Args:
        project: whose audit it is.
        checkpoint: the base's folder.
        emit: gets the events of conversions.
        stack: of the audit.
    """

    def __init__(self, project: Project, checkpoint: Path, emit: Emit, stack: contextlib.ExitStack) -> None:
        self._project, self._checkpoint, self._emit, self._stack = project, checkpoint, emit, stack
        self._known: dict[str, ModelFile] = {}
        self._titles = {
            BASE: "Base, F16",
            BASE_TOLD: "Base, told the style",
            TUNED_FULL: "Tuned, F16",
            SHIPPED: f"Tuned, {ships(project).type} (ships)",
        }
        self._frame: Frame | None = None

    def of(self, system: str) -> ModelFile:
        """A system's file.

        Raises:
            EvaluationError: it is missing, or not what it should be.
        """
        if system not in self._known:
            self._known[system] = self._find(system)
        return self._known[system]

    def _find(self, system: str) -> ModelFile:
        if system == BASE:
            return base_file(self._checkpoint, self._emit)
        if system in {BASE_SHOTS, BASE_TOLD}:
            return self.of(BASE)
        if system == TUNED_FULL:
            return self._stack.enter_context(full_file(self._project, self._checkpoint, self._emit))
        return tuned_file(self._project, ships(self._project).type)

    def title(self, system: str) -> str:
        """A system's name for people."""
        return self._titles[system]

    def frame(self, system: str) -> Frame | None:
        """What makes a system's prompt of a conversation; None where it is asked as it is."""
        return self._frame if system == BASE_SHOTS else None

    def there(self, rival: str) -> bool:
        """Whether a rival can be asked: whether there are examples to show, or another release in service."""
        if rival == BASE_SHOTS:
            return self._has_examples()
        return rival != IN_SERVICE or IN_SERVICE in self._known or self._is_served()

    def _has_examples(self) -> bool:
        path, shots = self._project.dataset / "train.jsonl", self._project.config.evaluation.shots
        examples = choose_examples(read_rows(path), shots) if shots and path.is_file() else []
        schema = schema_of(self._project)
        if not examples and schema is None:
            return False
        shown = " and ".join(
            filter(None, ["schema" if schema else "", f"{len(examples)} examples" if examples else ""])
        )
        self._titles[BASE_SHOTS] = f"Base, with {shown} in the prompt"
        value = schema.value if schema else None
        self._frame = lambda messages: with_examples(messages, examples, value)
        return True

    def _is_served(self) -> bool:
        folder, name = registry_folder(), self._project.config.project.name
        if not folder.is_dir():
            return False
        registry = self._stack.enter_context(Registry(folder))
        try:
            release = registry.find(f"{name}@stable")
        except UsageError:
            return False
        self._stack.enter_context(
            registry.reading()
        )  # so that nobody collects the file from under the engine
        model = registry.manifest(release.digest).model
        if model.sha256 == self.of(SHIPPED).sha256 or not registry.objects.is_whole(model.sha256):
            return False
        path = registry.objects.path(model.sha256)
        self._known[IN_SERVICE] = ModelFile(path, model.sha256, model.bytes, called=model.name)
        self._titles[IN_SERVICE] = f"In service: {release.version}"
        return True


def who_is_asked(
    suites: Sequence[Suite], against: Sequence[str], rivals: Sequence[str], sides: Sides
) -> dict[str, list[Suite]]:
    """Suites to run by system, the shipped file first.

    Args:
        suites: of the audit.
        against: systems to run all suites on.
        rivals: systems to run some cases of the domain suites on, where they are there; the base that is told the
            style gets the tone suites instead, whole, since what a style is measured by are all of their references.
        sides: tells which are.
    """
    asked = [suite for suite in suites if not compares(suite)]
    found: dict[str, list[Suite]] = {SHIPPED: asked}
    for key in (BASE, BASE_TOLD, TUNED_FULL):
        chosen = [
            suite
            for suite in asked
            if key in against
            or any(gate.against == key for gate in suite.gates)
            or (key == BASE_TOLD and key in rivals and _can_be_told(suite))
        ]
        if chosen:
            found[key] = [instructed(suite) for suite in chosen] if key == BASE_TOLD else chosen
    domain = [sampled(suite, RIVAL_CASES) for suite in asked if suite.kind == DOMAIN]
    for key in [rival for rival in rivals if rival != BASE_TOLD] if domain else ():
        known = {suite.name for suite in found.get(key, [])}
        chosen = [suite for suite in domain if suite.name not in known and _can_be_asked(suite, key)]
        if chosen and sides.there(key):
            found[key] = [*found.get(key, []), *chosen]
    if len(asked) < len(suites):
        found.setdefault(TUNED_FULL, [])
    return found


def _can_be_asked(suite: Suite, rival: str) -> bool:
    """Examples stand before what is answered; a plain text that is weighed has no place for them."""
    return rival != BASE_SHOTS or is_answered(suite)


def _can_be_told(suite: Suite) -> bool:
    return suite.kind == TONE and is_answered(suite)


def is_answered(suite: Suite) -> bool:
    """Whether the systems write answers to a suite, and not only weigh its texts."""
    return isinstance(SCORERS[suite.scorer], (AnswerScorer, EmbeddingScorer))
