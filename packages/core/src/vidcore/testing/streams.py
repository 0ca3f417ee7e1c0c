"""Tests of streaming models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vidcore.batch import Output
from vidcore.flops import executed_macs, macs_per_row
from vidcore.streaming import Streaming, stream
from vidcore.testing.suite import Suite, run, seeded, unlike


class StreamTests(Suite):
    """Tests of [`vidcore.streaming.Streaming`][] and of intermediate predictions."""

    def streaming(self) -> tuple[Any, Tensor]:
        """Return the model and the clip (B, 3, T, H, W) to stream; skip the test if the model does not stream."""
        model = self.model()
        if not isinstance(model, Streaming):
            pytest.skip("it does not stream: it has no init_state and step")
        self.answers(model, self.batch)
        return model, self.new_batch()["inputs"]["rgb"]

    def test_streaming_equals_the_clip(self) -> None:
        """For any division of the clip into chunks, the logits after the last one equal those of the whole clip."""
        model, clip = self.streaming()
        whole, frames = run(model, self.batch).logits, clip.shape[2]
        for chunks in ([frames], [1] * frames, [frames - frames // 3, frames // 3]):
            chunks = [length for length in chunks if length]
            text = unlike(stream(model, clip.clone(), chunks)[:, -1], whole)
            assert not text, f"streamed in chunks of {chunks} frames and as a whole clip, logits {text}"

    @torch.no_grad()
    def test_steps_return_outputs(self) -> None:
        """``step`` returns an ``Output`` whose logits, usage and trace are of the frames it was given."""
        model, clip = self.streaming()
        rows, sizes = len(clip), (clip.shape[3], clip.shape[4])
        name = type(model).__name__
        for count in (1, clip.shape[2]):
            output, _ = model.step(clip[:, :, :count].clone(), model.init_state(rows, sizes))
            assert isinstance(output, Output), f"{name}.step returns {type(output).__name__}: return (Output, state)"
            windows = output.trace.get("windows")
            if windows is not None:
                expected = (rows, count, 4)
                assert windows.shape == expected, (
                    f"after {count} frames, windows have shape {tuple(windows.shape)}, not (B, t, 4) = {expected}"
                )
            if output.usage is not None:
                said, state = int(macs_per_row(output.usage, self.costs(), rows).sum()), model.init_state(rows, sizes)
                ran = executed_macs(lambda: model.step(clip[:, :, :count].clone(), state))  # noqa: B023
                assert ran == said, f"a step of {count} frames executes {ran:,} MACs, and its usage says {said:,}"

    @torch.no_grad()
    def test_streams_keep_their_state_to_themselves(self) -> None:
        """Two interleaved streams give the same results as each alone: the state is not stored in the model."""
        model, clip = self.streaming()
        clips = (clip, -clip)
        alone = [stream(model, each.clone(), [1] * clip.shape[2]) for each in clips]
        states = [model.init_state(len(clip), (clip.shape[3], clip.shape[4])) for _ in clips]
        for frame in range(clip.shape[2]):
            for index, each in enumerate(clips):
                output, states[index] = model.step(each[:, :, frame : frame + 1].clone(), states[index])
                logits = output.logits if isinstance(output, Output) else output
                text = unlike(logits, alone[index][:, frame])
                assert not text, (
                    f"alone and interleaved with another stream, logits after frame {frame} {text}: step must keep its "
                    "memory in the state, not in self"
                )

    def test_answers_on_the_way_do_not_see_the_future(self) -> None:
        """Changing the frames of the last step does not change earlier ``step_logits``."""
        model, batch = self.model(), self.new_batch()
        with seeded():
            before = run(model, batch).step_logits
        if before is None:
            pytest.skip("it has no step_logits")
        if before.shape[1] < 2:
            pytest.skip("it has one step")
        self.answers(model, batch)
        rgb = batch["inputs"]["rgb"]
        last = rgb.shape[2] // before.shape[1]
        rgb[:, :, -last:] = -rgb[:, :, -last:] + 1
        after = run(model, batch).step_logits
        assert after is not None
        text = unlike(after[:, :-1], before[:, :-1])
        assert not text, f"with other frames in the last step, earlier step_logits {text}: they depend on later frames"
