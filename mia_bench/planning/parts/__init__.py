"""What a plan lays out, part by part: rows, models, pictures of the target's own, and runs."""
