"""Loading what a plan names: a model on its device, and rows as latents and text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mia_bench.config.schema import TrainerOptions
from mia_bench.data.source import Item
from mia_bench.data.split.roles import Role
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import ModelSpec
from mia_bench.storage.artifacts import checked_manifest
from mia_bench.utils.distributed import local_rank
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    import torch

    from mia_bench.target import Target
    from mia_bench.training.batches import EncodedRows


def load_target(plan: Plan, spec: ModelSpec, train: bool = False) -> Target:
    """The model of `subject`, with the latent cache that all models of one base share.

    `train` loads float32 weights whatever the scoring precision is.
    """
    import torch

    from mia_bench.storage.tensor_cache import TensorCache
    from mia_bench.utils.library_logging import silence_libraries

    silence_libraries()
    model = plan.experiment.model
    if spec.weights is not None and not spec.weights.is_dir():
        saved = sorted(int(p.name) for p in spec.weights.parent.glob("*") if p.name.isdigit())
        raise MiaError(
            f"{spec.weights} was not saved: training may have stopped before. Saved steps: "
            f"{saved}; choose one with checkpoint=, or delete {spec.folder} to train it again."
        )
    if spec.weights is not None:
        checked_manifest(spec.folder, under=spec.weights)
    gigabytes = plan.experiment.options.paths.cache_gb
    limit = None if gigabytes is None else int(gigabytes * 1e9)
    store = TensorCache(plan.folder("cache", "latents", model.encoder_hash()), limit)
    unet = model.load_unet(spec.weights, train)
    target = model.build(unet, plan.experiment.options.eval.seed, store)
    if train:
        target.dtype = torch.float32
    return target


@contextmanager
def scoring_target(plan: Plan, spec: ModelSpec) -> Iterator[Target]:
    """The model on its device, in the precision that scores are asked for, as fast as it can be."""
    from mia_bench.target.chunk_tuning import chunk_context, remember, tuned_chunk
    from mia_bench.target.precision import scoring_in

    options, target = plan.experiment.options, load_target(plan, spec)
    target.to(device_of(options.trainer))
    if options.trainer.compile is not None:
        target.compile_unet(options.trainer.compile)
    with scoring_in(options.eval.dtype, target):
        key = chunk_context(target)
        if target.tunable:
            target.chunk = tuned_chunk(target, plan.folder("cache"))
        found = target.chunk
        yield target
    if target.tunable and target.chunk < found:  # memory did not suffice beside the rest
        remember(plan.folder("cache"), key, target.chunk)


def device_of(options: TrainerOptions) -> torch.device:
    """Where work outside a Trainer runs: this process's GPU when the trainer would use one."""
    import torch

    if options.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", local_rank() if options.ranks > 1 else 0)
    return torch.device("cpu")


def encode_rows(plan: Plan, target: Target, role: Role, limit: int | None = None) -> EncodedRows:
    """Latents and text of the rows of a role, on the CPU, through the latent cache.

    `target` is left on the device of the run.
    """
    import torch
    from tqdm import tqdm

    from mia_bench.data.loader import cut, loader
    from mia_bench.training.batches import EncodedRows

    options, model = plan.experiment.options, plan.experiment.model
    items: list[Item] = [plan.items[sid] for sid in plan.rows(role)[:limit]]
    target.to(device_of(options.trainer))
    size, latents = options.eval.batch_size, []
    batches = loader(cut(items, size), model.resolution, options.trainer, target.store)
    for batch in tqdm(batches, desc=f"encode {role}", leave=False):
        latents.append(target.view(batch).z0.cpu())
        target.forget()
    cond = target.embed([item.own_caption for item in items], remember=False).to("cpu")
    return EncodedRows(tuple(item.sample_id for item in items), torch.cat(latents), cond)
