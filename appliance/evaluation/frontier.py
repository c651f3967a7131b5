"""Size against score: one adapter in files of several types, each asked the validation rows; the smallest that passes.

A type's bits say little about what is lost on a small model: the embedded base's weights lie on the Q4_1 grid, and an
adapter's small steps vanish when they are rounded to it again. So every candidate is made and asked. The test split is
left alone: what is chosen here is measured there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance import storage
from appliance.config import DOWN, KEYS_AND_VALUES
from appliance.conversion import Choice, file_settings, frontier_file, write_gguf
from appliance.dataset import read_rows
from appliance.errors import EvaluationError
from appliance.evaluation.one_file import measure_file
from appliance.evaluation.results import Share
from appliance.evaluation.systems import ModelFile, System, plain_prompt
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.rounding import Rounding

STAGE = "convert"
FULL = Choice("F16")
EMBEDDINGS = r"^(token_embd|output)\."
CANDIDATES = (
    Choice("Q4_0", ((EMBEDDINGS, "Q5_0"), (KEYS_AND_VALUES, "Q8_0"), (DOWN, "Q5_0"))),
    Choice("Q4_0"),
    Choice("IQ4_NL"),
    Choice("Q4_0", ((KEYS_AND_VALUES, "Q8_0"),)),
    Choice("Q4_0", ((KEYS_AND_VALUES, "Q8_0"), (DOWN, "Q5_0"))),
    Choice("Q4_0", ((DOWN, "Q8_0"),)),
    Choice("Q4_1"),
    Choice("Q4_0", (("attn_", "Q8_0"),)),
    Choice("Q5_0"),
    Choice("Q8_0"),
    FULL,
)
"""What is tried: types that rows of any width can take, Q4_0 with sensitive parts in more bits, and with the embeddings
in fewer."""


@dataclass(frozen=True)
class Point:
    """One candidate as it was measured.

    Attributes:
        choice: its types.
        bytes: the file's size.
        bits_per_weight: the true ones.
        exact: how many validation rows were answered exactly right.
        f1: over the fields of JSON answers; None where answers are text.
        passes: whether it reaches the gate.
    """

    choice: Choice
    bytes: int
    bits_per_weight: float
    exact: Share
    f1: float | None
    passes: bool = False


@dataclass(frozen=True)
class Frontier:
    """All candidates, by size, and the one that ships.

    Attributes:
        gate: share of the 16-bit file's score that has to be reached.
        rows: validation rows asked.
        points: by size.
        chosen: the smallest that passes.
    """

    gate: float
    rows: int
    points: tuple[Point, ...]
    chosen: Choice


def smallest_passing(points: Sequence[Point], gate: float, rows: int) -> Frontier:
    """Judge the candidates against the largest float among them. Pure.

    Raises:
        EvaluationError: the 16-bit file is missing among them, or it answers nothing right.
    """
    full = next((point for point in points if point.choice == FULL), None)
    if full is None or not full.exact.hits:
        raise EvaluationError(
            "the 16-bit file answers no validation row exactly right, so nothing can be judged by it",
            "train longer or on more rows; build/training/curve.svg shows how far it came",
        )
    judged = [
        Point(p.choice, p.bytes, p.bits_per_weight, p.exact, p.f1, p.exact.share >= gate * full.exact.share)
        for p in sorted(points, key=lambda point: point.bytes)
    ]
    chosen = next(point.choice for point in judged if point.passes)  # the 16-bit file itself does
    return Frontier(gate, rows, tuple(judged), chosen)


def measure_frontier(
    project: Project, checkpoint: Path, emit: Emit, candidates: Sequence[Choice] = CANDIDATES
) -> Frontier:
    """Make and ask each candidate; write build/frontier/frontier.json and frontier.svg.

    Args:
        project: its adapter must have been trained.
        checkpoint: the base's folder.
        emit: progress.
        candidates: what to try; the 16-bit file is always among them.

    Raises:
        ConversionError, EvaluationError: a candidate can't be made or asked.
    """
    rows = sorted(read_rows(project.dataset / "valid.jsonl"), key=lambda row: row.id)
    if not rows:
        raise EvaluationError(
            "there is no validation row to ask", "run `anchorhold dataset` and read its card"
        )
    tried = list(dict.fromkeys([*candidates, FULL]))
    rounding = Rounding(project, checkpoint, emit)
    done = 0
    folder = project.build / "frontier"
    folder.mkdir(parents=True, exist_ok=True)
    points = []
    emit(Event(STAGE, "started", f"asking {len(tried)} files {len(rows)} validation rows each"))
    path = folder / "candidate.gguf"
    try:
        for choice in tried:

            def tell(more: int, choice: Choice = choice) -> None:
                nonlocal done
                done += more
                total = len(tried) * len(rows)
                emit(Event(STAGE, "progress", str(choice), done=done, total=total, unit="answers"))

            common = file_settings(project) | {
                "quantization": choice.type,
                "overrides": dict(choice.overrides),
            }
            rounding.prepare(choice.type, dict(choice.overrides))
            written = write_gguf(checkpoint, path, **common, quantize=rounding)
            file = ModelFile(path, written.sha256, written.bytes, written.bits_per_weight)
            system = System(str(choice), str(choice), file, plain_prompt)
            score = measure_file(project, checkpoint, system, rows, folder, tell)
            points.append(Point(choice, file.bytes, file.bits_per_weight, score.exact, score.f1))
            text = f"{choice}: {100 * score.exact.share:.1f} % exact, {written.bytes / 1e6:.1f} MB"
            emit(Event(STAGE, "message", text))
    finally:
        path.unlink(missing_ok=True)
    found = smallest_passing(points, project.config.convert.gate, len(rows))
    storage.write_json(frontier_file(project), {"format": 1, **asdict(found)})
    draw(found, folder / "frontier.svg")
    emit(Event(STAGE, "finished", f"the smallest that passes is {found.chosen}"))
    return found


def table(found: Frontier) -> str:
    """The candidates as text, the one that ships marked."""
    lines = [f"{'size':>9}  {'bits':>5}  {'exact':>6}  {'F1':>6}  types"]
    for point in found.points:
        f1 = f"{100 * point.f1:5.1f} %"[:7] if point.f1 is not None else ""
        mark = (
            " <- smallest that passes" if point.choice == found.chosen else "" if point.passes else " (fails)"
        )
        lines.append(
            f"{point.bytes / 1e6:6.1f} MB  {point.bits_per_weight:5.2f}  {100 * point.exact.share:5.1f} %  {f1:>6}  "
            f"{point.choice}{mark}"
        )
    return "\n".join(lines)


def draw(found: Frontier, output: Path) -> None:
    """Size against score as a reproducible SVG, with the gate as a line."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "anchorhold", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.4), layout="constrained")
    full = max(point.exact.share for point in found.points if point.choice == FULL)
    axes.axhline(
        100 * found.gate * full, color="#c2501b", linewidth=1, label=f"gate: {found.gate:.0%} of 16 bits"
    )
    for point in found.points:
        color = "#1f5fa8" if point.passes else "#9a9a9a"
        x, y = point.bytes / 1e6, 100 * point.exact.share
        low, high = 100 * point.exact.low, 100 * point.exact.high
        axes.plot([x, x], [low, high], color=color, linewidth=0.8, alpha=0.5)
        axes.plot([x], [y], marker="*" if point.choice == found.chosen else "o", color=color, markersize=7)
        axes.annotate(str(point.choice), (x, y), textcoords="offset points", xytext=(5, 4), fontsize=7)
    axes.set_xlabel("file size (MB)")
    axes.set_ylabel("exactly right (%)")
    axes.set_title(f"{found.rows} validation rows, 95 % intervals", fontsize=9)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    with storage.atomic_writer(output) as stream:
        figure.savefig(stream, format="svg", metadata={"Date": None})
    pyplot.close(figure)
