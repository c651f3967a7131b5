"""How hypothesis is used here: the same examples every time, no clock, nothing kept between runs."""

from __future__ import annotations

from hypothesis import settings

PROFILE = "house"
settings.register_profile(PROFILE, deadline=None, derandomize=True, database=None, print_blob=False)
