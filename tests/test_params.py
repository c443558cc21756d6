from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest

from fourdc_jax.params import read_params


@dataclass(frozen=True)
class Inner:
    share: float
    kind: Literal["a", "b"]


@dataclass(frozen=True)
class Outer:
    count: int
    on: bool
    span: tuple[float, float]
    levels: tuple[int, ...]
    limit: float | None
    inner: Inner
    table: Mapping[str, Inner]


GOOD = {
    "count": 3,
    "on": True,
    "span": [1, 2.5],
    "levels": (8, 4, 2),
    "limit": None,
    "inner": {"share": 1, "kind": "a"},
    "table": {"x": {"share": 0.5, "kind": "b"}},
}


def test_values_become_the_declared_types():
    found = read_params(Outer, GOOD, "config.x")
    assert found == Outer(
        3, True, (1.0, 2.5), (8, 4, 2), None, Inner(1.0, "a"), {"x": Inner(0.5, "b")}
    )
    assert isinstance(found.inner.share, float)
    assert read_params(Outer, {**GOOD, "limit": 2}, "config.x").limit == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 3.5}, "config.x.count: 3.5 is not of type int"),
        ({"count": True}, "config.x.count: True is not of type int"),
        ({"on": 1}, "config.x.on: 1 is not of type bool"),
        ({"span": (2, 1)}, r"config.x.span: \(2.0, 1.0\) is not \(smallest, largest\)"),
        ({"span": (1, 2, 3)}, "does not have 2 values"),
        ({"span": 3}, "config.x.span: 3 is not a tuple"),
        ({"levels": ("a",)}, "config.x.levels: 'a'"),
        ({"inner": {"share": 1, "kind": "c"}}, "config.x.inner.kind: 'c' is none of 'a', 'b'"),
        ({"inner": {"share": 1}}, "config.x.inner: missing key 'kind'"),
        ({"table": {"x": {"share": "1", "kind": "a"}}}, "config.x.table.x.share: '1'"),
        ({"size": 1}, "config.x: unknown key 'size'"),
    ],
)
def test_a_wrong_value_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        read_params(Outer, {**GOOD, **change}, "config.x")
