"""Where text, windows and boxes are drawn, and that the picture is left alone elsewhere."""

import pytest
import torch

from vidcore.video.render import draw

YELLOW, LIME = (torch.tensor(colour, dtype=torch.uint8)[:, None, None] for colour in ([255, 255, 0], [0, 255, 0]))


def grey(height: int, width: int, frames: int = 2) -> torch.Tensor:
    return torch.full((frames, 3, height, width), 90, dtype=torch.uint8)


def extent(frame: torch.Tensor, colour: torch.Tensor) -> list[int]:
    """x1, y1, x2, y2 of the pixels of a colour, the last two exclusive."""
    rows, columns = torch.nonzero((frame == colour).all(dim=0), as_tuple=True)
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


@pytest.mark.parametrize(("size", "factor"), [((240, 320), 1), ((112, 112), 3), ((300, 100), 3), ((481, 853), 1)])
def test_text_is_below_the_picture(size, factor):
    torch.manual_seed(0)
    frames = torch.randint(256, (2, 3, *size), dtype=torch.uint8)
    result = draw(frames, ["waving 0.98", "1.93 of 4.12 GMACs"])
    height, width = (side * factor for side in size)
    assert result.dtype == torch.uint8 and result.shape[:2] == (2, 3)
    assert result.shape[-1] == width + width % 2 and result.shape[-2] % 2 == 0
    assert (result[..., :height:factor, :width:factor] == frames).all()
    assert (result[..., factor - 1 : height : factor, factor - 1 : width : factor] == frames).all()
    band = result[..., height:, :]
    assert band.shape[-2] >= 2 * 14 and band.max() > 200 and (band == 0).float().mean() > 0.5
    assert (band[0] == band[1]).all()


def test_lines_and_their_length_make_the_band():
    heights = [
        draw(grey(240, 240), lines).shape[-2] - 240
        for lines in ([], ["a"], ["a", "b"], ["a few words " * 8], ["unbroken" * 12])
    ]
    assert heights[0] == 0 < heights[1] < heights[2] < heights[3]
    assert heights[2] < heights[4]
    wide = draw(grey(240, 240), ["a few words " * 8])[..., 240:, :]
    assert wide[..., -3:].max() == 0  # nothing is cut off at the edge


def test_windows_are_drawn_frame_by_frame():
    result = draw(grey(120, 160), [], {"windows": torch.tensor([[10.0, 20, 60, 70], [0, 0, 30, 40]])})
    assert extent(result[0], YELLOW) == [20, 40, 120, 140]  # enlarged twofold
    assert extent(result[1], YELLOW) == [0, 0, 60, 80]
    inside = result[0, :, 50:130, 30:110]
    assert (inside == 90).all()


def test_boxes_have_labels_and_scores():
    found = [
        {"boxes": torch.tensor([[50.0, 60, 200, 210]]), "labels": torch.tensor([7]), "scores": torch.tensor([0.913])},
        {"boxes": [[50.0, 60, 200, 210], [9, 9, 9, 20]], "labels": ["elephant", "nothing"]},
        {"boxes": torch.zeros(0, 4)},
        {"boxes": torch.tensor([[50.0, 60, 200, 210]])},
    ]
    result = draw(grey(240, 320, 4), [], {"boxes": found, "more": None})
    for index in (0, 1, 3):
        assert extent(result[index], LIME) == [50, 60, 200, 210]
    assert (result[2] == 90).all()
    ink = [(result[index] == 0).all(dim=0).sum() for index in range(4)]
    assert ink[0] > 10 and ink[1] > 10 and ink[3] == 0
    assert (result[0] != result[1]).any()


def test_the_input_is_not_written_to():
    frames = grey(240, 240)
    draw(frames, ["text"], {"windows": torch.tensor([[10.0, 20, 60, 70]] * 2)})
    assert (frames == 90).all()
