"""One small audit of the bundled model, shared by the tests of its parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from album import make_album

from mia_bench.audit.program import run_audit
from mia_bench.audit.request import AuditRequest
from mia_bench.audit.result import AuditResult

PICTURES = 10


@pytest.fixture(scope="session")
def two_sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of ten pictures with captions, none in both."""
    root = tmp_path_factory.mktemp("sets")
    folders = root / "first", root / "second"
    for folder, start in zip(folders, (0, 500), strict=True):
        folder.mkdir()
        make_album(folder, PICTURES, first=start)
    return folders


@pytest.fixture(scope="session")
def audit_outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit") / "outputs"


@pytest.fixture(scope="session")
def ask_owner(two_sets: tuple[Path, Path], audit_outputs: Path) -> Callable[..., AuditRequest]:
    """ask_owner(**changes): an owner's audit of the bundled model with two cheap attacks."""

    def build(**changes: object) -> AuditRequest:
        words: dict[str, object] = {
            "kind": "owner",
            "model": "tiny",
            "first": two_sets[0],
            "second": two_sets[1],
            "attacks": ("sima", "loss"),
            "outputs": audit_outputs,
            "overrides": ("trainer=cpu",),
        }
        return AuditRequest(**{**words, **changes})  # type: ignore[arg-type]

    return build


@pytest.fixture(scope="session")
def audited(ask_owner: Callable[..., AuditRequest]) -> AuditResult:
    """A finished audit of a model that saw neither set."""
    return run_audit(ask_owner())


@pytest.fixture(scope="session")
def audited_folder(audited: AuditResult) -> Path:
    from mia_bench.audit.record import audit_folder

    return audit_folder(audited.prepared, None)
