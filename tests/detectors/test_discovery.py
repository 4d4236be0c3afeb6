from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from detectors.discovery import discover, half_of, rows_of
from detectors.records import Categories, FloatArray


def columns_of(n: int, seed: int, columns: int = 6, values: int = 4) -> dict[str, Categories]:
    rng = np.random.default_rng(seed)
    names = tuple(f"v{i}" for i in range(values))
    return {
        f"c{at}": Categories(rng.integers(0, values, n).astype(np.int32), names)
        for at in range(columns)
    }


def planted(
    n: int, seed: int, shift: float
) -> tuple[FloatArray, FloatArray, dict[str, Categories]]:
    """Right scores, but in the cross c1=v2,c4=v0 log odds are `shift` above them."""
    rng = np.random.default_rng(seed)
    columns = columns_of(n, seed + 1)
    inside = (columns["c1"].codes == 2) & (columns["c4"].codes == 0)
    z = rng.normal(0.0, 1.0, n)
    p = 1 / (1 + np.exp(-z))
    y = rng.random(n) < 1 / (1 + np.exp(-(z + shift * inside)))
    return y - p, p * (1 - p), columns


def test_a_planted_cross_is_found_first() -> None:
    residual, information, columns = planted(20_000, 1, 0.9)
    found = discover(residual, information, columns)
    assert found[0].name == "c1=v2,c4=v0"
    assert found[0].shrunk == pytest.approx(0.65, abs=0.2)
    assert len(found) <= 20
    assert all(one.rows >= 200 for one in found)


def test_pruning_leaves_out_nothing_that_a_search_of_all_crosses_would_put_first() -> None:
    for seed in range(5):
        residual, information, columns = planted(8_000, 10 + seed, 0.7)
        found = discover(residual, information, columns)
        own = residual - information * residual.sum() / information.sum()
        best, name = 0.0, ""
        for a, b in combinations(columns, 2):
            for i in range(4):
                for j in range(4):
                    mask = (columns[a].codes == i) & (columns[b].codes == j)
                    effect = abs(own[mask].sum()) / (information[mask].sum() + 100.0)
                    if mask.sum() >= 200 and effect > best:
                        best, name = effect, f"{a}=v{i},{b}=v{j}"
        assert found[0].name == name


def test_what_the_search_finds_by_chance_is_not_there_in_the_other_half() -> None:
    """40 tables without any slice that is off: on rows not searched, found slices are fair."""
    z = []
    for seed in range(40):
        residual, information, columns = planted(6_000, 100 + seed, 0.0)
        searched = half_of(6_000, None)
        part = {name: c.take(searched) for name, c in columns.items()}
        for one in discover(residual[searched], information[searched], part, fewest_rows=100)[:3]:
            test = rows_of(one, columns) & ~searched
            z.append(residual[test].sum() / np.sqrt(information[test].sum()))
    assert len(z) > 60
    assert abs(np.mean(z)) < 0.35
    assert np.mean(np.abs(z) > 1.96) < 0.12


def test_a_column_and_its_copy_are_one_slice() -> None:
    residual, information, columns = planted(10_000, 3, 0.9)
    copied = {**columns, "copy": columns["c1"]}
    names = [one.name for one in discover(residual, information, copied)]
    assert sum("c4=v0" in name and "=v2" in name for name in names) == 1


def test_rows_of_one_entity_stay_in_one_half() -> None:
    entity = Categories(np.repeat(np.arange(50, dtype=np.int32), 20), tuple(map(str, range(50))))
    side = half_of(1000, entity).reshape(50, 20)
    assert (side == side[:, :1]).all()
    assert 10 < side[:, 0].sum() < 40
    assert abs(half_of(10_000, None).mean() - 0.5) < 0.02


@pytest.mark.parametrize("rows", [0, 1, 399])
def test_too_few_rows_have_no_slices(rows: int) -> None:
    assert discover(np.zeros(rows), np.ones(rows), columns_of(rows, 4)) == ()


def test_nothing_known_and_nothing_off_are_no_error() -> None:
    columns = columns_of(1000, 5)
    assert discover(np.zeros(1000), np.zeros(1000), columns) == ()
    null = {"empty": Categories(np.full(1000, -1, np.int32), ("a", "b"))}
    assert discover(np.zeros(1000), np.ones(1000), null) == ()
