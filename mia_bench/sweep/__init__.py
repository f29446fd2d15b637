"""Multirun: the plan of all jobs, the jobs, and one table at the end."""
