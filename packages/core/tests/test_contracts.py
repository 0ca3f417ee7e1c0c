from __future__ import annotations

import pytest
import torch

from vidcore import ClipSpec, Output, Task
from vidcore.streaming import Streaming, stream, take_step


def test_task_survives_plain_types():
    task = Task("multi_label", ["a", "b"])
    assert Task.of(task.as_dict()) == task
    assert type(task.as_dict()["classes"]) is list


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("classification", ("a",)), "task kind 'classification'"),
        (("single_label", ()), "at least one class"),
        (("single_label", ("a", "b", "a")), "occur twice: a"),
    ],
)
def test_task_refuses(arguments, says):
    with pytest.raises(ValueError, match=says):
        Task(*arguments)


def test_clip_spec():
    spec = ClipSpec(segments=5, frames=8, size=112, short_side=128)
    assert spec.num_frames == 40
    assert spec.resize == 128
    assert ClipSpec(size=112).resize == 112


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"frames": 0}, "frames must be between 1"),
        ({"fps": -1.0}, "fps must be greater than 0"),
        ({"size": 224, "short_side": 200}, "must be at least the crop's size"),
        ({"modalities": ("smell",)}, "smell"),
        ({"modalities": ()}, "modalities"),
    ],
)
def test_clip_spec_refuses(fields, says):
    with pytest.raises(ValueError, match=says):
        ClipSpec(**fields)


class RunningMean:
    """The simplest thing that streams: the mean colour so far."""

    def init_state(self, batch_size, size):
        return {"sum": torch.zeros(batch_size, 3), "count": torch.zeros(batch_size, 1)}

    def step(self, frames, state):
        state = {"sum": state["sum"] + frames.mean((3, 4)).sum(2), "count": state["count"] + frames.shape[2]}
        return Output(logits=state["sum"] / state["count"]), state


class RunningMeanOfThePast(RunningMean):
    """As plugins were written before a step returned an output."""

    def step(self, frames, state):
        output, state = super().step(frames, state)
        return output.logits, state


def test_a_step_that_returns_logits_works_with_a_warning():
    frames = torch.rand(2, 3, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    new, old = RunningMean(), RunningMeanOfThePast()
    expected, _ = take_step(new, frames, new.init_state(2, (5, 4)))
    with pytest.warns(DeprecationWarning, match=r"RunningMeanOfThePast.step returns a tensor; it must return \(Output"):
        output, state = take_step(old, frames, old.init_state(2, (5, 4)))
    assert torch.equal(output.logits, expected.logits)
    assert state["count"].tolist() == [[1], [1]]
    assert torch.equal(stream(old, frames, [1]), stream(new, frames, [1]))


@pytest.mark.parametrize("chunks", [(7,), (1,) * 7, (3, 1, 3)])
def test_streaming_in_chunks_ends_like_the_whole_clip(chunks):
    clip = torch.rand(2, 3, 7, 5, 4, generator=torch.Generator().manual_seed(0))
    model = RunningMean()
    assert isinstance(model, Streaming)
    logits = stream(model, clip, chunks)
    assert logits.shape == (2, len(chunks), 3)
    torch.testing.assert_close(logits[:, -1], clip.mean((2, 3, 4)))


def test_streaming_refuses_chunks_that_do_not_add_up():
    with pytest.raises(ValueError, match="do not add up"):
        stream(RunningMean(), torch.zeros(1, 3, 7, 5, 4), (3, 3))
