"""The loss curve: JSON lines while training runs, an SVG when it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from appliance import storage


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a curve file; a line cut by a kill is left out."""
    if not path.exists():
        return []
    points = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            points.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return points


def truncate(path: Path, step: int) -> None:
    """Drop the points after `step`, which a resumed training takes again."""
    kept = [json.dumps(point) + "\n" for point in read(path) if point["step"] <= step]
    storage.write_text(path, "".join(kept))


class Writer:
    """Appends points to a curve file."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8")

    def add(self, **point: Any) -> None:
        """Write one point, whole, at once."""
        self._stream.write(json.dumps(point) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def draw(points: list[dict[str, Any]], output: Path) -> None:
    """Draw training loss, its running mean and the validation loss over the steps, as a reproducible SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "anchorhold", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    training = [(point["step"], point["loss"]) for point in points if "loss" in point]
    validation = [(point["step"], point["validation_loss"]) for point in points if "validation_loss" in point]
    figure, axes = pyplot.subplots(figsize=(6.4, 3.0), layout="constrained")
    if training:
        steps, losses = zip(*training, strict=True)
        axes.plot(steps, losses, color="#9db7d5", linewidth=0.8, label="training, a batch")
        mean, smooth = losses[0], []
        for loss in losses:
            mean += 0.1 * (loss - mean)
            smooth.append(mean)
        axes.plot(steps, smooth, color="#1f5fa8", linewidth=1.6, label="training, running mean")
    if validation:
        steps, losses = zip(*validation, strict=True)
        axes.plot(steps, losses, color="#c2501b", marker="o", markersize=4, linewidth=1.4, label="validation")
        lowest = min(validation, key=lambda point: point[1])
        axes.annotate(
            f"lowest {lowest[1]:.4f}", lowest, textcoords="offset points", xytext=(0, 8), ha="right"
        )
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats a token)")
    axes.set_yscale("log")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    with storage.atomic_writer(output) as stream:
        figure.savefig(stream, format="svg", metadata={"Date": None})
    pyplot.close(figure)
