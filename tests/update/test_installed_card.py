"""The report card of an installed release: shown as it was signed, refused where there is none or it was changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance import storage
from appliance.errors import UpdateError
from appliance.registry import report_card
from appliance.update import installed_card
from tests.stick_simulator import Simulator, flip_bit, make_release

GATES = [
    {"gate": "tone:kept", "bound": "kept at least 0.5", "passed": True, "reason": "kept is 80.0%"},
    {"gate": "refusal:refused", "bound": "refused at least 0.9", "passed": False, "reason": "it is 10.0%"},
]
EVALUATION = {
    "rows": 40,
    "systems": [{"key": "shipped", "title": "Tuned", "exact": {"share": 0.9}, "f1": 0.95}],
    "gates": GATES,
    "waivers": [{"gate": "refusal:refused", "name": "J. Doe", "reason": "it only fills in forms"}],
}


def figures(value: float) -> list[dict[str, Any]]:
    return [{"metric": "kept", "value": value, "low": value - 0.1, "high": value + 0.1, "cases": 8}]


AUDIT: dict[str, Any] = {
    "format": 1,
    "shipped": "shipped",
    "sample": 0,
    "systems": [{"key": "shipped", "title": "Tuned"}, {"key": "base", "title": "Base, F16"}],
    "suites": [
        {
            "name": "tone",
            "title": "Tone \x1b[31mred\u202e",
            "cases": 8,
            "figures": {"shipped": figures(0.8), "base": figures(0.3)},
            "differences": [{"metric": "kept", "against": "base", "verdict": "better"}],
            "faults": ["tone.jsonl:3: no prompt"],
        }
    ],
}


def installed(folder: Path, audit: bytes | None) -> Simulator:
    simulator = Simulator(folder)
    release = folder / "releases" / "1.0.0"
    make_release(release, "1.0.0", b"x" * 99, extra={"evaluation": EVALUATION}, audit=audit)
    simulator.publish("1.0.0")
    simulator.install()
    return simulator


def test_it_is_read_from_the_device_and_shown_in_plain_lines(tmp_path: Path) -> None:
    simulator = installed(tmp_path, storage.canonical_json(AUDIT))
    card = installed_card.read(simulator.device)
    assert card.to_json()["audit"] == AUDIT and card.to_json()["evaluation"] == EVALUATION
    for width in (report_card.WIDTH, report_card.LEAST_WIDTH, 10):
        lines = card.lines(width)
        assert max(map(len, lines)) <= max(width, report_card.LEAST_WIDTH)
        text = "\n".join(lines)
        assert text.isascii() and "\x1b" not in text, "nothing in it is obeyed by a terminal"
    text = "\n".join(card.lines())
    assert text.index("FAILED  refusal:refused") < text.index("passed  tone:kept"), "what failed comes first"
    for part in (
        "1 of 2 passed, 1 waived by name",
        "waived by J. Doe: it only fills in forms",
        "0.8      0.7 to 0.9         0.3      better",
        "90.0 %",
        "1 cases could not be read",
        "beside Base, F16",
    ):
        assert part in text, part


def test_without_an_audit_it_is_refused_and_so_is_an_empty_device(tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match="no release is installed"):
        installed_card.read(Simulator(tmp_path / "empty").device)
    simulator = installed(tmp_path / "bare", None)
    with pytest.raises(UpdateError, match=r"notes 1\.0\.0 brings no report card: it was released without"):
        installed_card.read(simulator.device)


def test_a_card_that_was_changed_lost_or_never_one_is_refused(tmp_path: Path) -> None:
    simulator = installed(tmp_path / "changed", storage.canonical_json(AUDIT))
    (path,) = (
        path for path in simulator.device.objects.glob("*.json") if json.loads(path.read_bytes()) == AUDIT
    )
    flip_bit(path)
    with pytest.raises(UpdateError, match="not the report card that was signed"):
        installed_card.read(simulator.device)
    path.unlink()
    with pytest.raises(UpdateError, match="missing"):
        installed_card.read(simulator.device)
    simulator = installed(tmp_path / "deep", b"[" * 100_000)
    with pytest.raises(UpdateError, match="can't be read"):
        installed_card.read(simulator.device)


@pytest.mark.parametrize("audit", ["[]", "7", '{"suites": [7, {"figures": 3}], "systems": {}}'])
def test_an_audit_of_another_shape_shows_what_it_has(tmp_path: Path, audit: str) -> None:
    simulator = installed(tmp_path, audit.encode())
    assert "refusal:refused" in "\n".join(installed_card.read(simulator.device).lines())
