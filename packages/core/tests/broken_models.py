"""A right model, and models with one fault each; every fault has the one test that is meant for it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from vidcore import ClipSpec, Optim, Output, Stage, Turn, VideoModule
from vidcore.testing import ModelConformance, tiny_batch


class Right(VideoModule):
    """The mean over frames of features of each frame's colour."""

    def __init__(self, task, **kwargs):
        super().__init__(task, ClipSpec(frames=2, size=8), **kwargs)
        self.encode = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.classify = nn.Linear(8, self.task.num_classes)

    def components(self):
        return {"encode": (self.encode, (torch.zeros(1, 3),)), "classify": (self.classify, (torch.zeros(1, 8),))}

    def features(self, rgb):
        colours = rgb.mean((3, 4)).transpose(1, 2)  # (B, T, 3)
        return self.encode(colours.flatten(0, 1)).unflatten(0, colours.shape[:2])

    def forward(self, batch):
        features = self.features(batch["inputs"]["rgb"])
        logits = self.classify(self.pool(features))
        each = torch.ones(len(logits))
        return Output(logits=logits, usage={"encode": features.shape[1] * each, "classify": each})

    def pool(self, features):
        return features.mean(1)


class RightStream(Right):
    """The same with an answer after each frame."""

    def answers(self, features):
        return self.classify(features.cumsum(1) / torch.arange(1, features.shape[1] + 1)[:, None])

    def forward(self, batch):
        features = self.features(batch["inputs"]["rgb"])
        steps = self.answers(features)
        runs = torch.full((len(steps),), steps.shape[1])
        return Output(logits=steps[:, -1], step_logits=steps, usage={"encode": runs, "classify": runs})

    def init_state(self, batch_size, size):
        return {"sum": torch.zeros(batch_size, 8), "count": torch.zeros(())}

    def step(self, frames, state):
        features = self.features(frames)
        state = {"sum": state["sum"] + features.sum(1), "count": state["count"] + features.shape[1]}
        each = torch.ones(len(frames))
        usage = {"encode": frames.shape[2] * each, "classify": each}
        return Output(logits=self.classify(state["sum"] / state["count"]), usage=usage), state


class RightInTurns(Right):
    """The same, trained by two optimisers in turns, of which one makes two steps per batch."""

    def stages(self):
        turns = (Turn(Optim("sgd", lr=0.1), ("encode.*",)), Turn(Optim("sgd", lr=0.1), ("classify.*",)))
        return (Stage("in turns", 5, turns=turns, steps_per_batch=2),)


class Conformance(ModelConformance):
    batch = tiny_batch(rows=3, frames=4, size=8, classes=3)
    macs = 4 * 3 * 8 + 8 * 3
    fails: str
    """The test that finds the fault."""
    says: str
    """A pattern of what it says."""


class OfStreams(Conformance):
    macs = 4 * (3 * 8 + 8 * 3)


BROKEN = []


def broken(fails, says, suite=Conformance, **attributes):
    """Makes a model with a fault the subject of a suite."""

    def add(model):
        BROKEN.append(type(model.__name__, (suite,), {"name": model, "fails": fails, "says": says, **attributes}))
        return model

    return add


# What it answers.


@broken("test_takes_the_common_options", r"optim=Optim\(.*became .*pass \*\*kwargs on")
class IgnoresOptions(Right):
    def __init__(self, task, clip=None, **kwargs):
        super().__init__(task, clip=clip)


@broken("test_starts_the_same_from_the_same_seed", "classify.weight differs between two models from one seed")
class StartsByChance(Right):
    def __init__(self, task, **kwargs):
        super().__init__(task, **kwargs)
        generator = torch.Generator()
        generator.seed()
        nn.init.normal_(self.classify.weight, generator=generator)


@broken("test_output_has_the_form_that_the_task_asks_for", "the last of step_logits and logits differ by")
class TwoOpinions(Right):
    def forward(self, batch):
        output = super().forward(batch)
        output.step_logits = 2 * output.logits[:, None]
        return output


@broken("test_eval_is_deterministic", "in eval mode, logits of row 0 differ by .*draw only where self.training")
class DropsOutAlways(Right):
    def pool(self, features):
        return F.dropout(features.mean(1), 0.5)


