"""Programs that make many runs and compare them: seeds, mitigations, trajectories."""
