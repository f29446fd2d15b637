"""The documents are true: what they name exists, what they list is what the code has."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import re
import runpy
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from guides import blocks_of

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]
)
HISTORY = {"CHANGELOG.md"}  # speaks of what was
OUTPUTS = ROOT / "docs" / "outputs.md"
TOP = ("mia_bench", "tests", "conf", "docs", "notebooks", "hydra_plugins", ".ci", ".github")
NAMED = re.compile(rf"(?<![\w/.<-])(?:{'|'.join(map(re.escape, TOP))})/[\w./*<>{{}},-]*")
MAKE = re.compile(r"`make ([a-z-]+)")
COMMAND = re.compile(r"python -m (mia_bench(?:\.\w+)*)")
LINK = re.compile(r"\]\(([^)#\s]+)?(#[^)\s]+)?\)")


def named(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.fixture(params=DOCUMENTS, ids=named)
def document(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_paths_exist(document):
    """Globs match something; names in <> or {} stand for any."""
    if document.name in HISTORY:
        pytest.skip("history")
    missing = []
    for name in NAMED.findall(document.read_text(encoding="utf-8")):
        pattern = re.sub(r"<[^>]*>|\{[^}]*\}", "*", name.rstrip(".,/"))
        if not ((ROOT / pattern).exists() or next(ROOT.glob(pattern), None)):
            missing.append(name)
    assert missing == []


def test_commands_exist(document):
    modules = set(COMMAND.findall(document.read_text(encoding="utf-8")))
    missing = [m for m in modules if not importlib.util.find_spec(m)]
    assert missing == []
    for module in modules:
        found = importlib.util.find_spec(module)
        assert found is not None
        if found.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{module}.__main__"), module


def test_make_targets_exist(document):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    there = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    told = set(MAKE.findall(document.read_text(encoding="utf-8")))
    assert told <= there


def test_contributing_has_the_minutes_of_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| target |")[2]
    rows = [line.split("|")[1:3] for line in table.partition("\n\n")[0].splitlines()[2:]]
    told = {name: minutes.strip() for names, minutes in rows for name in re.findall(MAKE, names)}
    assert told.keys() == targets
    assert all(told.values())


def test_the_layers_are_those_of_the_contract():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = contract["tool"]["importlinter"]["contracts"][0]["layers"]
    table = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("| layer |")[2]
    rows = [line.split("|")[1:4] for line in table.partition("\n\n")[0].splitlines()[2:]]
    assert [row[0].strip() for row in rows] == [str(i + 1) for i in range(len(layers))]
    assert [set(re.findall("`([^`]+)`", row[1])) for row in rows] == [
        {part.strip() for part in layer.split("|")} for layer in layers
    ]
    assert all(row[2].strip() for row in rows)


def test_the_way_of_an_image_has_twelve_lines():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    way = text.partition("\n## The way of one image")[2].partition("\n## ")[0]
    lines = re.findall(r"^(\d+)\. \*\*\w+\.\*\* .+$", way, re.MULTILINE)
    assert lines == [str(i) for i in range(1, 13)]


def test_the_tree_of_outputs_is_that_of_the_page():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = set(re.findall(r"^  ([a-z]+)/", text, re.MULTILINE))
    page = {name.partition("/")[0] for name in section("Folders and files") if "/" in name}
    assert tree == page


def anchors(document: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in found]
    return {"#" + heading.strip().replace(" ", "-") for heading in plain}


def test_links_lead_somewhere(document):
    for target, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        there = (document.parent / target).resolve() if target else document
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), f"{target}{anchor}"


def test_the_configuration_page_is_what_the_code_says():
    """`python tests/tools/configuration_page.py` writes it again."""
    tool = runpy.run_path(str(ROOT / "tests" / "tools" / "configuration_page.py"))
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == tool["page"]()


def test_the_page_of_attacks_is_what_the_code_says():
    """`python tests/tools/attacks_page.py` writes it again."""
    tool = runpy.run_path(str(ROOT / "tests" / "tools" / "attacks_page.py"))
    assert (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8") == tool["page"]()


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


# --- docs/outputs.md against a run ---


def section(title: str) -> dict[str, str]:
    """Names in the first column of a section's table, with the type beside."""
    text = OUTPUTS.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2]
    assert text, title
    rows = [line.split("|")[1:-1] for line in text.partition("\n## ")[0].splitlines()]
    named = [(re.findall(r"`([^`]+)`", row[0]), row[1].strip()) for row in rows if len(row) > 2]
    return {name: kind for names, kind in named for name in names}


def flat(value: Any, name: str = "") -> Iterator[str]:
    """Dotted names of the leaves of an object; an interval is a leaf, and so is a list."""
    if isinstance(value, Mapping) and value and not {"value", "lo", "hi"} <= value.keys():
        for key, inside in value.items():
            yield from flat(inside, f"{name}.{key}" if name else key)
    elif not (isinstance(value, Mapping) and not value):
        yield name


