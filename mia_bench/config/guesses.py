"""Words that people try before they have read what there is, and what says it here.

Two words are compared without regard to capitals and to the signs between their parts: `CLiD` is
`clid`, `batch-size` is `batch_size`, `sd1.5` is `sd15`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from mia_bench.storage.command import PROGRAM
from mia_bench.utils.text import closest, folded, nearest

AUDIT = "mia-bench audit owner model=MODEL members=FOLDER nonmembers=FOLDER"
MOST_KEYS = 3  # of one name that are named
KEYS = {
    "plan_only=true": "dry_run plan simulate estimate cost check",
    "trainer=gpu or trainer=cpu": "device gpu cuda cpu use_gpu use_cuda",
    "trainer=ddp trainer.devices=N": "gpus num_gpus n_gpus num_devices",
    "trainer.gpu_slots=N, the first N GPUs": "gpu_id gpu_ids device_id cuda_visible_devices",
    "trainer.workers=N": "num_workers n_workers dataloader_workers",
    "eval.dtype=float16 to score, trainer.precision=16-mixed to fine-tune": (
        "fp16 half float16 bf16 bfloat16 mixed_precision amp torch_dtype"
    ),
    "paths.outputs=FOLDER": (
        "output outputs output_dir outputs_dir output_path output_folder out out_dir save_dir "
        "save_path result results results_dir log_dir work_dir exp_dir"
    ),
    "model=diffusers model.path=FOLDER (or a file, or a hub id)": (
        "model_path model_dir model_id model_name pretrained weights ckpt ckpt_path base_model "
        "checkpoint_path pretrained_model_name_or_path pipeline unet_path safetensors"
    ),
    "model.lora=FILE, or mitigation=lora to fine-tune by one": "lora lora_path lora_weights",
    "data=imagefolder data.source.root=FOLDER": (
        "data_dir data_path data_root dataset dataset_dir dataset_path root folder path images "
        "image_dir image_folder img_dir pictures train_data_dir"
    ),
    AUDIT: "members nonmembers non_members member_dir nonmember_dir train_dir",
    "mia-bench audit data model=MODEL mine=FOLDER unseen=FOLDER": "mine unseen",
    "finetune.lr": "learning_rate",
    "finetune.steps": "max_steps train_steps num_steps max_train_steps iterations iters",
    "finetune.epochs=N finetune.steps=null": "epochs epoch num_epochs max_epochs num_train_epochs",
    "finetune.batch_size=N to train, eval.batch_size=N to score": "batch_size bs batch",
    "finetune.accumulate": "gradient_accumulation_steps grad_accum",
    "model.resolution": "image_size img_size picture_size",
    "data.sizes, rows for each role": "num_samples n_samples max_samples limit num_images",
    "data.captions": "caption prompt prompts caption_file",
    "logger=wandb": "wandb use_wandb report_to tracking",
    "logger.project": "wandb_project project_name",
    "seed=N; several are a sweep: mia-bench -m seed=0,1,2": "seeds random_seed manual_seed",
    "experiment=NAME, `mia-bench list experiments`": "config config_file preset recipe",
    "mia-bench mitigations 0 small=true": "small",
    "debug=true, which shows tracebacks": "verbose log_level",
    "another paths.outputs; what is finished in one is reused": "force overwrite rerun recompute",
    "the same command again; it goes on from what is finished": "resume restart continue",
}
"""What to write, by the keys that people try for it."""

COMMANDS = {
    "mia-bench plan_only=true": "plan dry_run estimate cost",
    "mia-bench KEY=VALUE ..., which fine-tunes, attacks and compares": (
        "train finetune fine_tune fit start go launch experiment"
    ),
    "mia-bench -m KEY=A,B": "sweep multirun grid",
    "mia-bench report": "results result show table plot html figures",
    "mia-bench evaluate scores=FILE": "eval score metrics auc compare",
    "mia-bench audit": "check detect was_it_used membership",
    "mia-bench list attacks": "attacks",
    "mia-bench list models": "models",
    "mia-bench list data": "datasets dataset",
    "mia-bench list experiments": "experiments presets recipes",
    "mia-bench list attacks, or models, data, mitigations": "ls options choices",
    "mia-bench sync": "wandb upload push",
    "mia-bench run --cfg job": "config conf show_config",
    "mia-bench --version": "version",
}
"""What to write, by the words that people try for a command."""

OPTIONS = {
    ("model", "sd15"): "stable_diffusion stable_diffusion_15 stable_diffusion_v1_5 sd sd1",
    ("model", "sd14"): "stable_diffusion_v1_4 stable_diffusion_14",
    ("model", "sd21"): "stable_diffusion_2 stable_diffusion_2_1 sd2",
    ("model", "sd3"): "stable_diffusion_3 stable_diffusion_3_medium",
    ("model", "sdxl"): "stable_diffusion_xl xl stable_diffusion_xl_base_1_0",
    ("model", "diffusers"): "custom local mine own folder file checkpoint",
    ("data", "imagefolder"): "custom local mine own folder images files",
    ("data", "laion_mi"): "laion",
    ("mitigation", "none"): "off no false null base",
    ("mitigation", "dp"): "dp_sgd dpsgd differential_privacy",
    ("mitigation", "early_stop"): "early_stopping es",
    ("logger", "csv"): "none off no false null",
    ("trainer", "gpu"): "cuda",
    ("calibration", "split"): "none off no_shadow",
}
"""The option of a group, by the words that people try for it."""

LISTED = {
    "attack": "attacks",
    "model": "models",
    "data": "data",
    "mitigation": "mitigations",
    "experiment": "experiments",
}
"""What `mia-bench list` calls a folder of conf/."""

PLACES = {
    "model": "a folder, file or hub id is model=diffusers model.path={value}",
    "data": "a folder of pictures is data=imagefolder data.source.root={value}",
    "attack": "an attack of your own needs a yaml: docs/extending/attack.md",
    "mitigation": "a mitigation of your own needs a yaml: docs/extending/mitigation.md",
    "experiment": "a yaml of your own lies in FOLDER/experiment: hydra.searchpath=[file://FOLDER]",
}
"""What is written in place of a path, by group."""


def key_meant(key: str, known: Iterable[str]) -> str:
    """What was meant by the unknown `key`: 'Did you mean ...?', or all of `known`.

    What people call it comes first (a command only where the key stands alone), then keys that
    stand elsewhere under the same name.
    """
    keys = sorted(known, key=lambda k: (k.count("."), k))
    place, _, last = key.rpartition(".")
    if said := key_tried(key):
        return f"Did you mean {said}?"
    name = folded(last)
    if same := [k for k in keys if folded(k.rpartition(".")[2]) == name]:
        return f"Did you mean {' or '.join(same[:MOST_KEYS])}?"
    beside = {k.removeprefix(f"{place}.") for k in keys if k.startswith(f"{place}.")}
    roots = [k for k in keys if "." not in k]
    if not beside:  # the key stands alone, or what it stands in is not there
        close = closest(key, keys if place else roots)
        return f"Did you mean '{close}'?" if close else f"Known: {', '.join(sorted(roots))}."
    close = closest(last, beside)
    names = [f"{place}.{name}" for name in ([close] if close else sorted(beside))]
    return f"Did you mean '{names[0]}'?" if close else f"Known: {', '.join(names)}."


def key_tried(key: str) -> str:
    """What KEYS says of the name of `key`, or nothing; a command only where it stands alone."""
    place, _, last = key.rpartition(".")
    said = _table(KEYS).get(folded(last), "")
    return "" if place and said.startswith(PROGRAM) else said


def command_meant(word: str, commands: Iterable[str]) -> str:
    """What was meant by a first word that is no command."""
    said = _table(COMMANDS).get(folded(word))
    return f"Did you mean `{said}`?" if said else nearest(word, commands)


def option_meant(group: str, value: str, options: Iterable[str]) -> str:
    """What was meant by `group=value`, which is none of `options`."""
    known = list(options)
    if folded(value) in map(folded, known):
        return nearest(value, known)
    for (of, option), tried in OPTIONS.items():
        if of == group and option in known and folded(value) in map(folded, tried.split()):
            return f"Did you mean '{option}'?"
    if group in PLACES and (re.search(r"[/\\.~]", value) or Path(value).exists()):
        names = f"{group}= takes a name (`mia-bench list {LISTED[group]}`)"
        return f"{names}; {PLACES[group].format(value=value)}"
    return nearest(value, known)


def _table(rows: Mapping[str, str]) -> dict[str, str]:
    """What to write by each word that people try, `rows` turned round."""
    return {folded(word): said for said, words in rows.items() for word in words.split()}