@broken("test_rows_do_not_influence_each_other", "in a batch and alone, logits of row 0 differ by")
class ComparesRows(Right):
    def pool(self, features):
        pooled = features.mean(1)
        return pooled + 0.1 * pooled.cumsum(0) + 0.1 * pooled.mean(0)


@broken("test_forward_leaves_the_batch_alone", r"forward changes batch\['inputs'\]\['rgb'\]")
class WorksInPlace(Right):
    def forward(self, batch):
        batch["inputs"]["rgb"].mul_(0.5)
        return super().forward(batch)


@broken("test_needs_no_target_to_predict", "forward in eval mode fails without 'target'")
class LooksAtTheTarget(Right):
    def forward(self, batch):
        output = super().forward(batch)
        output.trace = {"right": output.logits.argmax(-1) == batch["target"]} if batch["target"].dim() == 1 else {}
        return output


# How it trains.


@broken("test_trains", "training fails: ZeroDivisionError")
class DoesNotTrain(Right):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (1 // batch_idx)


@broken("test_training_lowers_the_loss", "does not fall")
class Climbs(Right):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, maximize=True)


@broken("test_backward_reaches_every_trainable_parameter", "no gradient reaches spare.bias, spare.weight")
class HasASparePart(Right):
    def __init__(self, task, **kwargs):
        super().__init__(task, **kwargs)
        self.spare = nn.Linear(3, 3)


@broken("test_gradients_are_finite", "the gradient of classify.bias, classify.weight.* holds NaN")
class RootOfZero(Right):
    def forward(self, batch):
        output = super().forward(batch)
        output.logits = output.logits + (0 * self.classify.weight.sum()).sqrt()
        return output


@broken("test_every_trainable_parameter_has_a_learning_rate", "encode.0.bias has no learning rate")
class ForgetsTheEncoder(Right):
    def configure_optimizers(self):
        return torch.optim.SGD(self.classify.parameters(), lr=0.1)


@broken("test_frozen_parts_keep_their_batch_statistics", "encode.1.num_batches_tracked.* moved in training mode")
class DriftsWhenFrozen(Right):
    def train(self, mode=True):
        return nn.Module.train(self, mode)


@broken("test_frozen_parts_keep_their_batch_statistics", "encode.1.num_batches_tracked.* moved, though nothing")
class DriftsInAStage(Right):
    def stages(self):
        return (
            Stage("classifier", 5, Optim("sgd", lr=0.1), trains=("classify.*",)),
            Stage("everything", 5, Optim("sgd", lr=0.1)),
        )

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        self.encode.train()


@broken("test_every_pattern_matches_a_parameter", r"classifier\.\* matches no parameter")
class MisspellsAPattern(Right):
    def stages(self):
        return (Stage("all", 5, Optim("sgd", lr=0.1), trains=("encode.*", "classify.*", "classifier.*")),)


@broken("test_every_trainable_parameter_has_a_learning_rate", r"classify.bias has no learning rate")
class ForgetsAnOptimiserInTurn(Right):
    def stages(self):
        turns = (Turn(Optim("sgd", lr=0.1), ("encode.*",)), Turn(Optim("adamw"), ("classify.*",)))
        return (Stage("in turns", 5, turns=turns),)

    def configure_optimizers(self):
        return self.stages()[0].turns[0].optim.build(self.encode.parameters(), None)[0]


@broken("test_takes_mixed_targets", r"training fails with targets \(B, K\)")
class WantsWholeLabels(Right):
    def loss(self, output, batch):
        return F.nll_loss(output.logits.log_softmax(-1), batch["target"])


@broken("test_trains_in_mixed_precision", "bf16-mixed fails: RuntimeError")
class InsistsOnFloat32(Right):
    def pool(self, features):
        rows = torch.arange(len(features)).repeat_interleave(features.shape[1])
        sums = torch.zeros(len(features), 8).index_add(0, rows, features.flatten(0, 1))
        return sums / features.shape[1]


@broken("test_two_processes_equal_one", "gradients of .* on two processes and on one differ")
class AveragesTwice(Right):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) / self.trainer.world_size


# What is kept of it.


class Author:
    pass


@broken("test_checkpoint_holds_no_pickle", r"checkpoint\['author'\] is a broken_models.Author")
class SignsItsCheckpoint(Right):
    def on_save_checkpoint(self, checkpoint):
        super().on_save_checkpoint(checkpoint)
        checkpoint["author"] = Author()


