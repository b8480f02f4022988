"""Who is asked for how often: reads of movies as a Zipf distribution draws them. Called by shared_tier.py and scale_out.py."""

from __future__ import annotations

import random
from itertools import accumulate

EXPONENT = 0.9


def paths(ids: list[int], drawn: int, seed: int = 1) -> list[str]:
    """Return movies as often as they are asked for, in the order of the requests; which are favourites is by chance."""
    chance = random.Random(1)
    weights = list(accumulate((rank + 1) ** -EXPONENT for rank in range(len(ids))))
    shuffled = chance.sample(ids, len(ids))
    chance.seed(seed)
    return [f"/v1/movies/{movie_id}" for movie_id in chance.choices(shuffled, cum_weights=weights, k=drawn)]
