"""Fixtures of all tests."""

import gc
import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("zoo", deadline=None)  # how long an example takes is the machine's matter
settings.load_profile("zoo")
os.environ.setdefault("OMP_NUM_THREADS", "1")
THREADS = int(os.environ["OMP_NUM_THREADS"])
gc.set_threshold(20_000, 20, 20)  # at the default of 700, a tenth of all time goes into looking for garbage
pytest.register_assert_rewrite("contract")

SLOW_FILES = frozenset(
    {
        "test_allocator",
        "test_backends",
        "test_bench",
        "test_benchmarks",
        "test_calibration_error",
        "test_classification",
        "test_eval",
        "test_export",
        "test_files",
        "test_hw_validation",
        "test_kills",
        "test_measure",
        "test_measured_latency",
        "test_prelu",
        "test_prune",
        "test_ray",
        "test_slicing",
        "test_streams",
        "test_study_faults",
        "test_train",
        "test_trained_candidates",
        "test_tutorial",
        "test_variants",
        "test_wheel",
    }
)
"""Files whose tests train, export, time or start processes; `-m "not slow"` leaves them out."""

SLOW_TESTS = frozenset(
    {
        # of every family
        "test_macs_are_fvcores",
        "test_onnx_file_can_leave_sizes_free",
        "test_onnx_file_computes_the_same",
        # searches, verified or asked again in many ways
        "test_a_changed_front_does_not_verify",
        "test_a_changed_sample_does_not_verify",
        "test_a_front_of_invented_values_does_not_verify_though_hashed_anew",
        "test_a_run_verifies",
        "test_a_search_and_its_verification_import_no_torch",
        "test_a_search_by_the_bench_is_certified_and_says_so",
        "test_a_search_from_end_to_end",
        "test_a_search_shows_watts_only_where_one_was_read",
        "test_a_table_that_was_changed_and_hashed_anew_does_not_verify",
        "test_command_and_named_search_ask_the_same",
        "test_every_value_of_front_json_is_computed_again",
        "test_every_value_of_the_certificate_is_checked",
        "test_it_verifies",
        "test_networks_with_weights_are_within_the_limits_and_the_best_first",
        "test_the_front_equals_brute_force[all that is uncertain]",
        "test_the_front_equals_brute_force[energy and macs]",
        "test_the_front_equals_brute_force[jointly]",
        "test_the_front_equals_brute_force[power]",
        "test_the_front_equals_brute_force[two devices]",
        "test_values_of_a_run",
        # studies that train, share a folder or a database, or are killed
        "test_a_database_gives_what_the_journal_gives",
        "test_a_trial_that_fails_is_kept_with_its_log",
        "test_an_interrupted_study_shows_what_was_told",
        "test_killed_at_any_moment_it_ends_as_if_never_interrupted",
        "test_machines_without_a_common_folder_share_a_database",
        "test_optunas_gp_asks_within_the_limits",
        "test_passwords_are_never_shown",
        "test_training_reports_every_epoch_and_goes_on_from_its_checkpoint",
        "test_two_processes_share_a_study",
        "test_two_processes_write_to_one_folder",
        # of hostile inputs the many places of files; names and numbers stay in the fast run
        "test_addresses_of_mirrors",
        "test_files",
        "test_files_of_a_data_set",
        "test_files_of_a_device",
        "test_files_of_a_run",
        "test_values_of_a_device",
        "test_values_of_coefficients",
        # pages, weights and charts made anew, and laws over many draws
        "test_a_device_means_the_same_to_every_command",
        "test_a_file_of_the_users_own_is_kept_and_ours_is_replaced",
        "test_a_front_is_what_no_other_beats",
        "test_a_pass_changes_nothing_that_is_computed",
        "test_a_periodic_text_is_learned",
        "test_a_run_has_the_files_and_keys",
        "test_a_study_has_the_files_and_columns",
        "test_a_table_has_one_protocol",
        "test_an_old_training_goes_on",
        "test_an_optimized_network_takes_another_size",
        "test_command_says_which_passes_applied",
        "test_every_family_is_priced_on_every_device",
        "test_every_shipped_device_has_a_price",
        "test_exceeding_is_the_inverse_of_the_quantile_on_ones_own_machine",
        "test_expected_improvement_is_the_mean_of_hypervolume_improvements",
        "test_generated_pages_are_up_to_date",
        "test_labels_are_the_authors",
        "test_never_worse",
        "test_no_sum_of_energies_explains_the_published_powers_of_the_tx2",
        "test_released_weights_give_the_same_labels",
        "test_released_weights_load_strictly",
        "test_sweeps_print_and_draw_a_curve",
        "test_the_interval_is_narrowest_where_it_was_read",
        "test_the_printed_relaxation_typed_literally_is_feasible_and_the_smallest",
        # devices calibrated and validated
        "test_a_calibrated_device_is_validated_by_its_own_points",
        "test_a_network_left_out_of_its_family_and_a_clock_left_out_of_a_network",
        "test_a_trtexec_log_makes_a_device_in_one_command",
        "test_one_log_of_trtexec_on_an_orin_nano_predicts_the_next_network",
        "test_published_points_do_not_pull",
        "test_six_logs_one_by_one_give_what_six_give_at_once",
        "test_the_files_of_a_calibrated_device_survive_a_copy",
        "test_the_interval_holds_as_often_as_it_says",
        "test_validation_prints_the_promised_keys",
        # the bench of short trainings
        "test_what_may_be_held_out_is_labelled_nowhere",
        "test_intervals_hold_what_they_say",
        "test_one_real_run",
        "test_proxies_cover_the_design_and_are_reproduced",
        "test_the_comparison_has_every_predictor",
        # pages, charts and browsers
        "test_a_chart_is_kept_under_the_files_that_it_shows",
        "test_a_hostile_run_stays_text_in_chromium",
        "test_a_run_without_miou_is_drawn_by_what_it_knows",
        "test_a_study_in_chromium",
        "test_charts_in_every_format_are_the_same_every_time",
        "test_charts_of_two_protocols_say_that_they_do_not_compare",
        "test_dark_narrow_and_joint_in_chromium",
        "test_nothing_of_a_chart_leaves_its_frame",
        "test_the_card_of_a_candidate",
        "test_the_page_and_a_search_agree_at_every_position_of_the_sliders",
        "test_the_page_has_the_tables_of_the_table",
        "test_the_page_is_generated_from_the_devices",
        "test_the_page_works_in_chromium",
        "test_the_sliders_formula_is_the_predictors",
        # processes, compilers, exports, files of torch
        "test_a_run_is_a_model_to_every_command",
        "test_an_export_runs_alone_and_labels_as_segment_does",
        "test_authors_logits",
        "test_channels_that_nothing_reads_can_be_cut_off",
        "test_compiler_takes_the_whole_network",
        "test_every_form_of_a_file_brings_notes_and_a_script_that_fit_it",
        "test_examples_of[zoo.compress.quantise]",
        "test_examples_of[zoo.counters]",
        "test_examples_of[zoo.export]",
        "test_familys_test_passes",
        "test_file_of_an_optimized_network",
        "test_onnx_file_carries_the_same_papers",
        "test_output_folder_that_cannot_be_or_is_full",
        "test_released_checkpoint_gives_the_authors_logits",
        "test_ten_processes_download_once",
    }
)
"""Tests of other files that take a second or more, by name, with or without their parameters."""

