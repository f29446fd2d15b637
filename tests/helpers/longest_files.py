"""Which files take longest, so that they begin first: two processes that share the files would
otherwise end with one at work on the longest alone."""

from __future__ import annotations

LONGEST_FIRST = (
    # of `make test-rest`
    *("contracts/test_dit_contract.py", "contracts/test_notebooks.py", "sweep/test_sweeper.py"),
    *("faults/test_hub_day.py", "contracts/test_gpu.py", "models/test_identity.py"),
    *("models/test_identity_bytes.py", "execution/test_parallel.py", "faults/test_numbers.py"),
    *("extraction/test_predict.py", "faults/test_kills.py", "faults/test_disk.py"),
    *("security/test_reproducible.py", "studies/test_trajectory.py", "studies/test_seeds.py"),
    *("studies/test_mitigations.py", "honesty/test_control_false_alarms.py"),
    *("models/dit/test_builder_tiny_flow.py", "contracts/test_gpu_day.py"),
    # of `make test`
    *("training/test_finetune.py", "contracts/test_model_families.py"),
    *("contracts/test_attack_contract.py", "evaluation/controls/test_blind_baselines.py"),
    *("execution/test_run.py", "models/lora/test_fusion.py", "execution/test_own_outputs.py"),
    *("planning/test_keys.py", "verification/test_checks.py", "contracts/test_extending.py"),
    *("security/test_poisoned_outputs.py", "attacks/test_gsa.py"),
    *("attacks/components/test_ensemble.py", "models/readers/test_parts.py"),
    *("contracts/test_documents.py", "planning/test_experiment.py"),
    *("models/dit/test_family_pipelines.py", "contracts/test_presets.py"),
)
"""By their path below tests/, roughly as measured; the others follow in the order of the tree."""
