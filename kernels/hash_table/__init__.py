from fourdc_jax.kernels.hash_table.api import build_hash_table, check_table, lookup
from fourdc_jax.kernels.hash_table.slot_table import SlotTable
from fourdc_jax.kernels.hash_table.xla import HashTable

__all__ = ["HashTable", "SlotTable", "build_hash_table", "check_table", "lookup"]
