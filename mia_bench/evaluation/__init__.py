"""From stored features to scores, metrics and controls."""
