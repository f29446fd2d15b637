"""What people have, as helpers/layouts.py builds it, is read: each picture with its own caption."""

from __future__ import annotations

import io
import pickle
import runpy
import tarfile
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from corpus import encode, picture
from layouts import LAYOUTS, SPLIT_FILES, TEXTS, Layout, SplitFile
from miniature import write
from PIL import Image
from splits import split_of

from mia_bench.config.instantiate import build
from mia_bench.data.imagefolder import ImageFolder
from mia_bench.data.pictures.image_file import decode
from mia_bench.data.source import Listing
from mia_bench.data.split.roles import Role
from mia_bench.utils.errors import MiaError

ROOT = Path(__file__).parents[3]
SOURCES = {
    "imagefolder": {"_target_": "mia_bench.data.imagefolder.ImageFolder"},
    "parquet": {"_target_": "mia_bench.data.parquet.Parquet", "name": "p", "licence": "none"},
    "flickr": {"_target_": "mia_bench.data.flickr.Flickr"},
}


def read(layout: Layout, root: Path) -> Listing:
    layout.build(root)
    node = {**SOURCES[layout.data], "root": str(root), **layout.options}
    return build(node, "data.source").items()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.data} {layout.name}")
def test_every_picture_is_read_with_its_own_caption(layout: Layout, tmp_path: Path) -> None:
    items = read(layout, tmp_path / "root").items
    assert sorted(item.caption for item in items) == sorted(TEXTS)
    for item in items:
        wanted = (
            picture(TEXTS.index(item.caption)).convert("L").resize((4, 4), Image.Resampling.BOX)
        )
        again = pickle.loads(pickle.dumps(item)).load(8)
        seen = again.convert("L").resize((4, 4), Image.Resampling.BOX)
        differences = [abs(a - b) for a, b in zip(wanted.tobytes(), seen.tobytes(), strict=True)]
        assert max(differences) < 12  # JPEG


def test_the_page_is_written_from_this_list() -> None:
    tool = runpy.run_path(str(ROOT / "tests/tools/data_page.py"))
    assert tool["PAGE"].read_text(encoding="utf-8") == tool["page"](), (
        "python tests/tools/data_page.py"
    )


@pytest.mark.first_look(3)
@pytest.mark.parametrize("file", SPLIT_FILES, ids=lambda file: file.name)
def test_every_split_file_is_read(file: SplitFile, folder_run, tmp_path: Path) -> None:
    content = file.content()
    path = write(tmp_path / file.name, content)
    run = folder_run(f"data.split={path}", outputs=tmp_path / "out")
    split = split_of(run, tmp_path / "out")[1]
    roles = {row.name: row.role for row in split.table}
    assert all(roles[f"p{i:03d}.png"] is Role.TARGET_MEMBER for i in range(10))
    assert all(roles[f"p{i:03d}.png"] is Role.TARGET_NONMEMBER for i in range(10, 20))
    others = 60 if path.suffix == ".txt" else 10
    assert Counter(split.role)[Role.TARGET_NONMEMBER] == others


def test_positions_out_of_the_data_or_of_uncertain_rows_are_refused(folder_run, tmp_path) -> None:
    import numpy as np
    from album import make_album

    np.savez(tmp_path / "far.npz", members=[0, 70], nonmembers=[1])
    with pytest.raises(MiaError, match="reaches from 0 to 70, and the data has 70 rows"):
        split_of(folder_run(f"data.split={tmp_path / 'far.npz'}", outputs=tmp_path), tmp_path)
    np.savez(tmp_path / "odd.npz", some=[0])
    with pytest.raises(MiaError, match="has the arrays some, and members or nonmembers"):
        split_of(folder_run(f"data.split={tmp_path / 'odd.npz'}", outputs=tmp_path), tmp_path)
    root = make_album(tmp_path / "album", 70)
    write(root / "z.png", (root / "p000.png").read_bytes())
    write(root / "z.txt", "a copy")
    np.savez(tmp_path / "ok.npz", members=[0], nonmembers=[1])
    run = folder_run(f"data.split={tmp_path / 'ok.npz'}", outputs=tmp_path, root=root)
    with pytest.raises(MiaError, match="1 pictures of the data are copies"):
        split_of(run, tmp_path)


def test_one_picture_of_an_archive_is_in_memory_at_a_time(tmp_path: Path) -> None:
    size, count = 1 << 20, 16
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(count):
            for name, data in ((f"{i}.png", bytes([i]) * size), (f"{i}.txt", b"a cat")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    tracemalloc.start()
    made = ImageFolder(str(tmp_path)).items()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(made.items) == count
    assert size < peak < count * size / 2


def test_a_broken_archive_gives_what_came_before(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(2):
            for name, data in ((f"{i}.png", encode(picture(i))), (f"{i}.txt", b"a cat")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:2000])
    made = ImageFolder(str(tmp_path)).items()
    assert [item.name for item in made.items] == ["a.tar/0"]
    assert any("archive is broken" in skip.reason for skip in made.skipped)


def test_a_saved_data_set_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    saved = next(layout for layout in LAYOUTS if layout.name == "save_to_disk")
    saved.build(tmp_path / "d")
    state = tmp_path / "d/state.json"
    state.write_text(state.read_text().replace("data-0", "../data-0"))
    with pytest.raises(MiaError, match="names files out of its folder"):
        ImageFolder(str(tmp_path)).items()


def test_the_splits_of_a_saved_data_set_say_who_is_a_member(tmp_path: Path) -> None:
    saved = next(layout for layout in LAYOUTS if layout.name == "save_to_disk in splits")
    made = read(saved, tmp_path / "d")
    assert made.label_column == "split"
    assert {i.caption: i.label for i in made.items} == dict(
        zip(TEXTS, ["member", "member", "nonmember", "nonmember"], strict=True)
    )


@pytest.mark.parametrize(("package", "kind"), [("pillow_heif", "HEIF"), ("pillow_jxl", "JXL")])
def test_formats_of_the_extra_are_read_where_it_is_installed(package, kind) -> None:
    plugin = pytest.importorskip(package)
    if kind == "HEIF":
        plugin.register_heif_opener()
    assert decode(encode(picture(0), kind)).size == (24, 20)


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"\0\0\0\x18ftypheic" + bytes(40), "HEIF"), (b"\xff\x0a" + bytes(40), "JPEG XL")],
)
def test_formats_of_the_extra_are_named_without_it(data, kind, monkeypatch) -> None:
    from mia_bench.data.pictures import image_file

    monkeypatch.setattr(image_file, "formats", lambda: ("PNG",))
    with pytest.raises(ValueError, match=rf"a {kind} picture, .*mia_bench\[formats\]"):
        decode(data)


def test_nothing_usable_names_an_example_the_columns_and_the_key(folder_run, tmp_path) -> None:
    write(tmp_path / "album/a.png", encode(picture(0)))
    write(tmp_path / "album/metadata.jsonl", '{"file_name": "a.png", "about": "a cat"}')
    with pytest.raises(MiaError) as caught:
        split_of(folder_run(outputs=tmp_path, root=tmp_path / "album"), tmp_path)
    for part in (
        "For example a.png: no caption",
        "file_name, about",
        "data.source.caption=<column>",
    ):
        assert part in str(caught.value)
    assert "data.captions=null" in str(caught.value)
