"""Hash table of the Triton and CPU kernels: slots that are written and read by linear probing."""

from typing import NamedTuple

from jaxtyping import Array, Int32


class SlotTable(NamedTuple):
    """Row numbers at the slots that the hash of their coordinate names, or at the next free ones.

    A slot is 0 where it is free; else it holds (n - row) << tag_bits(n) | tag, where the tag is a
    part of the hash that tells most other coordinates apart without reading them.

    Attributes:
      slots: int32 [num_slots(n)]. Where coordinates repeat, two runs may differ in which of the
        repeated rows they keep beside the lowest one; no lookup can tell.
      num_duplicates: rows whose coordinate stands in a lower row too.
    """

    slots: Int32[Array, "slots"]
    num_duplicates: Int32[Array, ""]


def num_slots(capacity: int) -> int:
    """A power of two, at least twice the number of rows: probes are short and always end."""
    return 2 << (max(capacity, 1) - 1).bit_length()


def tag_bits(capacity: int) -> int:
    """What n - row, from 1 to n, leaves of the 31 bits of a positive integer."""
    return 31 - max(capacity, 1).bit_length()