@broken("test_checkpoint_alone_predicts_the_same", "loaded from its checkpoint, logits of row 0 differ by")
class KeepsCountInAnAttribute(Right):
    steps = 0.0

    def forward(self, batch):
        self.steps += self.training
        output = super().forward(batch)
        output.logits = output.logits + self.steps
        return output


@broken("test_export_equals_eager", "torch.export fails")
class BranchesOnValues(Right):
    def forward(self, batch):
        output = super().forward(batch)
        if batch["inputs"]["rgb"][:1, :, :1].mean() > 100:
            output.logits = output.logits + 1
        return output


# What it costs.


class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).abs()


@broken("test_every_operation_is_counted", "aten::fft_rfft")
class Transforms(Right):
    def __init__(self, task, **kwargs):
        super().__init__(task, **kwargs)
        self.encode = nn.Sequential(nn.Linear(3, 14), Spectrum(), nn.BatchNorm1d(8))


@broken(
    "test_macs_are_as_expected", "expected 100 MACs per row, got 120; one run of each: encode 24, classify 24", macs=100
)
class CostsMore(Right):
    pass


@broken("test_counted_macs_are_executed", "executes 4,968 MACs for the batch but reports 360")
class SilentGRU(Right):
    def __init__(self, task, **kwargs):
        super().__init__(task, **kwargs)
        self.gru = nn.GRU(8, 8, batch_first=True)

    def pool(self, features):
        return self.gru(features)[0].mean(1)


@broken("test_counted_macs_are_executed", "executes 360 MACs for the batch but reports 72", macs=24)
class ClaimsToSkip(Right):
    def forward(self, batch):
        output = super().forward(batch)
        output.usage["encode"] = torch.zeros(len(output.logits))
        return output


class Decides(Right):
    """Runs the encoder on all frames, and reports it as decisions."""

    def forward(self, batch):
        output = super().forward(batch)
        ran = torch.ones(len(output.logits), batch["inputs"]["rgb"].shape[2], dtype=torch.bool)
        usage = {"classify": output.usage["classify"]}
        return Output(logits=output.logits, usage=usage, decisions={"encode": ran})


@broken("test_decisions_are_those_of_usage", r"usage of encode is \[4, 4, 4\], but its decisions have \[3, 3, 3\]")
class DecidesOtherwise(Decides):
    def forward(self, batch):
        output = super().forward(batch)
        output.decisions["encode"][:, 0] = False
        return output


@broken("test_usage_is_of_the_components", "usage names decode; components.. has encode, classify")
class MisnamesAPart(Right):
    def forward(self, batch):
        output = super().forward(batch)
        output.usage["decode"] = output.usage.pop("encode")
        return output


@broken("test_costing_changes_nothing", "costing switches the model between training and eval mode")
class StopsTrainingToBeCosted(Right):
    def components(self):
        self.eval()
        return super().components()


# How it streams.


@broken(
    "test_streaming_equals_the_clip",
    r"in chunks of \[1, 1, 1, 1\] frames and as a whole clip, logits differ",
    OfStreams,
)
class ForgetsTheCount(RightStream):
    def step(self, frames, state):
        return super().step(frames, {**state, "count": torch.zeros(())})


@broken(
    "test_streams_keep_their_state_to_themselves", "logits after frame 0 differ .* in the state, not in self", OfStreams
)
class RemembersItself(RightStream):
    def init_state(self, batch_size, size):
        self.state = super().init_state(batch_size, size)
        return {}

    def step(self, frames, state):
        output, self.state = super().step(frames, self.state)
        return output, {}


@broken("test_steps_return_outputs", r"ReturnsLogits.step returns Tensor: return \(Output, state\)", OfStreams)
class ReturnsLogits(RightStream):
    def step(self, frames, state):
        output, state = super().step(frames, state)
        return output.logits, state


@broken("test_steps_return_outputs", "a step of 4 frames executes .* MACs, and its usage says", OfStreams)
class CountsAStepAsAFrame(RightStream):
    def step(self, frames, state):
        output, state = super().step(frames, state)
        output.usage["encode"] = torch.ones(len(frames))
        return output, state


@broken("test_answers_on_the_way_do_not_see_the_future", "earlier step_logits differ", OfStreams)
class SeesTheFuture(RightStream):
    def answers(self, features):
        return self.classify(features.mean(1, keepdim=True).expand_as(features).contiguous())
