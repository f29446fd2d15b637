"""The names under outputs/: no other module spells them, joins them or takes them apart.

    targets/<model key>/                            config.yaml manifest.json train.csv
                                                    steps/<step>/
    features/<model key>/<step>/<attack>-<key>/     features.parquet manifest.json
    runs/<model key>/<step>/<attack>-<key>/         config.yaml manifest.json metrics.json
                                                    scores.parquet roc.parquet evidence/
    utility/<model key>/<step>/<key>/               utility.json samples.png manifest.json
    captions/<key>/                                 captions.parquet manifest.json
    generated/<model key>/<step>/<key>/             00000.png ... manifest.json
    controls/<data>-<key>/                          controls.json scores.parquet manifest.json
    audits/<kind>-<key>/                            audit.json scores.parquet manifest.json
    splits/<data>-<key>.json                        failures/<key>.json
    reports/<name>/                                 cache/  hydra/  wandb/

`<step>` is a number of optimiser steps, or `base` for the untouched weights. While a folder is
built its name ends in `.tmp`; its lock files lie beside it.
"""

from __future__ import annotations

from pathlib import Path

TARGETS_FOLDER = "targets"
FEATURES_FOLDER = "features"
RUNS_FOLDER = "runs"
UTILITY_FOLDER = "utility"
OWN_OUTPUTS_FOLDER = "generated"
CONTROLS_FOLDER = "controls"
CAPTIONS_FOLDER = "captions"
SPLITS_FOLDER = "splits"
FAILURES_FOLDER = "failures"
AUDITS_FOLDER = "audits"
REPORTS_FOLDER = "reports"
CACHE_FOLDER = "cache"
HYDRA_FOLDER = "hydra"
WANDB_FOLDER = "wandb"
RESULTS = (RUNS_FOLDER, AUDITS_FOLDER, UTILITY_FOLDER, CONTROLS_FOLDER, SPLITS_FOLDER)
"""What was found, and what it is checked against."""
COSTLY = (TARGETS_FOLDER, FEATURES_FOLDER, OWN_OUTPUTS_FOLDER, CAPTIONS_FOLDER)
"""What training and queries made: the same commands make it again, in the same time."""
PAGES_AND_LOGS = (REPORTS_FOLDER, FAILURES_FOLDER, HYDRA_FOLDER, WANDB_FOLDER)

BASE_STEP = "base"
STEPS_FOLDER = "steps"
EVIDENCE_FOLDER = "evidence"
LATENTS_FOLDER = "latents"
GENERATED = "generated"  # of the folders beside them, for what a model generated
MIRRORED_FOLDER = "mirrored"
SHARDS_FOLDER = "shards"
DASHBOARD_FOLDER = "dashboard"

MANIFEST_FILE = "manifest.json"
CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.json"
SCORES_FILE = "scores.parquet"
ROC_FILE = "roc.parquet"
OWN_OUTPUTS_FILE = "own_outputs.parquet"
FEATURES_FILE = "features.parquet"
CONTROLS_FILE = "controls.json"
AUDIT_FILE = "audit.json"
KNOWN_FILE = "known.parquet"
EXPOSURE_FILE = "exposure.csv"
PAGE_FILE = "index.html"
PLAN_FILE = "plan.json"
HISTORY_FILE = "train.csv"
LAST_CHECKPOINT_FILE = "last.ckpt"
UTILITY_FILE = "utility.json"
SAMPLES_FILE = "samples.png"
EVIDENCE_INDEX_FILE = "index.json"
EVIDENCE_SHEET_FILE = "evidence.png"
DASHBOARD_FILE = "dashboard.json"
SEEDS_FILE = "seeds.json"

BUILD_SUFFIX = ".tmp"
LOCK_SUFFIX = ".lock"
EXTRACTION_LOCK_SUFFIX = ".asking.lock"


# --- names of artefacts ---------------------------------------------------------------------------


