import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.records import Categories, Window
from storage.segments import Segment, decode, decode_window, encode, encode_window
from tests.storage.rows import assert_same_bits, codes, plain

ODD = ["", " ", "a:b", "numeric:x", "☃", "\n", "\x00", "'; DROP TABLE segments; --", "‮abc", "é"]


def segment(window: Window) -> Segment:
    rng = np.random.default_rng(window.rows)
    high = rng.integers(0, 2**64, window.rows, dtype=np.uint64)
    low = rng.integers(0, 2**64, window.rows, dtype=np.uint64)
    return Segment(window, high, low, rng.random(window.rows) < 0.5)


def everything(rows: int) -> Window:
    rng = np.random.default_rng(1)
    odd_bits = np.array([0x7FF8000000000001, 0xFFF0000000000000], np.uint64).view(np.float64)
    return Window(
        rows=rows,
        ts_us=rng.integers(-(2**62), 2**62, rows),
        score=np.resize(np.array([0.1 + 0.2, -0.0, 5e-324, *odd_bits]), rows),
        baseline_score=rng.random(rows),
        head_score=rng.random(rows),
        full_score=rng.random(rows),
        label=np.resize([0.0, np.nan, 1.0], rows),
        label_ts_us=rng.integers(0, 2**62, rows),
        weight=1 / rng.random(rows),
        prediction=Categories(np.resize(np.array([-1, 0, 1], np.int32), rows), ("cat", "dog")),
        domain=Categories(np.zeros(rows, np.int32), ("VT",)),
        version=Categories(np.full(rows, -1, np.int32), ()),
        arm=Categories(np.resize(np.array([0, 1], np.int32), rows), ("a", "b")),
        cluster=Categories(np.arange(rows, dtype=np.int32), tuple(f"c{n}" for n in range(rows))),
        numeric={name: rng.normal(size=rows) for name in ODD},
        categorical={name: Categories(np.zeros(rows, np.int32), (name,)) for name in ODD},
        embedding=rng.normal(size=(rows, 7)).astype(np.float32),
    )


@pytest.mark.parametrize("rows", [2, 3, 1000])
def test_every_column_comes_back_to_the_last_bit(rows: int) -> None:
    given_rows = segment(everything(rows))
    back = decode(encode(given_rows))
    assert_same_bits(back.window, given_rows.window)
    assert back.id_hi.tobytes() == given_rows.id_hi.tobytes()
    assert back.id_lo.tobytes() == given_rows.id_lo.tobytes()
    assert back.late.tolist() == given_rows.late.tolist()


def test_columns_that_were_not_recorded_stay_so() -> None:
    back = decode(encode(segment(Window(rows=3, numeric={"x": np.arange(3.0)}))))
    assert back.window.rows == 3
    assert back.window.ts_us is None
    assert back.window.label is None
    assert back.window.domain is None
    assert back.window.embedding is None


def test_rows_without_ids_come_back_as_rows() -> None:
    window = everything(10)
    assert_same_bits(decode_window(encode_window(window)), window)
    assert decode_window(encode_window(Window(rows=4))).rows == 4


@given(st.lists(st.one_of(st.none(), st.sampled_from(ODD), st.text(max_size=8)), min_size=1))
def test_any_text_survives_as_a_category(values: list[str | None]) -> None:
    valid = [value for value in values if value is None or _encodes(value)]
    window = Window(rows=len(valid), categorical={"c": codes(*valid)})
    assert plain(decode_window(encode_window(window))) == plain(window)


def test_a_small_batch_does_not_carry_a_large_vocabulary() -> None:
    values = tuple(f"value {number:06}" for number in range(50_000))
    column = Categories(np.array([49_999, -1, 7, 7], np.int32), values)
    body = encode_window(Window(rows=4, categorical={"c": column}))
    assert len(body) < 2_000
    strings = decode_window(body).categorical["c"].strings().tolist()
    assert strings == ["value 049999", None, "value 000007", "value 000007"]


@pytest.mark.parametrize("cut", [0, 1, 100, -9])
def test_a_damaged_body_is_an_error_and_never_code(cut: int) -> None:
    body = encode(segment(everything(50)))
    with pytest.raises(ValueError, match="cannot be read"):
        decode(body[:cut] if cut >= 0 else body[: len(body) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        decode(b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.")


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
