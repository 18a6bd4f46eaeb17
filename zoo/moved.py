"""Modules of version 0.1 under their old names, until version 1.0: imported, each is the new one, with a warning.

Names that are functions or packages today (`zoo.spec`, `hw_models.predict`, `search.runs`) have no alias.
"""

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED: Mapping[str, str] = {
    "hw_models.bench": "hw_models.measure.networks",
    "hw_models.block_features": "hw_models.measured.block_features",
    "hw_models.block_model": "hw_models.measured.block_model",
    "hw_models.blocks": "hw_models.measured.blocks",
    "hw_models.conditions": "hw_models.measure.environment",
    "hw_models.draw": "hw_models.plots",
    "hw_models.energy": "hw_models.measure.power_meters",
    "hw_models.journal": "hw_models.measure.journal",
    "hw_models.logs": "hw_models.measure.logs",
    "hw_models.new_device": "hw_models.measure.new_device",
    "hw_models.onnx_graph": "hw_models.measure.onnx_graph",
    "hw_models.own_device": "hw_models.measured.predictor",
    "hw_models.own_folder": "hw_models.device_writer",
    "hw_models.plan": "hw_models.measure.plan",
    "hw_models.roofline": "hw_models.analytic.roofline",
    "hw_models.rows": "hw_models.analytic.residuals",
    "hw_models.runtimes": "hw_models.measure.runtimes",
    "hw_models.shares": "hw_models.measured.network_speed",
    "hw_models.terms": "hw_models.analytic.features",
    "hw_models.timing": "hw_models.measure.timing",
    "search.accuracy_bench": "search.accuracy.bench_model",
    "search.accuracy_published": "search.accuracy.published",
    "search.additive": "search.accuracy.linear",
    "search.belief": "search.study.surrogate",
    "search.bench": "search.accuracy.bench",
    "search.bench.design": "search.accuracy.bench.design",
    "search.bench.judge": "search.accuracy.bench.cross_validation",
    "search.bench.model": "search.accuracy.bench.model",
    "search.bench.runs": "search.accuracy.bench.protocol",
    "search.bench.table": "search.accuracy.bench.table",
    "search.bundle": "search.runs.reader",
    "search.candidates": "search.study.feasible",
    "search.effects": "search.accuracy.effects",
    "search.engine": "search.study.engines.local",
    "search.evaluate": "search.pricing",
    "search.evaluators": "search.study.evaluators",
    "search.evidence": "search.study.observations",
    "search.fidelity": "search.study.halving",
    "search.figures": "search.accuracy.published_scores",
    "search.findings": "search.study.results",
    "search.follow": "search.study.promotion",
    "search.html_data": "search.report.html_data",
    "search.html_parts": "search.report.html_parts",
    "search.html_report": "search.report.html",
    "search.improvement": "search.study.ehvi",
    "search.journal": "search.study.storage",
    "search.labels": "search.report.text_placement",
    "search.ledger": "search.study.trials",
    "search.measured": "search.study.repeats",
    "search.options": "zoo.config_study",
    "search.outlook": "search.study.progress",
    "search.papers": "search.runs.model_card",
    "search.plan": "search.study.config",
    "search.ray_backend": "search.study.engines.ray_cluster",
    "search.ray_workers": "search.study.engines.ray_workers",
    "search.samplers": "search.study.samplers",
    "search.stand_in": "search.trainable",
    "search.tradeoff": "search.sensitivity",
    "search.weights": "search.runs.weights",
    "search.wording": "search.describe",
    "zoo.backends.engine": "zoo.backends.session",
    "zoo.choices": "zoo.bulk.choices",
    "zoo.data.codes": "zoo.data.mask_values",
    "zoo.data.folders": "zoo.data.class_folders",
    "zoo.data.labels": "zoo.data.classes",
    "zoo.data.layouts": "zoo.data.datasets",
    "zoo.data.scenes": "zoo.data.synthetic",
    "zoo.data.sets": "zoo.data.split",
    "zoo.detection": "zoo.inference.detection",
    "zoo.evaluate_classes": "zoo.evaluate.classification",
    "zoo.evaluate_onnx": "zoo.evaluate.onnx",
    "zoo.evaluate_pictures": "zoo.evaluate.pictures",
    "zoo.images": "zoo.inference.images",
    "zoo.labelling": "zoo.inference.label_map",
    "zoo.metrics": "zoo.evaluate.metrics",
    "zoo.overlay": "zoo.inference.overlay",
    "zoo.preprocess": "zoo.inference.preprocess",
    "zoo.resolve": "search.model_ref",
    "zoo.schedules": "zoo.train.schedules",
    "zoo.segment": "zoo.inference.segment",
    "zoo.stages": "zoo.lowering",
    "zoo.streams": "zoo.inference.pipeline",
}
"""Old name -> new name."""


class _Finder:
    """Finds a module that moved, as the module that it became.

    It has the methods of `importlib.abc.MetaPathFinder` and `Loader`; their module takes longer to import than ours.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = MOVED[spec.name]
        warnings.warn(f"{spec.name} is {new} now; the old name goes with 1.0", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the alias's spec into the module; it keeps its own.
        spec = module.__spec__
        if spec is not None and spec.loader is self:  # type: ignore[comparison-overlap]
            module.__spec__ = spec.loader_state


def install() -> None:
    """Let the import system know the old names, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
