"""The notebooks run as they are, on small sizes, and are stored without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def execute(tmp_path_factory, small_overrides, trained):
    """execute(path): the finished notebook; all share one outputs folder, as a user's do."""
    from nbclient import NotebookClient

    where = tmp_path_factory.mktemp("notebooks")
    words = [*small_overrides, f"paths.outputs={trained(where / 'outputs')}"]

    def run(path: Path):
        notebook = nbformat.read(path, as_version=4)
        (at,) = [
            i for i, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", [])
        ]
        notebook.cells[at].source += f"\noverrides = {words!r}"
        # a checkout in front of whatever else is installed
        first = nbformat.v4.new_code_cell(f"import sys; sys.path.insert(0, {str(ROOT)!r})")
        notebook.cells.insert(0, first)
        resources = {"metadata": {"path": str(where)}}
        client = NotebookClient(notebook, timeout=300, resources=resources, kernel_name="python3")
        return client.execute()

    return run


def printed(notebook) -> str:
    """What was said, in its order: a busy kernel sends a line in several messages, and those of
    another stream in between."""
    said, begun = [], ""
    for output in (o for c in notebook.cells if c.cell_type == "code" for o in c.outputs):
        if output.get("name") == "stdout":
            *whole, begun = (begun + output.text).split("\n")
            said += whole
        else:
            said.append(output.get("text", "") + str(output.get("data", "")))
    return "\n".join([*said, begun])


def test_there_are_four():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["00", "01", "02", "03"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(run.outputs == [] and run.execution_count is None for run in code)


@pytest.mark.long
def test_a_first_run(execute):
    said = printed(execute(NOTEBOOKS[0]))
    assert "runs    0 of 1 done" in said
    assert "runs    1 of 1 done" in said
    assert "blind_image    p = " in said
    assert "image/png" in said


@pytest.mark.long
def test_reading_results(execute):
    said = printed(execute(NOTEBOOKS[1]))
    line = next(line for line in said.splitlines() if line.startswith("AUC "))
    _, by_hand, _, stored = line.split()
    assert float(by_hand) == pytest.approx(float(stored), abs=1e-9)
    assert "p_value" in said
    assert "notebook/index.html" in said
    assert "| clid |" in said


@pytest.mark.long
def test_adding_an_attack(execute):
    """One file and one yaml outside the package give a row like any other."""
    said = printed(execute(NOTEBOOKS[2]))
    assert "extract target: 36 images, cosine" in said
    changed = said[said.rindex("shadow_nonmember") :]  # of best_only, a field of `score`
    assert "runs    1 of 2 done" in changed
    assert "extract " not in changed
    assert "p_value" in said


@pytest.mark.long
def test_an_audit(execute):
    """The owner of a model that remembers gets a yes, who asks another model about it does not."""
    said = printed(execute(NOTEBOOKS[3]))
    owner, data = said.split("Model: tiny.")
    assert "U-Net evaluations" in owner
    assert "Yes: this model gives away" in owner
    assert "percentile" in owner
    assert "No evidence that your pictures were used" in data
    assert "follow from the stored scores" in data


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_commands_of_the_text_can_be_pasted(path):
    """A line that goes on ends in one backslash: of two a shell makes a word of its own."""
    cells = nbformat.read(path, as_version=4).cells
    lines = [line for c in cells if c.cell_type == "markdown" for line in c.source.splitlines()]
    assert not [line for line in lines if line.startswith("    ") and line.endswith("\\\\")]
