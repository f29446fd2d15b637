"""`python -m mia_bench.audit owner|data model=... ...`: one answer about a model and two folders.

`owner`: does my model give away which pictures it was trained on? Of those in members= it was
trained, those in nonmembers= are of the same origin and were not used. `data`: were my pictures
used? Those in mine= are in question, those in unseen= are mine or like mine and were surely not
used; or variants= holds unpublished variants of each.

The answer is yes, no evidence, or cannot say, in one sentence; then come the numbers. What it costs
is said first. docs/audit.md says how it works and what it cannot prove.
"""

from __future__ import annotations

from collections.abc import Sequence

from mia_bench.audit.request import ALPHA, request_of
from mia_bench.config.arguments import OUTPUTS, parse, run_command
from mia_bench.config.command_spec import Command, Option, Positional

WHAT = ("owner", "data", "plan", "make-variants")
COMMAND = Command(
    "audit",
    "mia_bench.audit",
    __doc__,
    (
        Option(
            "model", "a diffusers folder, a LoRA, a file or a hub id; or tiny, sd15, ...", "MODEL"
        ),
        Option("base", "the model it was fine-tuned from, where its files do not name it", "MODEL"),
        Option("members", "owner: pictures it was trained on", "FOLDER"),
        Option("nonmembers", "owner: others of the same origin", "FOLDER"),
        Option("mine", "data: pictures in question", "FOLDER"),
        Option("unseen", "data: pictures of yours, or like yours, surely not used", "FOLDER"),
        Option(
            "captions",
            "own, none, pseudo:CAPTIONER, or one caption for all; where not given, own if every "
            "picture has one",
        ),
        Option("attacks", "instead of the panel", "A,B"),
        Option("alpha", "false alarms allowed", "RATE", f"{ALPHA:g}"),
        Option("seed", "of noise, folds and permutations", "N", "0"),
        Option("name", "of the page: <outputs>/reports/<name>/", "NAME", "audit"),
        OUTPUTS,
    ),
    Positional("WHAT", "what to do", WHAT, required=True, single=True),
    overrides=True,
    examples=(
        "mia-bench audit owner model=my/model members=trained_on nonmembers=others",
        "mia-bench audit data model=owner/name mine=my/works unseen=my/unpublished",
    ),
)


def run(words: Sequence[str]) -> None:
    """Carry out what the first word names."""
    arguments = parse(COMMAND, words)
    from mia_bench.audit.program import run_audit

    (what,) = arguments.words
    if what in ("owner", "data"):
        run_audit(request_of("owner" if what == "owner" else "data", arguments))


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, run, words)


if __name__ == "__main__":
    main()
