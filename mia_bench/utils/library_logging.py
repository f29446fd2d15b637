"""Libraries that talk about themselves: notes are silenced, warnings about our use are not."""

from __future__ import annotations

import logging
import os
import warnings


def silence_libraries() -> None:
    """Keep the terminal for progress bars and results. Call before models are loaded."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import lightning.pytorch  # noqa: F401  # sets its logger's level when it is first imported

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Lightning advises more loader workers for decoding that costs less than starting one, and
    # uses a private torch API that torch has deprecated.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
    # A run outside srun starts its own ranks, on machines that have Slurm too.
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system but")
    # Opacus hooks layers whose inputs are data (latents, text), which need no gradient.
    warnings.filterwarnings("ignore", message="Full backward hook is firing.*")
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    # Through their own switches: each sets its logger's level again when it is first imported.
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
