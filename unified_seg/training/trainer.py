"""Training and evaluation of a config, on Detectron2's DefaultTrainer."""

import logging
import time
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase
from detectron2.engine.hooks import EvalHook, PeriodicCheckpointer
from detectron2.evaluation import DatasetEvaluators, verify_results
from detectron2.solver import LRMultiplier
from detectron2.utils import comm
from detectron2.utils.events import EventWriter
from torch import nn

from unified_seg.checkpoint import Checkpointer, CheckpointError
from unified_seg.checkpoint.run_state import read_iterations, read_seconds
from unified_seg.config import ConfigError
from unified_seg.config.stages import FINAL_WEIGHTS
from unified_seg.data.datasets.alignment import share_records
from unified_seg.data.pipeline.class_weights import set_class_weights
from unified_seg.data.pipeline.loaders import build_test_loader, build_train_loader, get_unreadable_list
from unified_seg.data.resolve import resolve_config
from unified_seg.data.validation.checks import check_datasets
from unified_seg.evaluation import add_to_results, build_evaluators, list_tasks
from unified_seg.hints import format_hint
from unified_seg.html_reports.evaluation.evaluated_config import report_evaluation
from unified_seg.inference.trained_model import describe_training
from unified_seg.inference.value_range import set_value_range
from unified_seg.meta_arch import FreezableModel, build_model
from unified_seg.training.averaging import WeightAverage, load_trained_weights
from unified_seg.training.console.metric_printer import MetricPrinter
from unified_seg.training.console.plan import describe_plan
from unified_seg.training.console.progress import Progress, show_next_step
from unified_seg.training.hooks import Evaluation, MetricsWriter, PictureSamples, leave_out_nan
from unified_seg.training.lifecycle.best_metric import check_metric
from unified_seg.training.lifecycle.best_score import BestCheckpoint, EarlyStopping, find_metric
from unified_seg.training.lifecycle.checkpoints import CheckpointWriter, load_process_state
from unified_seg.training.lifecycle.identity import FindCheckpoint, find_checkpoint, provide_run_id
from unified_seg.training.lifecycle.loop import TrainingLoop
from unified_seg.training.lifecycle.metrics_file import METRICS_FILE, MetricsFile, drop_lines_from
from unified_seg.training.lifecycle.processes import broadcast_buffers, distribute
from unified_seg.training.lifecycle.schedule import resolve_schedule
from unified_seg.training.lifecycle.signals import StopSignals
from unified_seg.training.optimizer import build_lr_scheduler, build_optimizer, check_solver
from unified_seg.training.step import StepTrainer, get_autocast_dtype, unwrap
from unified_seg.training.test_sets import evaluate_on_test_sets, get_results_file
from unified_seg.training.writers import build_writers, check_writers

logger = logging.getLogger(__name__)


