"""A process that makes batches of portions until its input ends, run by `appliance.with_parent`.

On its standard input it gets pickles from the process that started it (a `Setup`, then portions), on its standard
output it answers each portion with a pickle: a `Batch`, or the exception that was raised.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys

from appliance import offline
from appliance.dataset.lengths import counter
from appliance.dataset.row_batches import Batch, BatchMaker, Setup
from appliance.dataset.row_making import RowMaker
from appliance.errors import as_product_error


def _portable(error: Exception) -> Exception:
    """The exception itself where it can be handed over, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the same line
    except Exception:
        return as_product_error(error)
    return error


def main() -> None:
    """Answer until the input ends."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is the starting process's affair: it closes the pipe
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    offline.seal()
    portions = sys.stdin.buffer
    setup: Setup = pickle.load(portions)  # noqa: S301 - from the process that started this one
    maker = BatchMaker(setup.project, RowMaker(setup.project), counter(setup.checkpoint))
    while True:
        try:
            portion = pickle.load(portions)  # noqa: S301
        except EOFError:
            return
        answer: Batch | Exception
        try:
            answer = maker.make(portion)
        except Exception as error:
            answer = _portable(error)
        try:
            pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except BrokenPipeError:  # nobody waits for it any more
            os._exit(0)


if __name__ == "__main__":
    main()
