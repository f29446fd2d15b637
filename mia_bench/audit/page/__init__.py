"""The audit as a page: what it shows, its pictures, and the files it is written to."""
