"""Can a classifier tell current rows from reference rows? The two-sample classifier test.

The out-of-fold probability g(x) = P(current | x) also weights the loss decomposition and the
label-free estimates. The cut-offs of the diagnosis belong to these learner settings: another
learner moves them. After Lopez-Paz & Oquab (2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.findings.cells import category_pair, cell_pair, numeric_pair, share_explained
from detectors.findings.components import EMBEDDING, leading_components
from detectors.findings.threads import one_thread
from detectors.records import BoolArray, FloatArray, IntArray, Kind, Schema, Window

FOLDS = 3
TOP_CATEGORIES = 30
MOST_COLUMNS = 100
MOST_BINS = 255
CLIP = 0.005
CARRIER_SHARE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class TwoSample:
    """Out-of-fold P(current | x) of reference rows (n,) and current rows (m,), and their AUC.

    An AUC of .5 says the inputs look alike; `carriers` are the columns that tell them apart,
    strongest first.
    """

    reference: FloatArray
    current: FloatArray
    auc: float
    carriers: tuple[str, ...] = ()


def auc(low: FloatArray, high: FloatArray) -> float:
    """P(a value of `high` exceeds one of `low`), ties counting half; NaN if either is empty."""
    from scipy.stats import rankdata

    if not low.size or not high.size:
        return float("nan")
    ranks = rankdata(np.concatenate([low, high]))
    wins = ranks[low.size :].sum() - high.size * (high.size + 1) / 2
    return float(wins / (low.size * high.size))


def encode(reference: Window, current: Window, schema: Schema) -> tuple[FloatArray, BoolArray]:
    """Both windows as one matrix (n + m, p), and which of its columns hold category codes (p,).

    Numbers are the codes of at most 255 pooled quantile bins, all that the learner would keep of
    them; categories rank by pooled frequency, those rarer than the thirtieth read -1, and null is
    a value like any other. Columns that never vary are left out. Of more than 100 columns those
    stay that explain most of the reference score: a choice that does not look at the shift.
    An embedding enters by its leading principal components.
    """
    columns = list(schema.columns)
    if len(columns) > MOST_COLUMNS and reference.score is not None:
        score = np.nan_to_num(reference.score)
        columns.sort(key=lambda c: -share_explained(score, cell_pair(reference, current, c)[0]))
    columns = sorted(columns[:MOST_COLUMNS], key=lambda c: c.kind is Kind.CATEGORICAL)
    arrays = []
    categorical = []
    for column in columns:
        if column.kind is Kind.NUMERIC:
            values = binned(np.concatenate(numeric_pair(reference, current, column.name)))
        else:
            left, right, _ = category_pair(reference, current, column.name)
            codes = np.concatenate([left, right])
            order = np.argsort(-np.bincount(codes + 1), kind="stable")[:TOP_CATEGORIES]
            rank = np.full(codes.max(initial=-1) + 2, -1.0)
            rank[order] = np.arange(len(order))
            values = rank[codes + 1]
        filled = values[~np.isnan(values)]
        if filled.size and (np.ptp(filled) > 0 or filled.size < values.size):
            arrays.append(values)
            categorical.append(column.kind is Kind.CATEGORICAL)
    for component in leading_components(reference, current):
        arrays.append(binned(component))
        categorical.append(False)
    if not arrays:
        return np.empty((reference.rows + current.rows, 0)), np.empty(0, np.bool_)
    return np.column_stack(arrays), np.array(categorical)


def binned(values: FloatArray) -> FloatArray:
    """Values (n,) as bin numbers, nulls kept.

    The learner would bin them itself, but with row weights it searches every threshold anew,
    which takes ten times as long as the trees.
    """
    filled = values[~np.isnan(values)]
    if len(np.unique(filled)) <= MOST_BINS:
        return values
    edges = np.unique(np.quantile(filled, np.linspace(0, 1, MOST_BINS + 1)[1:-1]))
    return np.where(np.isnan(values), np.nan, np.digitize(values, edges))


def two_sample(
    reference: Window,
    current: Window,
    schema: Schema,
    *,
    seed: int,
    encoded: tuple[FloatArray, BoolArray] | None = None,
) -> TwoSample:
    """Cross-fit the classifier on both windows with classes balanced by weight.

    Needs at least `FOLDS` rows a window. `encoded` saves encoding twice. Deterministic in `seed`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold

    X, categorical = encode(reference, current, schema) if encoded is None else encoded
    side = np.repeat([0, 1], [reference.rows, current.rows])
    g = np.full(len(side), 0.5)
    if X.shape[1]:
        weight = np.where(side == 1, reference.rows / current.rows, 1.0)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        with one_thread():
            for train, test in folds.split(X, side):
                learner = HistGradientBoostingClassifier(
                    max_iter=50,
                    learning_rate=0.12,
                    max_leaf_nodes=15,
                    min_samples_leaf=40,
                    l2_regularization=5.0,
                    categorical_features=categorical,
                    early_stopping=False,
                    random_state=seed,
                ).fit(X[train], side[train], sample_weight=weight[train])
                g[test] = learner.predict_proba(X[test])[:, 1]
    g = np.clip(g, CLIP, 1 - CLIP)
    g_ref, g_cur = g[: reference.rows], g[reference.rows :]
    return TwoSample(g_ref, g_cur, auc(g_ref, g_cur), _carriers(reference, current, schema, g))


def within_class_auc(
    two: TwoSample, label_ref: FloatArray, label_cur: FloatArray, *, fewest: int = 20
) -> float:
    """The larger AUC of g inside label 0 and inside label 1: has P(x | y) moved?

    Near .5 under pure label shift. Classes with fewer than `fewest` labelled rows in a window
    are skipped; NaN if both are.
    """
    found = [
        auc(two.reference[label_ref == y], two.current[label_cur == y])
        for y in (0.0, 1.0)
        if min((label_ref == y).sum(), (label_cur == y).sum()) >= fewest
    ]
    return max(found, default=float("nan"))


def _carriers(reference: Window, current: Window, schema: Schema, g: FloatArray) -> tuple[str, ...]:
    """Columns whose cells explain at least a tenth of logit g, strongest first, at most five."""
    logit = np.log(g) - np.log1p(-g)
    shares = {
        column.name: share_explained(
            logit, np.concatenate(cell_pair(reference, current, column)[:2])
        )
        for column in schema.columns
    }
    for component in leading_components(reference, current):
        cells = _fifths(component)
        shares[EMBEDDING] = shares.get(EMBEDDING, 0.0) + share_explained(logit, cells)
    strong = sorted(
        (name for name in shares if shares[name] >= CARRIER_SHARE), key=lambda n: -shares[n]
    )
    return tuple(strong[:5])


def _fifths(values: FloatArray) -> IntArray:
    """Fifths of values (n,), nulls a cell of their own."""
    missing = np.isnan(values)
    edges = np.quantile(values[~missing], (0.2, 0.4, 0.6, 0.8))
    return np.where(missing, 5, np.digitize(np.nan_to_num(values), edges)).astype(np.int64)
