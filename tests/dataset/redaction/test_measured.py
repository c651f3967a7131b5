"""What is found in labelled data that nobody of this house wrote, in the half that the rules were not made by."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.dataset.redaction import KINDS
from benchmarks.pii import UNSTRUCTURED, Case, Tally, our_spans, read_cases, score

STRUCTURED = [kind for kind in KINDS if kind not in UNSTRUCTURED]


def test_recall_precision_and_leak_are_what_they_are_said_to_be() -> None:
    case = Case(
        "0123456789" * 3, [(0, 10, "PERSON"), (12, 20, "PHONE_NUMBER"), (22, 25, "ORGANIZATION")], False
    )
    tally = score([case], [[(0, 5, "name"), (12, 15, "phone"), (15, 19, "card"), (22, 25, "name")]])
    name, phone = tally.by_kind["name"], tally.by_kind["phone"]
    assert name == Tally(entities=1, hit=1, spans=2, right=1, characters=10, survived=5)
    assert phone == Tally(entities=1, hit=0, spans=1, right=1, characters=8, survived=1)
    assert tally.by_kind["card"].figures() == {"recall": None, "precision": 0.0, "leak": None}
    assert tally.of(["name", "phone"]).entities == 2


@pytest.mark.shared
@pytest.mark.slow
def test_the_bars_hold_on_rows_that_nobody_looked_at(shared_data: Path) -> None:
    cases = [case for case in read_cases(shared_data / "pii_presidio_synth.dev.jsonl") if case.held]
    result = score(cases, our_spans(cases)[0])
    structured, everything = result.of(STRUCTURED), result.of(list(KINDS))
    assert structured.hit >= 0.98 * structured.entities > 0
    assert everything.right >= 0.9 * everything.spans > 0
    for kind in ("name", "address"):
        assert result.by_kind[kind].hit >= 0.8 * result.by_kind[kind].entities > 0
    chat = [case for case in read_cases(shared_data / "pii_multidogo.dev.jsonl") if case.held]
    result = score(chat, our_spans(chat)[0])
    for kind in ("name", "address"):
        assert result.by_kind[kind].hit >= 0.6 * result.by_kind[kind].entities > 0
