"""Which files take longest, so that they begin first: two processes that share the files would
otherwise end with one at work on the longest alone."""

from __future__ import annotations

LONGEST_FIRST = (
    # of `make test-rest`
    *("contracts/test_notebooks.py", "contracts/test_attack_contract.py"),
    *("contracts/test_dit_contract.py", "sweep/test_sweeper.py", "faults/test_hub_day.py"),
    *("execution/test_parallel.py", "models/test_identity.py", "contracts/test_gpu.py"),
    *("faults/test_kills.py", "contracts/test_hot_path.py", "training/test_finetune.py"),
    *("extraction/test_predict.py", "faults/test_numbers.py", "models/test_identity_bytes.py"),
    *("execution/test_run.py", "contracts/test_model_families.py", "contracts/test_extending.py"),
    *("evaluation/controls/test_blind_baselines.py", "security/test_reproducible.py"),
    *("faults/test_disk.py", "contracts/test_gpu_day.py", "honesty/test_control_false_alarms.py"),
    *("models/dit/test_builder_tiny_flow.py", "utils/test_library_logging.py"),
    *("studies/test_trajectory.py", "studies/test_mitigations.py", "studies/test_seeds.py"),
    # of `make test`
    *("verification/test_checks.py", "execution/test_own_outputs.py"),
    *("verification/test_stored_run_complexity.py", "security/test_poisoned_outputs.py"),
    *("planning/test_keys.py", "evaluation/controls/test_blind_baselines_file_runs.py"),
    *("audit/page/test_evidence.py", "models/ddpm/test_builder.py", "models/lora/test_fusion.py"),
    *("contracts/test_presets.py", "security/test_security.py", "contracts/test_documents.py"),
)
"""By their path below tests/, roughly as measured; the others follow in the order of the tree."""