def agrees(there: set[str], told: Mapping[str, str]) -> None:
    """Every name there is told, and every name told without "optional" is there."""
    patterns = {re.sub(r"<[^>]*>", "*", name): kind for name, kind in told.items()}
    unknown = [n for n in there if not any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    assert unknown == []
    needed = [p for p, kind in patterns.items() if "optional" not in kind]
    assert [p for p in needed if not fnmatch.filter(there, p)] == []


@pytest.fixture(scope="module")
def outputs(finished) -> Path:
    """The outputs of a small run, as the command makes them."""
    return finished


def the(outputs: Path, pattern: str) -> Path:
    return next(iter(sorted(outputs.glob(pattern))))


RUN = "runs/*/*/*"
MODEL = "targets/*"
TABLE = "features/*/4/*"
COMMON = "manifest.json, every kind"


@pytest.mark.parametrize(
    ("title", "file"),
    [
        ("metrics.json", f"{RUN}/metrics.json"),
        ("The split", "splits/*.json"),
        ("The blind baselines", "controls/*/controls.json"),
        ("The controls of a run", "reports/*/controls-*.json"),
    ],
)
def test_fields_are_those_documented(outputs, title, file):
    found = json.loads(the(outputs, file).read_text(encoding="utf-8"))
    told = section(title)
    whole = {name for name in told if "." not in name}  # of these the inside is not told
    agrees({n.partition(".")[0] if n.partition(".")[0] in whole else n for n in flat(found)}, told)


@pytest.mark.parametrize(
    ("title", "folder"),
    [
        ("manifest.json of a fine-tune", MODEL),
        ("manifest.json of features", TABLE),
        ("manifest.json of a run", RUN),
    ],
)
def test_manifests_hold_what_is_documented(outputs, title, folder):
    found = json.loads(the(outputs, f"{folder}/manifest.json").read_text(encoding="utf-8"))
    agrees(set(flat(found)), section(COMMON) | section(title))


@pytest.mark.parametrize("name", ["scores.parquet", "roc.parquet", "features.parquet"])
def test_columns_are_those_documented(outputs, name):
    schema = pq.read_schema(the(outputs, f"{TABLE if name.startswith('f') else RUN}/{name}"))
    told = section(name)
    if name.startswith("f"):
        assert schema.names[0] == "sample_id"
        assert {b"shapes", b"digest"} <= schema.metadata.keys()
        return
    assert schema.names == list(told)
    kinds = {"text": ("string", "large_string"), "bool": ("bool",), "float64": ("double",)}
    assert all(str(schema.field(n).type) in kinds[kind] for n, kind in told.items())


def test_the_history_has_the_columns_documented(outputs):
    head = the(outputs, f"{MODEL}/train.csv").read_text(encoding="utf-8").splitlines()[0]
    assert head.split(",") == list(section("train.csv"))


def test_every_file_is_documented(outputs):
    patterns = [re.sub(r"<[^>]*>", "*", name) for name in section("Folders and files")]
    files = [p.relative_to(outputs).as_posix() for p in outputs.rglob("*") if p.is_file()]
    assert len(files) > 20
    assert [f for f in files if not any(fnmatch.fnmatchcase(f, p) for p in patterns)] == []


def test_every_file_of_a_leaderboard_is_documented(tmp_path):
    from mia_bench.leaderboard import run

    scores = tmp_path / "scores.csv"
    rows = [f"{i},{i % 2},{i % 7}" for i in range(40)]
    scores.write_text("\n".join(["sample_id,is_member,score", *rows]))
    card = tmp_path / "card.yaml"
    card.write_text("{attack: a, target: b, data: c, split: d}")
    board = tmp_path / "board"
    run(["add", str(scores), str(card), f"folder={board}"])
    files = {p.relative_to(board).as_posix() for p in board.rglob("*") if p.is_file()}
    there = {re.sub(r"/[0-9a-f]{16}/", "/<key>/", name) for name in files}
    documented = set(section("A leaderboard's folder"))
    assert {name for name in there if not name.endswith(".lock")} == documented
    about = section("A leaderboard's folder")["entries/<key>/card.json"]
    documented_card = re.findall(r"`(\w+)`", about)
    (path,) = board.glob("entries/*/card.json")
    assert list(json.loads(path.read_text())) == documented_card


def test_every_block_of_a_guide_has_a_language():
    for document in (ROOT / "docs" / "extending").glob("*.md"):
        assert all(block.language.isalpha() for block in blocks_of(document)), document


MODELS_TABLE = re.compile(r"^\| what there is \|.*\n(?:\|.*\n)+", re.MULTILINE)
TUNING = {  # options of a model that choose no file
    *("resolution", "chunk", "revision", "variant", "dtype", "family", "attention_slicing"),
    *("vae_slicing", "vae_tiling"),
}
WORDS_OF_TASKS = {"Img2Img": "image-to-image", "Inpaint": "in-painting", "PAG": "PAG"}


def test_the_guide_to_models_lists_what_the_readers_accept():
    """Every option that names a file, kind of pipeline and undecided configuration; no other."""
    from mia_bench.models.readers.pipeline_kinds import TASKS
    from mia_bench.models.readers.single_file import config_folder
    from mia_bench.models.stable_diffusion import StableDiffusion

    page = (ROOT / "docs/extending/model.md").read_text(encoding="utf-8")
    table = MODELS_TABLE.search(page)
    assert table is not None
    options = set(re.findall(r"`model\.(\w+)=", table[0]))
    assert options == {field.name for field in fields(StableDiffusion)} - TUNING

    pipelines = next(line for line in table[0].splitlines() if "pipeline" in line)
    kinds = set(re.findall(r"\w+-to-image|in-painting|\bPAG\b", pipelines))
    rest = {re.sub("|".join(WORDS_OF_TASKS), "", task) for task in TASKS}
    assert rest == {""}, "a kind of pipeline that the guide has no word for"
    accepted = {word for name, word in WORDS_OF_TASKS.items() if any(name in t for t in TASKS)}
    assert kinds == accepted | {"text-to-image"}

    configs = re.findall(r"`model\.config=(\w+)`|`(sd2_\w+)`", table[0])
    for name in filter(None, (word for pair in configs for word in pair)):
        assert (config_folder(ROOT / "absent.safetensors", name) / "model_index.json").is_file()
    assert len(configs) == 2
