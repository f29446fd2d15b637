"""Names, values and combinations that cannot be run, refused before anything heavy is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mia_bench.config.recipe import check_checkpoint, check_recipe
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest

if TYPE_CHECKING:
    from mia_bench.config.schema import Data, Root, TrainerOptions


DUPLICATES = ("image", "caption", "both", "none")
DTYPES = ("bfloat16", "float16", "tf32")  # of feature extraction, besides the model's own
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # of training: weights are kept in float32
VALID_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def check_names(names: Iterable[tuple[str, str]]) -> None:
    """They become parts of file names under outputs/."""
    for key, name in names:
        if not VALID_NAME.fullmatch(name):
            raise MiaError(
                f"{key}: '{name}' cannot be a name. It becomes a part of file names: use letters, "
                "digits, dot, dash and underscore, at most 80, the first one a letter or a digit."
            )


def check_finite(value: Any, key: str = "") -> None:
    """Raises MiaError for a number in `value`, nested however deep, that is nan or infinite.

    Comparisons with nan are false, so that it passes every check of a range; infinite lengths and
    rates give no run. `key` is where `value` stands in the configuration.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            check_finite(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            check_finite(inner, f"{key}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise MiaError(
            f"{key}={value}: a finite number is needed, or null where the option's description "
            "allows it."
        )


def check_data(data: Data, finetune: bool) -> None:
    kind, colon, argument = (data.captions or "null").partition(":")
    needs = {"own": False, "null": False, "file": True, "pseudo": True}
    if kind not in needs or needs[kind] != bool(colon and argument):
        raise MiaError(
            f"data.captions={data.captions}: use own, null, file:<csv, jsonl or parquet keyed by"
            " sample_id>, or pseudo:<captioner id or folder, or colours>."
        )
    if data.on_error not in ("skip", "raise"):
        raise MiaError(
            f"data.on_error={data.on_error}. {nearest(data.on_error, ('skip', 'raise'))}"
        )
    if not 0 <= data.max_distance <= 64:
        raise MiaError(f"data.max_distance={data.max_distance}: use 0 to 64 bits.")
    if data.max_rmse is not None and not 0 <= data.max_rmse <= 255:
        raise MiaError(f"data.max_rmse={data.max_rmse}: use 0 to 255 grey levels, or null.")
    if data.duplicates not in (None, *DUPLICATES):
        raise MiaError(f"data.duplicates={data.duplicates}. {nearest(data.duplicates, DUPLICATES)}")
    if data.random_labels and finetune:
        raise MiaError(
            "data.random_labels=true is for a model that is audited as it is, and here one is "
            "fine-tuned, whose members are known: leave it out, or add model.finetune=false "
            "calibration=split."
        )
    if data.pretraining and finetune:
        raise MiaError(
            f"data={data.name} knows which rows the base model was pre-trained on, so there is"
            " nothing to fine-tune: add model.finetune=false calibration=split."
        )


def check_options(
    options: Root,
    finetune: bool,
    mitigations: Collection[str],
    has_base: bool,
    takes_base: bool = True,
) -> None:
    """Contradictions that show before anything is loaded.

    `finetune`: whether the model will be fine-tuned; `mitigations`: names of those that are used;
    `has_base`: whether the model names the one it was fine-tuned from (model.base), which is an
    option of those with `takes_base`.
    """
    check_base_options(options, finetune, has_base, takes_base)
    check_mitigation(options, finetune, mitigations)
    if options.calibration.kind not in ("shadow", "split"):
        raise MiaError(
            f"calibration.kind={options.calibration.kind}. "
            + nearest(options.calibration.kind, ("shadow", "split"))
        )
    if options.calibration.folds < 2:
        raise MiaError(
            f"calibration.folds={options.calibration.folds}: one part is kept back at a time and "
            "the others are fitted on, so at least 2 are needed."
        )
    check_halves(options)
    check_data(options.data, finetune)
    check_ranks(options.trainer)
    check_speed(options)
    if not finetune and options.calibration.kind == "shadow":
        raise MiaError(
            "model.finetune=false audits a model as it is, so there is no recipe to train a shadow "
            "with: add calibration=split."
        )
    if finetune:
        check_recipe(options.finetune, options.trainer.precision)
        if options.finetune.epochs is None and not mitigations:
            check_checkpoint(options.checkpoint, options.finetune)
    if options.eval.own_outputs_images < 1:
        raise MiaError(
            f"eval.own_outputs_images={options.eval.own_outputs_images}: at least 1 is needed; "
            "eval.own_outputs=false generates none."
        )
    if options.eval.utility_images < 2:
        raise MiaError(f"eval.utility_images={options.eval.utility_images}: at least 2 are needed.")
    if options.paths.cache_gb is not None and options.paths.cache_gb < 0:
        raise MiaError(
            f"paths.cache_gb={options.paths.cache_gb}: use 0 gigabytes or more, or null for no "
            "limit."
        )
    if options.eval.resamples < 100 or options.eval.batch_size < 1:
        raise MiaError("eval.resamples must be at least 100 and eval.batch_size at least 1.")


def check_base_options(
    options: Root, finetune: bool, has_base: bool, takes_base: bool = True
) -> None:
    """A base is named where one is compared with, and for a finished fine-tune alone."""
    if finetune and has_base:
        raise MiaError(
            "model.base names what a finished fine-tune was made from; with model.finetune=true "
            "the base is model.path itself. Leave model.base out, or add model.finetune=false "
            "calibration=split."
        )
    compared = options.eval.base_calibrated or options.eval.base_rows
    if compared and not finetune and not has_base:
        key = "base_calibrated=true" if options.eval.base_calibrated else "base_rows"
        name_it = "name it, as in model.base=<folder or hub id>, or " if takes_base else ""
        raise MiaError(
            f"eval.{key} compares with the model before its fine-tuning, and with "
            f"model.finetune=false no such model is known: {name_it}leave the comparison out "
            "(eval.base_calibrated=false eval.base_rows=null)."
        )


def check_halves(options: Root) -> None:
    kind, halves = options.calibration.kind, options.calibration.halves
    if halves not in ("hashed", "stratified"):
        raise MiaError(f"calibration.halves={halves}. {nearest(halves, ('hashed', 'stratified'))}")
    if halves == "stratified" and kind != "split":
        raise MiaError(
            "calibration.halves=stratified says how evaluation rows are halved, and calibration="
            f"{kind} does not halve them: use calibration=stratified."
        )
    if halves == "stratified" and options.eval.ensemble:
        raise MiaError(
            "calibration=stratified keeps no rows from attacks that fit nothing, and the ensemble "
            "needs the same calibration rows for all: add eval.ensemble=false."
        )


def check_speed(options: Root) -> None:
    modes = ("default", "reduce-overhead", "max-autotune")
    if options.trainer.compile not in (None, *modes):
        raise MiaError(
            f"trainer.compile={options.trainer.compile}. {nearest(options.trainer.compile, modes)}"
        )
    if options.eval.dtype not in (None, *DTYPES):
        raise MiaError(f"eval.dtype={options.eval.dtype}. {nearest(options.eval.dtype, DTYPES)}")
    if options.trainer.workers < 0:
        raise MiaError(f"trainer.workers={options.trainer.workers}: 0 or more processes.")


def check_ranks(trainer: TrainerOptions) -> None:
    if trainer.devices < 1 or trainer.num_nodes < 1:
        raise MiaError(
            f"trainer.devices={trainer.devices}, trainer.num_nodes="
            f"{trainer.num_nodes}: say how many, 1 or more."
        )
    if trainer.precision not in PRECISIONS:
        raise MiaError(
            f"trainer.precision={trainer.precision}. " + nearest(trainer.precision, PRECISIONS)
        )
    if trainer.strategy not in ("auto", "ddp"):
        raise MiaError(
            f"trainer.strategy={trainer.strategy}: models are whole on every device, use "
            "auto or ddp."
        )


def check_mitigation(options: Root, finetune: bool, mitigations: Collection[str]) -> None:
    shadow = options.calibration.shadow_mitigation
    if shadow not in ("same", "none"):
        raise MiaError(
            f"calibration.shadow_mitigation={shadow}. {nearest(shadow, ('same', 'none'))}"
        )
    if shadow == "none" and options.calibration.kind == "split":
        raise MiaError(
            "calibration.shadow_mitigation=none says how the shadow is trained, and calibration="
            "split has none: leave it out."
        )
    if mitigations and not finetune:
        raise MiaError(
            f"model.finetune=false audits a model as it is: mitigation={'+'.join(mitigations)} "
            "cannot be applied to it."
        )
