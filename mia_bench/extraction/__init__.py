"""Features of every row of a model: one predict pass, its shards, one table."""
