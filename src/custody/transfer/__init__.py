"""Sessions between storages: copied, moved, compacted, and removed where a verified copy lies elsewhere."""