def join_name(name: str, key: str) -> str:
    """`<name>-<key>`, which names runs and feature tables (of an attack), controls and splits."""
    return f"{name}-{key}" if key else name


def split_name(folder_name: str) -> tuple[str, str]:
    """The name and the key of `<name>-<key>`, finished or not; the key is empty where none is."""
    whole = folder_name.removesuffix(BUILD_SUFFIX)
    name, _, key = whole.rpartition("-")
    return (name, key) if name and key else (whole, "")


def is_being_built(folder: Path) -> bool:
    """Its name says that it was not finished."""
    return folder.name.endswith(BUILD_SUFFIX)


def build_folder(folder: Path) -> Path:
    """Where `folder` is built before it has its name."""
    return folder.with_name(folder.name + BUILD_SUFFIX)


def finished_folder(folder: Path) -> Path:
    """The name that a folder has, or will have once it is finished."""
    return folder.with_name(folder.name.removesuffix(BUILD_SUFFIX))


def lock_file(folder: Path) -> Path:
    """Held by the process that builds `folder`."""
    return folder.with_name(folder.name + LOCK_SUFFIX)


def extraction_lock_file(folder: Path) -> Path:
    """Held by the process that extracts the features of `folder`, before and while it is built."""
    return folder.with_name(folder.name + EXTRACTION_LOCK_SUFFIX)


# --- places under outputs/ ------------------------------------------------------------------------


def model_folder(outputs: Path, model_key: str) -> Path:
    return outputs / TARGETS_FOLDER / model_key


def weights_folder(model: Path, step: int | str) -> Path:
    """The U-Net of the model in `model` after `step` optimiser steps."""
    return model / STEPS_FOLDER / str(step)


def run_folder(outputs: Path, model_key: str, step: str, name: str) -> Path:
    return outputs / RUNS_FOLDER / model_key / step / name


def utility_folder(outputs: Path, model_key: str, step: str) -> Path:
    """Holds one folder per set of options."""
    return outputs / UTILITY_FOLDER / model_key / step


def own_output_file(folder: Path, row: int) -> Path:
    """One of the pictures that a model generated into `folder`."""
    return folder / f"{row:05d}.png"


def split_file(outputs: Path, data_name: str, key: str) -> Path:
    return outputs / SPLITS_FOLDER / f"{join_name(data_name, key)}.json"


def failure_file(outputs: Path, key: str) -> Path:
    return outputs / FAILURES_FOLDER / f"{key}.json"


def report_folder(outputs: Path, *names: str) -> Path:
    return outputs.joinpath(REPORTS_FOLDER, *names)


def mirror_marker(outputs: Path, record_id: str, project_key: str) -> Path:
    """Says in which state a record was sent to one W&B project."""
    return outputs / WANDB_FOLDER / MIRRORED_FOLDER / f"{join_name(record_id, project_key)}.json"


def dashboard_file(outputs: Path) -> Path:
    return outputs / WANDB_FOLDER / DASHBOARD_FILE


def model_and_step(folder: Path) -> tuple[str, str]:
    """The model key and the step that a run's or a feature table's folder lies under."""
    return folder.parents[1].name, folder.parent.name


def step_words(step: str) -> str:
    """The step of a run for a person: a model that is attacked at no step was not trained here."""
    return "as given" if step == BASE_STEP else step


def step_number(step: str) -> int:
    """Optimiser steps of a step folder; 0 for the untouched base."""
    return int(step) if is_step_number(step) else 0


def is_step_number(step: str) -> bool:
    """Whether the name of a step's folder is a number of optimiser steps; not so of the digits, as
    a superscript two, that `int` does not read."""
    return step.isascii() and step.isdecimal()


def outputs_of_run(folder: Path) -> Path | None:
    """The outputs/ that a run's folder lies in; None for any other folder."""
    if len(folder.parents) < 4 or folder.parents[2].name != RUNS_FOLDER:
        return None
    return folder.parents[3]
