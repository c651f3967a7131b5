"""Rows made of what holds none: conversations of transcripts in windows, questions and tasks on documents' passages.

`PairMaker` takes transcripts and documents while files are read, and makes `Pair`s of them.
"""

from appliance.dataset.pairs.making import CHATTER_FILE, PairMaker
from appliance.dataset.pairs.pair import Pair

__all__ = ["CHATTER_FILE", "Pair", "PairMaker"]