LIKE_DEVICES = ("agx-orin", "agx-xavier", "gtx960m", "orin-nano", "rpi4", "titanx", "tx2-tensorrt", "xavier-nx")
"""Devices whose kind, which is stack and precision, the fast run has in another device."""

SLOW_CLASSES = frozenset({"TestSampler_gp", "Test_onnxruntime", "Test_openvino", *(f"Test_{d}" for d in LIKE_DEVICES)})

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew; read the diff")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whether a file need not be read: all its tests are slow, and the run leaves slow tests out."""
    return True if config.option.markexpr == "not slow" and collection_path.stem in SLOW_FILES else None


def pytest_collection_finish() -> None:
    """Leave what is loaded by now out of garbage collection, which would look through it again and again."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, so that the reasons stand in one place."""
    for item in items:
        if repeats(item):
            item.add_marker(pytest.mark.slow)
        names = {item.name, getattr(item, "originalname", item.name)}
        parent = item.parent.name if item.parent else ""
        if item.path.stem in SLOW_FILES or names & SLOW_TESTS or parent in SLOW_CLASSES:
            item.add_marker(pytest.mark.slow)


def repeats(item: pytest.Item) -> bool:
    """Whether a test of `FamilyContract` tries an example like one that the fast run tries (`contract.FAST`)."""
    contract = sys.modules.get("contract")  # which needs torch; who uses it has imported it
    if contract is None:
        return False
    owner, spec = getattr(item, "cls", None), getattr(item, "callspec", None) and item.callspec.params.get("spec")
    family = owner is not None and issubclass(owner, contract.FamilyContract)
    return family and spec is not None and spec not in contract.FAST


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with published checkpoints, figures and images, which only a developer's machine has."""
    if not SHARED.is_dir():
        pytest.skip("../shared with the published files is not on this machine")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of homes: none of this session's fixtures reads or writes the user's cache, configuration or mirrors."""
    folder = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(folder / "session"))
        patch.delenv("ZOO_CONFIG", raising=False)
        patch.delenv("ZOO_WEIGHTS_MIRROR", raising=False)
        yield folder


@pytest.fixture(autouse=True)
def own_home(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a home of its own, which is made when something is written to it."""
    monkeypatch.setenv("ZOO_HOME", str(homes / str(next(NUMBERS))))


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """A command that sets torch's threads sets them for its test alone: on cores that other workers use, they spin."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() > THREADS:
        torch.set_num_threads(THREADS)


NUMBERS = count()
"""Names of homes: a numbered temporary folder would be looked for among all before it."""


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an exact search of the space `tiny`; copy it before you change it."""
    from zoo.cli import main

    folder = tmp_path_factory.mktemp("small") / "run"
    limits = ["--max-params", "300k", "--max-latency-ms", "150"]
    assert main(["search", "--space", "tiny", "--device", "tx2", *limits, "-o", str(folder), "--json"]) == 0
    return folder


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of the space `tiny`: eight trials by the accuracy model; copy it before you change it."""
    pytest.importorskip("optuna", reason="optuna is not installed; pip install 'edgeseg-zoo[optuna]'")
    from zoo.cli import main

    folder = tmp_path_factory.mktemp("small") / "study"
    plan = ["--trials", "8", "--sampler", "random", "--seed", "0"]
    assert main(["search", "--space", "tiny", "--device", "tx2", *plan, "-o", str(folder), "--json"]) == 0
    return folder


@pytest.fixture(scope="session")
def tables_by_space() -> dict[str, Any]:
    """What `shared_tables` keeps, by the digest of the space."""
    return {}


@pytest.fixture(scope="module")
def shared_tables(tables_by_space: dict[str, Any]) -> Iterator[None]:
    """The searches of a file share lowered and priced candidates, which are most of their time.

    For files that search shipped devices only. Verification makes its own, and `test_tables` holds what is kept to what
    is made anew.
    """
    import search.pricing
    import search.tables
    import search.verification  # it has the real function before that is replaced

    make = search.tables.tables_of

    def shared(space: Any, files: Any = None, pool: Any = None) -> Any:
        if space.digest not in tables_by_space:
            tables_by_space[space.digest] = make(space)
        return tables_by_space[space.digest]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search.pricing, "tables_of", shared)
        patch.setattr(search.tables, "tables_of", shared)
        yield
