"""Rounding that makes up for its own errors: the paper's result, libggml's scales, and what llama.cpp reads."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.compiled import load
from convert.compensated import COMPENSATED, DAMPING, Compensation, quantize_compensated
from convert.errors import ConvertError
from convert.libggml import Floats, dequantize, quantize
from convert.native_levels import SOURCE, NativeLevels
from convert.tensor_types import TYPES

KINDS = sorted(COMPENSATED)
COLUMNS = 96


def inputs(seed: int = 0, count: int = 400, columns: int = COLUMNS) -> Floats:
    """What goes into a layer: correlated, some columns much more active than others."""
    chance = np.random.default_rng(seed)
    mixed = chance.standard_normal((count, columns)) @ chance.standard_normal((columns, columns)) / 8
    return (mixed * chance.lognormal(0, 1, columns)).astype(np.float32)


def weights(rows: int = 40, seed: int = 1, columns: int = COLUMNS) -> Floats:
    return (0.05 * np.random.default_rng(seed).standard_normal((rows, columns))).astype(np.float32)


def straight(rows: Floats, moments: Floats, scale: Floats) -> Floats:
    """GPTQ as the paper's algorithm 1 writes it, a column at a time, with the inverse itself; Q4_0's sixteen levels."""
    order = np.argsort(-moments.diagonal(), kind="stable")
    square = moments[np.ix_(order, order)].astype(np.float64)
    square += DAMPING * square.diagonal().mean() * np.eye(len(square))
    upper = np.linalg.cholesky(np.linalg.inv(square)).T
    left, wide = rows[:, order].astype(np.float64), np.repeat(scale, 32, axis=1)[:, order].astype(np.float64)
    found = np.empty_like(left)
    for at in range(left.shape[1]):
        found[:, at] = np.clip(np.rint(left[:, at] / wide[:, at]), -8, 7) * wide[:, at]
        error = (left[:, at] - found[:, at]) / upper[at, at]
        left[:, at + 1 :] -= np.outer(error, upper[at, at + 1 :])
    back = np.empty_like(found)
    back[:, order] = found
    return back.astype(np.float32)


def test_it_is_the_paper_s_algorithm() -> None:
    x, rows = inputs(), weights()
    moments = x.T @ x
    blocks = quantize(rows, "Q4_0").reshape(len(rows), -1, TYPES["Q4_0"].size)
    scale = np.ascontiguousarray(blocks[:, :, :2]).view(np.float16)[:, :, 0].astype(np.float32)
    ours = dequantize(quantize_compensated(rows, "Q4_0", Compensation.of(moments)), "Q4_0")
    wanted = straight(rows, moments, scale)
    # A weight that lies between two levels may tip over in float32, and takes the rest of its row with it.
    assert (np.abs(ours - wanted).max(axis=1) < 1e-6).mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_of_the_layer_is_nearer(kind: str) -> None:
    x, rows = inputs(), weights()
    how = Compensation.of(x.T @ x)

    def error(data: np.ndarray) -> float:
        return float(np.square(x @ (dequantize(data, kind) - rows).T).sum())

    assert error(quantize_compensated(rows, kind, how)) < 0.6 * error(quantize(rows, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_scales_and_minima_stay_libggml_s_and_levels_are_where_llama_reads_them(kind: str) -> None:
    rows, size = weights(), TYPES[kind].size
    alone = Compensation.of(np.eye(COLUMNS, dtype=np.float32))  # nothing goes together: each to its nearest
    ours, plain = quantize_compensated(rows, kind, alone), quantize(rows, kind)
    head = 4 if kind in {"Q4_1", "Q5_1"} else 2
    assert np.array_equal(
        ours.reshape(len(rows), -1, size)[:, :, :head], plain.reshape(len(rows), -1, size)[:, :, :head]
    )
    # libggml rounds by an inverse of the scale before it is float16, so the nearest isn't always its choice.
    ours_off, plain_off = (np.abs(dequantize(each, kind) - rows) for each in (ours, plain))
    assert (ours == plain).mean() > 0.98
    assert (ours_off <= plain_off + 1e-7).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["silent", "one row", "half silent", "huge", "tiny"])
def test_odd_inputs_and_weights_round_to_something_finite(kind: str, case: str) -> None:
    x, rows = inputs(), weights()
    rows[3], rows[5, :32] = 0.0, 0.0
    if case == "silent":
        x[:] = 0
    elif case == "one row":
        x = x[:1]
    elif case == "half silent":
        x[:, ::2] = 0
    elif case == "huge":
        x, rows = x * 1e6, rows * np.float32(1e4)
    else:
        x, rows = x * 1e-12, rows * np.float32(1e-9)  # below float16's smallest scale: zero
    found = dequantize(quantize_compensated(rows, kind, Compensation.of(x.T @ x)), kind)
    assert np.isfinite(found).all()
    plain = dequantize(quantize(rows, kind), kind)
    assert np.abs(found - plain).max() <= 16 * max(np.abs(plain - rows).max(), np.abs(rows).max() / 16)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0), (3, 5), (5, 3)])
def test_moments_that_overflowed_are_refused(bad: float, place: tuple[int, int]) -> None:
    moments = np.eye(COLUMNS, dtype=np.float32)
    moments[place] = bad
    with pytest.raises(ConvertError, match="isn't finite"):
        Compensation.of(moments)


def test_moments_without_a_factor_are_damped_until_they_have_one() -> None:
    lopsided = np.ones((COLUMNS, COLUMNS), dtype=np.float32) - 3 * np.eye(COLUMNS, dtype=np.float32)
    np.fill_diagonal(lopsided, 1.0)
    lopsided[0, 1] = lopsided[1, 0] = 40.0  # no inputs have such moments, float error aside
    how = Compensation.of(lopsided)
    assert np.isfinite(how.taken).all() and sorted(how.order) == list(range(COLUMNS))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> NativeLevels:
    """The levels' library, made with this machine's compiler."""
    found = load(SOURCE, tmp_path_factory.mktemp("levels"), NativeLevels)
    assert found is not None, "no compiler here"
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "columns"), [(40, 96), (1, 32), (33, 160), (64, 224)])
def test_compiled_it_is_the_same(compiled: NativeLevels, kind: str, count: int, columns: int) -> None:
    x, rows = inputs(columns=columns), weights(count, columns=columns)
    rows[0, :32] = 0  # a block whose scale is zero
    rows[-1, 0] = 40  # and one of which all but one are
    how = Compensation.of(x.T @ x)
    native, plain = quantize_compensated(rows, kind, how, compiled), quantize_compensated(rows, kind, how)
    # One that tips over takes the rest of its row with it.
    off = [np.square(x @ (dequantize(each, kind) - rows).T).sum(axis=0) for each in (native, plain)]
    assert (native == plain).all(axis=1).mean() > 0.85
    assert off[0].sum() == pytest.approx(off[1].sum(), rel=0.02)
