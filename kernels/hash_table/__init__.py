from kernels.hash_table.api import build_hash_table, lookup
from kernels.hash_table.xla import HashTable

__all__ = ["HashTable", "build_hash_table", "lookup"]
