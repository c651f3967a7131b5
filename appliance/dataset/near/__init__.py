"""Near-duplicates: texts normalised, MinHash and LSH for candidates, exact Jaccard for the verdict.

`NearJoin` finds which texts of a set belong together; `likeness` is the exact measure of two texts.
"""

from appliance.dataset.near.join import NearJoin, NearPair, likeness
from appliance.dataset.near.normal import Frames, find_frames, normalise
from appliance.dataset.near.store import TextStore
from appliance.dataset.near.union_find import UnionFind

__all__ = [
    "Frames",
    "NearJoin",
    "NearPair",
    "TextStore",
    "UnionFind",
    "find_frames",
    "likeness",
    "normalise",
]
