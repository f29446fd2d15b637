"""The captions that an attacker has: own, none, from a file, or generated."""