class Trainer(TrainingLoop):
    """Detectron2's trainer with this project's data pipeline, mixed precision, checkpoints and evaluation.

    Args:
        cfg: a full config. Its data sets are checked before the training.
    """

    @share_records()
    def __init__(self, cfg: CfgNode):
        TrainerBase.__init__(self)
        cfg = resolve_schedule(resolve_config(DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())))
        check_solver(cfg)
        check_writers(cfg)
        cfg = self.set_class_weights(cfg)
        model = self.build_model(cfg)
        cfg = self.check_data(cfg)
        if comm.is_main_process():
            get_unreadable_list(cfg).unlink(missing_ok=True)
        comm.synchronize()
        optimizer = self.build_optimizer(cfg, model)
        self.average = WeightAverage(model, cfg.MODEL_EMA.DECAY) if cfg.MODEL_EMA.ENABLED else None
        self._trainer = StepTrainer(
            distribute(model),
            self.build_train_loader(cfg),
            optimizer,
            precision=get_autocast_dtype(cfg),
            accumulation_steps=cfg.SOLVER.ACCUMULATION_STEPS,
            ignore_value=cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = Checkpointer(
            unwrap(self.evaluated_model),
            cfg.OUTPUT_DIR,
            required=get_required_weights(cfg, model),
            trainer=weakref.proxy(self),
        )
        self.run_id = comm.all_gather(provide_run_id(cfg.OUTPUT_DIR) if comm.is_main_process() else "")[0]
        self.signals = StopSignals()
        self.checkpoints = CheckpointWriter(cfg.SOLVER.CHECKPOINT_PERIOD, cfg.SOLVER.KEEP_CHECKPOINTS)
        self.start_iter = 0
        self.resumed_from = ""  # the name of a checkpoint
        self.random_state = None
        self.train_s = 0.0  # seconds in training steps, including the time that they wait for data
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.plan = describe_plan(cfg, model)
        self.register_hooks(self.build_hooks())

    @property
    def evaluated_model(self) -> nn.Module:
        """The model that is evaluated and saved: with MODEL_EMA that of the averaged weights."""
        return self.model if self.average is None else self.average.model

    def run_step(self) -> None:
        start = time.perf_counter()
        super().run_step()
        if self.average is not None:
            self.average.update(unwrap(self.model))
        self.train_s += time.perf_counter() - start

    def train(self) -> OrderedDict[str, Any] | None:
        """Train and evaluate.

        Returns:
            The results of the last evaluation; None on other processes than the first.

        Raises:
            TrainingDiverged, TrainingStopped, ProcessLost: see `train_steps`.
        """
        self.train_steps()
        if comm.is_main_process():
            self.checkpoints.write_safetensors()
        results = getattr(self, "_last_eval_results", None)
        if comm.is_main_process() and self.cfg.TEST.EXPECTED_RESULTS:
            verify_results(self.cfg, results)
        if comm.is_main_process() and results:
            weights = str(Path(self.cfg.OUTPUT_DIR) / FINAL_WEIGHTS)
            add_to_results(get_results_file(self.cfg), train_s=self.train_s, weights=weights)
            report_evaluation(self.cfg, self.evaluated_model, results)
        if comm.is_main_process():
            show_next_step(self.cfg.OUTPUT_DIR)
        return results

    def build_hooks(self) -> list[HookBase | None]:
        """Return Detectron2's hooks and those of this project; the writer stays last, to write their values too."""
        hooks = [hook for hook in super().build_hooks() if not isinstance(hook, PeriodicCheckpointer)]
        # Checkpoints come before evaluations, which may fail or take long.
        position = next(number for number, hook in enumerate(hooks) if isinstance(hook, EvalHook))
        evaluation: list[HookBase] = [self.checkpoints, Evaluation(self.cfg.TEST.EVAL_PERIOD, self._evaluate)]
        metric, tasks, stopping = find_metric(self.cfg), list_tasks(self.cfg), self.cfg.SOLVER.EARLY_STOPPING
        if stopping.PATIENCE:
            evaluation.append(EarlyStopping(metric, stopping.PATIENCE, stopping.MIN_DELTA, tasks))
        hooks[position : position + 1] = evaluation
        if not comm.is_main_process():
            return hooks
        added: list[HookBase] = [Progress(self.plan)]
        if metric:
            added.append(BestCheckpoint(metric, self.cfg.OUTPUT_DIR, self.cfg.DATASETS.TEST, tasks))
        if self.cfg.VIS_PERIOD > 0 and self.cfg.DATASETS.TEST:
            added.append(PictureSamples(self.cfg, self.build_test_loader(self.cfg, self.cfg.DATASETS.TEST[0])))
        return [*hooks[:-1], *added, MetricsWriter(hooks[-1]._writers, self.cfg.TEST.EVAL_PERIOD)]

    def build_writers(self) -> list[EventWriter]:
        """Return the writers of the log, of metrics.json and metrics.csv, and those of SOLVER.WRITERS."""
        file = Path(self.cfg.OUTPUT_DIR) / METRICS_FILE
        return [
            MetricPrinter(self.max_iter),
            MetricsFile(file, self.run_id),
            *build_writers(self.cfg, self.run_id),
        ]

    def _evaluate(self) -> dict[str, Any]:
        """Evaluate, and return the scores for the curves and metrics.json, which can't hold undefined ones."""
        self._last_eval_results = self.test(self.cfg, self.evaluated_model)
        return leave_out_nan(self._last_eval_results or {})

    def resume_or_load(self, resume: bool = True, find: FindCheckpoint = find_checkpoint) -> None:
        """Resume from the newest good checkpoint of the run in OUTPUT_DIR if there is one, else load MODEL.WEIGHTS.

        Args:
            resume: whether to look for a checkpoint.
            find: finds it.

        Raises:
            CheckpointError: as `Checkpointer.load` and `find_checkpoint` do; the resumed run had another model or
                optimizer.
            ConfigError: the resumed run has more iterations than SOLVER.MAX_ITER.
        """
        found = find(self.cfg.OUTPUT_DIR) if resume else None
        self.checkpointer.complete = found is not None
        if found is None:
            self.checkpointer.load(self.cfg.MODEL.WEIGHTS, checkpointables=[])
            self._load_average({})
        else:
            for reason in found.refused:
                logger.warning(f"--resume: not from the newest checkpoint: {reason}")
            self.iter = -1
            rest = self.checkpointer.load(str(found.file), is_checked=True)
            self.resumed_from = found.file.name
            self.start_iter = self.checkpoints.num_complete = self.iter + 1
            if self.iter < 0:
                logger.warning(f"--resume: {found.file} has weights alone, so the training starts at iteration 0")
                self._load_average({})
            self.random_state = load_process_state(rest, self.data_loader)
        if resume and comm.is_main_process():
            drop_lines_from(Path(self.cfg.OUTPUT_DIR) / METRICS_FILE, self.start_iter)

    def state_dict(self) -> dict[str, Any]:
        # Detectron2 0.6 would leave out the optimizer.
        state = {**TrainerBase.state_dict(self), "iteration": self.checkpoints.num_complete - 1}
        state |= {"_trainer": self._trainer.state_dict(), "train_s": self.train_s}
        if self.average is not None:
            state["average"] = self.average.state_dict(unwrap(self.model))
        return {**state, **describe_training(self.cfg)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the iterations and the momentum of a run; learning rates and all else are those of this config.

        Raises:
            CheckpointError, ConfigError: see `resume_or_load`.
        """
        source = f"--resume: the run in {self.cfg.OUTPUT_DIR}"
        if not isinstance(state_dict, dict):
            raise CheckpointError(f"{source}: the state of the run is damaged: it is a {type(state_dict).__name__}")
        iterations, seconds = read_iterations(state_dict, source), read_seconds(state_dict, source)
        if iterations > self.max_iter:
            raise ConfigError(
                f"SOLVER.MAX_ITER: the run in {self.cfg.OUTPUT_DIR} has {iterations} iterations already, got "
                f"{self.max_iter}; set {format_hint('SOLVER.MAX_ITER', iterations)} or more"
            )
        base_lrs = getattr(self.scheduler, "base_lrs", None)
        try:
            TrainerBase.load_state_dict(self, {**state_dict, "iteration": iterations - 1})
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{source}: the state of its hooks is damaged: {error!r:.200}") from None
        self._load_optimizer(state_dict)
        self._load_average(state_dict)
        if isinstance(self.scheduler, LRMultiplier):
            self.scheduler.base_lrs = base_lrs
            for group, lr in zip(self.optimizer.param_groups, self.scheduler.get_lr()):
                group["lr"] = lr
        self.train_s = seconds

    def _load_optimizer(self, state_dict: dict[str, Any]) -> None:
        if "_trainer" not in state_dict:
            logger.warning("the checkpoint has no state of the optimizer, which starts from its beginning")
            return
        try:
            self._trainer.load_state_dict(state_dict["_trainer"])
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise CheckpointError(f"--resume: the run in {self.cfg.OUTPUT_DIR} had another config: {error}") from None

    def _load_average(self, state_dict: dict[str, Any]) -> None:
        """Give the model its trained weights: those beside the average of a checkpoint, else those just loaded."""
        state = state_dict.get("average")
        if state is not None:
            load_trained_weights(unwrap(self.model), state)
            if self.average is not None:
                self.average.load_num_steps(state)
        elif self.average is not None:
            unwrap(self.model).load_state_dict(self.average.model.state_dict())

    @classmethod
    def set_class_weights(cls, cfg: CfgNode) -> CfgNode:
        """Return the config with the weights of the classes in the loss, which the main process computes."""
        return comm.all_gather(set_class_weights(cfg) if comm.is_main_process() else None)[0]

    @classmethod
    def check_data(cls, cfg: CfgNode) -> CfgNode:
        """Check on the main process, before the training, that the data can be read and evaluated.

        Returns:
            The config with the range of values of the training images, if they have one that is not in it.
        """
        value_range = None
        if comm.is_main_process():
            value_range = check_datasets(cfg)
            check_metric(cfg)
            for name in cfg.DATASETS.TEST:
                cls.build_evaluator(cfg, name)
        value_range = comm.all_gather(value_range)[0]
        return cfg if value_range is None else set_value_range(cfg, value_range)

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        model = build_model(cfg)
        logger.info(f"Model:\n{model}")
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluators:
        return build_evaluators(cfg, dataset_name, str(Path(cfg.OUTPUT_DIR) / "inference" / dataset_name))

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> OrderedDict[str, Any]:
        """Evaluate on every test set, print the scores and write OUTPUT_DIR/inference/results.json.

        The scores are a table, or a line of each data set as long as a training has steps left.
        What fails is logged, and the training goes on; see `evaluate`.

        Returns:
            Results by task and metric in percent, with several test sets by data set first; without scores on other
            processes than the first.
        """
        return cls.evaluate(cfg, model, evaluators)[0]

    @classmethod
    def evaluate(
        cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None
    ) -> tuple[OrderedDict[str, Any], list[str]]:
        """Do the work of `test`, and return its results and what failed of the evaluators."""
        if evaluators is not None and not isinstance(evaluators, list):
            evaluators = [evaluators]
        broadcast_buffers(model)
        test_sets = (
            (
                name,
                cls.build_test_loader(cfg, name),
                evaluators[number] if evaluators else cls.build_evaluator(cfg, name),
            )
            for number, name in enumerate(cfg.DATASETS.TEST)
        )
        return evaluate_on_test_sets(cfg, model, test_sets)


def get_required_weights(cfg: CfgNode, model: nn.Module) -> list[str]:
    """Return the names of the weights without which the model can't be trained, see `FreezableModel`."""
    if cfg.MODEL.UNIFIED.ALLOW_RANDOM_FROZEN or not isinstance(model, FreezableModel):
        return []
    return model.required_weights()
