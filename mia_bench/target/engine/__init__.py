"""Behind the queries of a target: one call of its network, each query once, in calls that fit."""
