"""What lies beside runs may be missing, broken or hostile; the page gets pictures and numbers."""

from __future__ import annotations

import base64
import io
import json
import os

import pytest
import torch
from PIL import Image

from mia_bench.display.pictures.evidence import PANELS, EvidenceRow, save_strips
from mia_bench.report.attachments import Album, licences, read_evidence, read_training, read_utility
from mia_bench.report.load import Problem, read_outputs
from mia_bench.storage.artifacts import seal


def picture(path, size=(40, 30), colour="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def decoded(uri):
    assert uri.startswith("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_losses_of_a_fine_tune(tmp_path):
    path = tmp_path / "targets" / "m" / "train.csv"
    assert read_training(tmp_path, "m") is None
    path.parent.mkdir(parents=True)
    path.write_text("step,epoch,train_loss,val_member\n4,1,0.5,0.4\n8,2,0.3,0.2\n")
    found = read_training(tmp_path, "m")
    assert found.steps == (4, 8)
    assert found.losses == {"train_loss": (0.5, 0.3), "val_member": (0.4, 0.2)}


@pytest.mark.parametrize("text", ["", "step,train_loss\n1\n", "a,b\n1,2\n", "step,val_x\n1,nan\n"])
def test_losses_that_cannot_be_read(tmp_path, text):
    path = tmp_path / "targets" / "m" / "train.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert isinstance(read_training(tmp_path, "m"), Problem)


def test_the_newest_utility_counts(tmp_path):
    assert read_utility(tmp_path, "m", "300") is None
    for i, key in enumerate(("old", "new", "later.tmp")):
        folder = tmp_path / "utility" / "m" / "300" / key
        folder.mkdir(parents=True)
        values = {"heldout_loss": i, "clip_score": None, "frechet_features": "tiny VAE", "bad": "x"}
        (folder / "utility.json").write_text(json.dumps(values))
        seal(folder, {})
        os.utime(folder / "utility.json", (i, i))
    found = read_utility(tmp_path, "m", "300")
    assert found.values == {"heldout_loss": 1.0}
    assert found.features == "tiny VAE"
    assert found.samples is None
    picture(folder.with_name("new") / "samples.png")
    seal(folder.with_name("new"), {})
    assert read_utility(tmp_path, "m", "300").samples is not None
    (tmp_path / "utility" / "m" / "300" / "new" / "utility.json").write_text("{")
    assert isinstance(read_utility(tmp_path, "m", "300"), Problem)


def test_a_large_picture_is_refused_by_its_header(tmp_path, monkeypatch):
    """175 megapixels of one colour are half a megabyte, and would be 500 once decoded."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    large = tmp_path / "large.png"
    Image.new("1", (17_500, 10_000)).save(large)
    monkeypatch.undo()
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was decoded"))
    problem = Album().add(large)
    assert isinstance(problem, Problem)
    assert "17,500 x 10,000 pixels" in problem.what


def test_pixels_of_a_page_are_bounded(tmp_path):
    path = picture(tmp_path / "a.png", (100, 100))
    album = Album(pixels=25_000)
    assert [album.add(path) is None for _ in range(4)] == [False, False, True, True]


def test_tall_pictures_are_reduced_too(tmp_path):
    assert decoded(Album().add(picture(tmp_path / "a.png", (22, 2200)))).size == (11, 1100)


def test_pictures_are_encoded_again_and_bounded(tmp_path):
    album = Album()
    wide = decoded(album.add(picture(tmp_path / "a.png", (3000, 300))))
    assert wide.size == (1100, 110)
    cut = decoded(album.add(picture(tmp_path / "b.png", (40, 30)), skip=10))
    assert cut.size == (40, 20)
    assert Album(budget=0).add(tmp_path / "a.png") is None
    text = tmp_path / "c.png"
    text.write_text("<script>alert(1)</script>")
    assert isinstance(album.add(text), Problem)
    gif = tmp_path / "d.png"
    Image.new("RGB", (9, 9)).save(gif, "GIF")
    assert isinstance(album.add(gif), Problem)


def test_evidence_keeps_its_order_and_its_words(tmp_path, write_run):
    folder = write_run(tmp_path, "drc")
    (run,), _, _ = read_outputs([tmp_path])
    assert read_evidence(run, Album()) == (None, [])
    shown = [EvidenceRow(f"z:{9 - i}", f"caption {i}", i / 2, i == 0, "top") for i in range(2)]
    images = {name: torch.zeros(2, 3, 8, 8) for name in PANELS}
    save_strips(folder / "evidence", images, shown)
    seal(folder / "evidence", {})
    evidence, problems = read_evidence(run, Album())
    assert problems == []
    assert [strip.sample_id for strip in evidence.strips] == ["z:9", "z:8"]
    assert evidence.strips[1].caption == "caption 1"
    assert (evidence.strips[0].label, evidence.strips[1].label) == ("member", "non-member")
    assert evidence.left_out == 0
    (folder / "evidence" / "index.json").unlink()
    seal(folder / "evidence", {})
    older, _ = read_evidence(run, Album())
    assert [strip.sample_id for strip in older.strips] == ["z_8", "z_9"]
    none, _ = read_evidence(run, Album(budget=1))
    assert len(none.strips) == 1
    assert none.left_out == 1


def test_an_index_cannot_reach_outside_its_folder(tmp_path, write_run):
    folder = write_run(tmp_path, "drc") / "evidence"
    (run,), _, _ = read_outputs([tmp_path])
    picture(tmp_path / "secret.png")
    picture(folder / "in.png")
    rows = [{"file": "../../../../../secret.png"}, {"file": "in.png", "score": "x"}]
    (folder / "index.json").write_text(json.dumps({"rows": rows}))
    seal(folder, {})
    evidence, _ = read_evidence(run, Album())
    assert [strip.sample_id for strip in evidence.strips] == ["in"]
    assert evidence.strips[0].score is None
    (folder / "broken.png").write_text("no picture")
    (folder / "index.json").write_text(json.dumps({"rows": [{"file": "broken.png"}]}))
    seal(folder, {})
    assert len(read_evidence(run, Album())[1]) == 1


def test_licences_come_from_our_own_readers_alone(tmp_path, write_run, monkeypatch):
    def runs(target, **source):
        node = {"name": "d", "source": {"_target_": target, **source}}
        outputs = tmp_path / target.replace(".", "_") / "-".join(source)
        write_run(outputs, data=node)
        return read_outputs([outputs])[0]

    assert licences(runs("mia_bench.data.openmoji.OpenMoji")) == {"d": "CC BY-SA 4.0"}
    assert licences(runs("mia_bench.data.gone.Gone")) == {"d": "not stated"}
    assert licences(runs("any.Thing", licence="MIT")) == {"d": "MIT"}
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert licences(runs("evil.Thing")) == {"d": "not stated"}


def test_figures_that_no_manifest_vouches_for_are_not_shown(tmp_path):
    path = tmp_path / "utility" / "m" / "300" / "k" / "utility.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"frechet": 9.0}))
    assert "manifest.json: it is missing" in read_utility(tmp_path, "m", "300").what
    seal(path.parent, {})
    assert read_utility(tmp_path, "m", "300").values == {"frechet": 9.0}
    path.write_text(json.dumps({"frechet": 1.0}))
    assert read_utility(tmp_path, "m", "300").what.startswith("not shown: utility.json changed")
    picture(path.with_name("samples.png"))
    path.write_text(json.dumps({"frechet": 9.0}))
    assert "samples.png changed" in read_utility(tmp_path, "m", "300").what
    seal(path.parent, {})
    assert read_utility(tmp_path, "m", "300").samples == path.with_name("samples.png")


def test_evidence_that_no_manifest_vouches_for_is_not_shown(tmp_path, write_run):
    folder = write_run(tmp_path, "drc") / "evidence"
    (run,), _, _ = read_outputs([tmp_path])
    rows = [EvidenceRow(f"z:{i}", "a cat", 0.5, True, "top") for i in range(2)]
    save_strips(folder, {name: torch.zeros(2, 3, 8, 8) for name in PANELS}, rows)
    (without,) = read_evidence(run, Album())[1]
    assert "manifest.json: it is missing" in without.what
    seal(folder, {})
    assert len(read_evidence(run, Album())[0].strips) == 2
    picture(folder / "z_1.png")
    evidence, (changed,) = read_evidence(run, Album())
    assert [strip.sample_id for strip in evidence.strips] == ["z:0"]
    assert evidence.left_out == 0
    assert changed.what == "not shown: z_1.png changed since it was written"
    index = folder / "index.json"
    index.write_text(index.read_text().replace("0.5", "0.9", 1))
    evidence, (edited,) = read_evidence(run, Album())
    assert evidence is None
    assert edited.what == "not shown: index.json changed since it was written"
    index.unlink()
    assert read_evidence(run, Album())[0] is None
