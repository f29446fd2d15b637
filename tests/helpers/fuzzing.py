"""Command lines that nobody should write, drawn from the real configuration: see `command_lines`.

Every value here is harmless where it is taken seriously: no absolute path, nothing that runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mia_bench.config.compose import conf_dir

VALUES = (
    *("null", "''", '""', "[]", "{}", "[null]", "[[]]", "{a: {b: [1, null]}}", "???"),
    *("0", "-1", "1", "2", "7", "1000000", "99999999999999999999999", "0.5", "-0.5", "1.5"),
    *("1e308", "-1e-300", "nan", "inf", "-inf", "0x10", "1_000", "true", "false", "yes", "None"),
    *("banana", "own", "all", "same", "cpu", "'a b'", "'a,b'", "a,b", "1,2", "[1,2,3]", "[a,b]"),
    *("'日本語 💥'", "é", "'\u202egnp.exe'", "'\x1b[31mred\x1b[0m'", "'\x9b2J'", "'\\x00'"),
    *("../elsewhere", "nowhere/at.all", "'~'", "file:nowhere.csv", "pseudo:nobody/nothing"),
    *("${seed}", "${nowhere.at.all}", "${oc.env:MIA_NOT_SET}", "${oc.env:MIA_NOT_SET,3}"),
    *("${oc.decode:'['}", "${", "'${}'", "${now:%Y}", "${eval:1+1}", "range(1,3)", "choice(1,2)"),
    *("glob(*)", "int(3.7)", "str([1])", "sort(3,1)", "<script>alert(1)</script>", "%s%n{0}"),
)
LONG = ("x" * 20_000, "9" * 5_000, "'" + "ab " * 5_000 + "'", "[" + "1," * 3_000 + "1]")
TARGETS = (
    *("nowhere.Nothing", "mia_bench", "mia_bench.utils.errors.MiaError", "'3'", "builtins.dict"),
    *("mia_bench.attacks.loss.Loss", "mia_bench.data.openmoji.OpenMoji", "os.getcwd", "..", "''"),
    *("mia_bench.models.stable_diffusion.StableDiffusion", "mia_bench.attacks.loss.nothing"),
    *("mia_bench.mitigations.augment.Augment", "mia_bench.attacks.clid.CLiD", "len"),
)
GARBAGE = (
    *("=", "seed", "seed=", "=3", "a=b=c", "[", "}", "seed=[", "seed='", "--no-such-flag", "-x"),
    *("+", "~", "~seed", "~model", "~attack", "~data.source", "++", "+=1", "seed==1", "se ed=1"),
    *(
        "seed@x=1",
        "attack@=clid",
        "hydra.job.chdir=3",
        "hydra/launcher=nowhere",
        "@file",
        "$HOME=1",
    ),
    *("+seed=3", "++seed=3", "+attack=loss", "+model=sd15", "attack@other=loss", "$HOME=1"),
    *(
        "~attack.clid",
        "experiment@attack=gap",
        "data/source=openmoji",
        "'attack'=loss",
        "\x1b[2J=1",
        "日本=1",
    ),
)
SOUND = (
    *("seed=3", "eval.seed=5", "finetune.steps=7", "finetune.lr=1e-3", "finetune.batch_size=4"),
    *("attack=[loss,clid,pia]", "attack=all", "attack=[clid,clid_vec]", "attack.clid.alpha=0.5"),
    *("mitigation=[flip,weight_decay]", "mitigation=lora", "mitigation=[early_stop,ema]"),
    *("eval.base_calibrated=true", "eval.ensemble=true", "eval.utility=true", "calibration=split"),
    *("eval.base_rows=[]", "data.captions=null", "data.max_distance=3", "finetune.save_at=[2]"),
    *("eval.access=grey_box", "finetune.epochs=2", "data.split_seed=4", "debug=true"),
)


def options() -> dict[str, list[str]]:
    """Every option of every group that a run composes."""
    groups = [path for path in sorted(conf_dir().iterdir()) if path.is_dir()]
    groups = [path for path in groups if path.name != "hydra"]
    return {g.name: sorted(path.stem for path in g.glob("*.yaml")) for g in groups}


def keys() -> dict[str, list[str]]:
    """Dotted keys by where they are found: "" for the root, or "<group>=<option>"."""
    found = {"": _flat(_read(conf_dir() / "config.yaml"))}
    for group, names in options().items():
        for name in names:
            path = conf_dir() / group / f"{name}.yaml"
            everywhere = path.read_text(encoding="utf-8").startswith("# @package _global_")
            prefix = "" if everywhere else f"{group}."
            found[f"{group}={name}"] = [f"{prefix}{key}" for key in _flat(_read(path))]
    return found


def _read(path: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)


def _flat(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return []
    found = []
    for name, value in node.items():
        if name in ("defaults", "hydra"):
            continue
        found += [f"{prefix}{name}", *_flat(value, f"{prefix}{name}.")]
    return found


def command_lines(n: int, seed: int) -> Iterator[list[str]]:
    """`n` command lines of one to four words; the same for the same seed and configuration."""
    draw = random.Random(seed)
    groups, known = options(), keys()
    for _ in range(n):
        words: list[str] = []
        for _ in range(draw.choice((1, 1, 1, 1, 1, 2, 2, 3))):
            words += _words(draw, groups, known)
        yield words


def _words(
    draw: random.Random, groups: dict[str, list[str]], known: dict[str, list[str]]
) -> list[str]:
    kind = draw.random()
    if kind < 0.08:
        return [draw.choice(GARBAGE)]
    if kind < 0.25:
        return [_choice(draw, groups)]
    if kind < 0.4:
        return [draw.choice(SOUND)]
    place = draw.choice([where for where, there in known.items() if there])
    key = draw.choice(known[place])
    chosen = [place] if place and draw.random() < 0.9 else []
    if kind < 0.48:
        return [*chosen, f"{_misspelt(draw, key)}={draw.choice(VALUES)}"]
    if kind < 0.54:
        return [*chosen, f"{key}={draw.choice(VALUES)}", f"{key}={draw.choice(VALUES)}"]
    if kind < 0.6:
        return [*chosen, f"{draw.choice(('+', '++', '~'))}{key}={draw.choice(VALUES)}"]
    if kind < 0.64:
        return [*chosen, f"{key}={draw.choice(LONG)}"]
    values = TARGETS if key.endswith("_target_") else VALUES
    return [*chosen, f"{key}={draw.choice(values)}"]


def _choice(draw: random.Random, groups: dict[str, list[str]]) -> str:
    """A group with one option, several, one that is not there, or nothing."""
    group = draw.choice(sorted(groups))
    name = draw.choice(groups[group])
    how = draw.random()
    if how < 0.3:
        return f"{group}={_misspelt(draw, name)}"
    if how < 0.6:
        several = [draw.choice(groups[group]) for _ in range(draw.randrange(4))]
        return f"{group}=[{','.join(several)}]"
    if how < 0.7:
        return f"{group}={draw.choice(VALUES)}"
    return f"{group}={name}"


def _misspelt(draw: random.Random, word: str) -> str:
    at = draw.randrange(len(word))
    return draw.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + draw.choice("xé. _-") + word[at + 1 :],
            word.upper(),
            word + ".more",
        )
    )
