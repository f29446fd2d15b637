"""A stored run is read without trust: no code of its choice, no name that leads out."""

from __future__ import annotations

import pytest
import yaml
from tampering import differing, edit_json, run_folder, verdict

from mia_bench.storage.hashing import hash_file


@pytest.mark.long
def test_code_that_a_run_names_is_not_run(outputs, tmp_path, monkeypatch) -> None:
    """A run folder may come from anybody."""
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()\nclass Attack: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    folder = run_folder(outputs)
    path = folder / "config.yaml"
    for target in ("evil.Attack", "mia_bench.attacks.clid.os.mkdir", "os.mkdir"):
        config = yaml.safe_load(path.read_text())
        config["attack"]["clid"] = {"_target_": target, "path": "made", "mode": 7}
        path.write_text(yaml.safe_dump(config))
        found = verdict(folder)
        assert found["scores"].state in ("not checked", "DIFFERS")
        assert found["key"].state in ("not checked", "DIFFERS")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.py", "outputs"]


def test_names_in_a_manifest_do_not_lead_out(outputs, tmp_path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = run_folder(outputs)

    def change(manifest: dict) -> None:
        manifest["files"]["../../../../../secret"] = hash_file(tmp_path / "secret")
        manifest["features"] = ["../secret"]

    edit_json(folder / "manifest.json", change)
    found = differing(folder)
    assert "secret leads out of the folder" in found["files"]
    assert "leads out of" in found["features"]


@pytest.mark.parametrize(
    "text", ["a: &a [1]\nb: *a\n", "!!python/object/apply:os.mkdir [made]", "[1, 2]", "a: [", ""]
)
def test_a_configuration_that_is_no_plain_mapping_is_refused(
    outputs, text, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = run_folder(outputs)
    (folder / "config.yaml").write_text(text)
    assert "unreadable: " in differing(folder)["key"]
    assert not (tmp_path / "made").exists()
