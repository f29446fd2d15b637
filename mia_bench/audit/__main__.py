"""`python -m mia_bench.audit owner|data model=... ...`: one answer about a model and two folders.

`owner`: does my model give away which pictures it was trained on? Of those in members= it was
trained, those in nonmembers= are of the same origin and were not used. `data`: were my pictures
used? Those in mine= are in question, those in unseen= are mine or like mine and were surely not
used; or variants= holds unpublished variants of each. known= adds pictures of which it is known
that they were used: how much of mine= was used is then estimated instead of bounded.

The answer is yes, no evidence, or cannot say, in one sentence; then come the numbers. What it costs
is said first; plan_only=true stops there. docs/audit.md says how it works and what it cannot prove.
"""

from __future__ import annotations

from collections.abc import Sequence

from mia_bench.audit.request import ALPHA, kind_of, request_of
from mia_bench.config.arguments import OUTPUTS, Arguments, parse, run_command
from mia_bench.config.command_spec import FLAG, Command, Option, Positional
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

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
        Option("known", "data: pictures known to have been used, for the share of mine", "FOLDER"),
        Option("variants", "data: unpublished variants, a folder for each picture", "FOLDER"),
        Option(
            "captions",
            "own, none, pseudo:CAPTIONER, or one caption for all; where not given, own if every "
            "picture has one",
        ),
        Option("attacks", "instead of the panel", "A,B"),
        Option("alpha", "false alarms allowed", "RATE", f"{ALPHA:g}"),
        Option("seed", "of noise, folds and permutations", "N", "0"),
        Option("plan", "a registered plan to carry out; of `plan`: where to write it", "FILE"),
        Option("out", "make-variants: new folder of what it writes", "FOLDER"),
        Option("count", "make-variants: unpublished variants of each picture", "N", "19"),
        Option(
            "evidence",
            "also restore and generate the most and the least exposed pictures, which costs "
            "evaluations",
            FLAG,
            "false",
        ),
        Option("pdf", "also a PDF of two pages, by the extra `pdf`", FLAG, "false"),
        Option("name", "of the page: <outputs>/reports/<name>/", "NAME", "audit"),
        OUTPUTS,
    ),
    Positional("WHAT", "what to do", WHAT, required=True, single=True),
    overrides=True,
    examples=(
        "mia-bench audit owner model=my/model members=trained_on nonmembers=others",
        "mia-bench audit data model=owner/name mine=my/works unseen=my/unpublished",
        "mia-bench audit make-variants mine=my/works out=my/sealed",
        "mia-bench audit plan model=owner/name mine=works unseen=others plan=plan.json",
        "mia-bench audit data model=owner/name mine=works unseen=others plan=plan.json",
    ),
)


def run(words: Sequence[str]) -> None:
    """Carry out what the first word names."""
    arguments = parse(COMMAND, words)
    from mia_bench.audit.program import register_audit, run_audit

    (what,) = arguments.words
    if what == "make-variants":
        _make_variants(arguments)
    elif what == "plan":
        register_audit(request_of(kind_of(arguments), arguments))
    else:
        run_audit(request_of("owner" if what == "owner" else "data", arguments))


def _make_variants(arguments: Arguments) -> None:
    from mia_bench.audit.variants import PUBLISHED, make_variants

    for key in ("mine", "out"):
        if key not in arguments:
            raise MiaError(f"make-variants needs {key}=, a folder.")
    mine, out = arguments.path("mine"), arguments.path("out")
    sealed = make_variants(mine, out, arguments.integer("count"), arguments.integer("seed"))
    echo(f"{out / PUBLISHED}: publish these, and keep everything else unpublished.")
    echo(f"seal: {sealed}. Deposit it with somebody else before you publish.")


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, run, words)


if __name__ == "__main__":
    main()
