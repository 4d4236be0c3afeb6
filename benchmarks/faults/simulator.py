"""A marketplace and its partners: sponsored products, clicks that come late, and the model between.

Shoppers of five segments see products of 24 categories in six departments. A click depends on the
position, on how well the product fits the query, on price within the category, on what a segment
likes, on the hour and the weekday. A partner shares most of the tastes of the marketplace, has its
own mix of categories, prices and hours, its own level of clicks, and few rows. Clicks become known
after hours, the lack of one when the attribution window of a day closes.

Served is a wide-and-deep network (after Cheng et al., 2016), trained on the marketplace and
fine-tuned on the partner's first rows; the same network trained on those rows alone is the
baseline. Everything follows from a seed and is kept in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import nn

from benchmarks.faults.model import Encoder, Model
from benchmarks.faults.tables import Rows, Split
from detectors.records import DAY_US, HOUR_US, FloatArray, IntArray

DEPARTMENTS = ("produce", "dairy", "snacks", "drinks", "household", "sports nutrition")
LEAVES = 4
SEGMENTS = ("families", "singles", "bulk", "organic", "late night")
DEVICES = ("app", "web", "tablet")
TASTES = 3
"""Dimensions of taste that segments and categories share."""

LEVEL, SHARED_TASTE = -2.4, 0.85
ATTRIBUTION_US, CLICK_HOURS = DAY_US, 4.0
START_US = 1_772_409_600_000_000  # Monday, 2 March 2026, midnight UTC
MARKETPLACE_ROWS, PARTNER_TUNING = 30_000, 2_000
WIDTH, DEEP = 40, 16


@dataclass(frozen=True, eq=False)
class Place:
    """What is peculiar to the marketplace or to one partner."""

    level: float
    taste: FloatArray  # (segments, categories), log odds
    categories: FloatArray  # (categories,) shares
    segments: FloatArray  # (segments,) shares
    price: FloatArray  # (categories,) mean log price
    price_effect: float
    busiest_hour: float


@dataclass(frozen=True, eq=False)
class Log:
    """Impressions in order of time, with the instant at which each label is known."""

    rows: Rows
    ts_us: IntArray
    label_ts_us: IntArray

    def take(self, rows: IntArray | slice) -> Log:
        return Log(self.rows.take(rows), self.ts_us[rows], self.label_ts_us[rows])


@cache
def places(seed: int) -> tuple[Place, Place]:
    """The marketplace of this seed, and one partner."""
    rng = np.random.default_rng([seed, 1])
    n, k = len(DEPARTMENTS) * LEAVES, len(SEGMENTS)
    like, liked = rng.normal(size=(k, TASTES)), rng.normal(size=(n, TASTES))
    own = rng.normal(size=(k, TASTES))
    differing = SHARED_TASTE * like + np.sqrt(1 - SHARED_TASTE**2) * own
    price = rng.normal(1.6, 0.6, n)
    home = Place(
        LEVEL,
        0.45 * like @ liked.T,
        rng.dirichlet(np.full(n, 3.0)),
        rng.dirichlet(np.full(k, 8.0)),
        price,
        0.5,
        18.0,
    )
    abroad = Place(
        LEVEL + float(rng.normal(0.3, 0.2)),
        0.45 * differing @ liked.T,
        rng.dirichlet(np.full(n, 2.0)),
        rng.dirichlet(np.full(k, 6.0)),
        price + rng.normal(0.15, 0.1, n),
        float(rng.uniform(0.3, 0.8)),
        float(rng.uniform(9.0, 20.0)),
    )
    return home, abroad


def impressions(
    place: Place, rows: int, *, days: float, rng: np.random.Generator, start_us: int = START_US
) -> Log:
    """So many impressions over so many days, busier at some hours and at weekends."""
    ts = _instants(place, rows, days, rng) + start_us
    hour = (ts % DAY_US) / HOUR_US
    weekend = (ts // DAY_US + 3) % 7 >= 5  # 1 January 1970 was a Thursday
    category = rng.choice(len(place.categories), rows, p=place.categories)
    segment = rng.choice(len(SEGMENTS), rows, p=place.segments)
    device = rng.choice(len(DEVICES), rows, p=(0.55, 0.3, 0.15))
    position = 1.0 + np.minimum(rng.geometric(0.15, rows) - 1, 23)
    relevance = rng.beta(4.0, 2.0, rows)
    dearer = rng.normal(0.0, 0.45, rows)
    price: FloatArray = np.exp(place.price[category] + dearer)
    bid: FloatArray = np.exp(rng.normal(-0.9, 0.35, rows) + 0.3 * dearer + 0.8 * (relevance - 0.67))
    orders = rng.negative_binomial(1.2, 0.12, rows).astype(np.float64)
    evening = np.cos((hour - place.busiest_hour) * np.pi / 12)
    log_odds = (
        place.level
        + place.taste[segment, category]
        - 0.45 * np.log(position)
        + 3.0 * (relevance - 0.67)
        - place.price_effect * dearer
        + 0.25 * np.log1p(orders)
        + 0.2 * (device == 0)
        + 0.12 * evening
        + 0.1 * weekend
    )
    clicked = rng.random(rows) < 1 / (1 + np.exp(-log_odds))
    waited = np.minimum(rng.exponential(CLICK_HOURS, rows) * HOUR_US, ATTRIBUTION_US)
    known = ts + np.where(clicked, waited, ATTRIBUTION_US).astype(np.int64)
    names = np.array([f"{d} {leaf}" for d in DEPARTMENTS for leaf in range(1, LEAVES + 1)])
    return Log(
        Rows(
            {
                "position": position,
                "relevance": np.round(relevance, 3),
                "price": np.round(price, 2),
                "bid": np.round(bid, 2),
                "past_orders": orders,
            },
            {
                "category": names[category],
                "department": np.array(DEPARTMENTS)[category // LEAVES],
                "segment": np.array(SEGMENTS)[segment],
                "device": np.array(DEVICES)[device],
            },
            clicked.astype(np.float64),
        ),
        ts,
        known,
    )


def _instants(place: Place, rows: int, days: float, rng: np.random.Generator) -> IntArray:
    """Sorted instants from 0 on, drawn by the traffic of each hour."""
    hours = np.arange(round(days * 24))
    traffic = 1.0 + 0.6 * np.cos((hours % 24 - place.busiest_hour) * np.pi / 12)
    traffic *= np.where(hours // 24 % 7 >= 5, 1.25, 1.0)
    hour = rng.choice(hours, rows, p=traffic / traffic.sum())
    instants: IntArray = np.sort(((hour + rng.random(rows)) * HOUR_US).astype(np.int64))
    return instants


class WideAndDeep(nn.Module):
    """A linear memory of crossed categories beside a deep network whose last layer is the
    embedding."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        at = encoder.starts()
        self.category, self.segment = at["category"], at["segment"]
        crossed = len(encoder.values["category"]) * len(encoder.values["segment"])
        self.wide = nn.Linear(encoder.width + crossed, 1, bias=False)
        self.body = nn.Sequential(
            nn.Linear(encoder.width, WIDTH), nn.ReLU(), nn.Linear(WIDTH, DEEP), nn.ReLU()
        )
        self.head = nn.Linear(DEEP, 1)
        nn.init.zeros_(self.wide.weight)

    def memory(self, X: torch.Tensor) -> torch.Tensor:
        """What the wide half says."""
        pairs = X[:, self.category, None] * X[:, None, self.segment]
        said: torch.Tensor = self.wide(torch.cat([X, pairs.flatten(1)], dim=1))
        return said

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.memory(X) + self.head(self.body(X))
        return said


@cache
def partner(seed: int) -> tuple[Split, Model, Model]:
    """Rows of the marketplace and of the partner, the model served, and the baseline.

    Tuning, reference and pool are rows of the same eight weeks of the partner, in no order.
    """
    home, abroad = places(seed)
    rng = np.random.default_rng([seed, 2])
    source = impressions(home, MARKETPLACE_ROWS, days=56, rng=rng).rows
    rows = impressions(abroad, PARTNER_TUNING + 30_000, days=56, rng=rng).rows
    order = rng.permutation(len(rows))
    ends = np.cumsum([PARTNER_TUNING, 6_000])
    tuning, reference, pool = (rows.take(part) for part in np.split(order, ends))
    split = Split(source, tuning, reference, pool)
    encoder = Encoder.fit(source)
    torch.manual_seed(seed)
    start = Model(encoder, WideAndDeep(encoder))
    served = start.tuned(source, seed, 6, 512, 4e-3, 3).tuned(tuning, seed, 20, 64, 5e-4, 5)
    return split, served, start.tuned(tuning, seed, 30, 64, 2e-3, 5)
