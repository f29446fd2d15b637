"""The configuration: its schema, composing it, checking it, and its error messages."""
