"""Files of scores from anywhere, measured as the scores of a run are.

A CSV (comma, semicolon, tab), parquet or JSON file with one row per image: its id, whether it is a
member, and a score that is higher for members. Optional columns: `group` (near-duplicates, which
the bootstrap keeps together) and `calibration` (true for rows with known membership that fix
thresholds and are not evaluated). Metrics, intervals and figures are those of a run. Several files
are compared on the images they share, each with the first one, on the same bootstrap resamples.

table_files.py   a file of any of the formats as a table
reading.py       that table in the columns of a run's scores, every value checked
measuring.py     its metrics, and its difference from another file
remarks.py       what a reader must know before believing the figures
"""
