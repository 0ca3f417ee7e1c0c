"""Group consistency, boxes that follow the picture, eval against Pillow, and mixing against the formula."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample, VideoDataset
from vidcore.task import Task
from vidcore.video.transforms import Augment, Flow, eval_transform, mix, train_transform

SPEC = ClipSpec(size=32, short_side=40)
ALL = Augment(randaugment=15, erasing=1.0)
SIZES = [(35, 37), (64, 48), (48, 64), (240, 320), (20, 100), (9, 7)]


def video(height: int, width: int, frames: int = 3, seed: int = 0) -> tv_tensors.Video:
    generator = torch.Generator().manual_seed(seed)
    return tv_tensors.Video(torch.randint(256, (frames, 3, height, width), generator=generator, dtype=torch.uint8))


def still(height: int, width: int, frames: int = 3) -> tv_tensors.Video:
    return tv_tensors.Video(video(height, width, 1).expand(frames, -1, -1, -1))


@pytest.mark.parametrize("size", SIZES)
def test_a_still_video_stays_still(size):
    transform = train_transform(SPEC, ALL)
    results = []
    for seed in range(25):
        torch.manual_seed(seed)
        results.append(transform(still(*size)))
        assert results[-1].dtype == torch.uint8 and results[-1].shape == (3, 3, 32, 32)
        assert (results[-1] == results[-1][:1]).all()
    assert any((one != results[0]).any() for one in results)


def test_all_inputs_of_a_sample_share_one_draw():
    transform = train_transform(ClipSpec(size=32, modalities=("rgb", "rgbdiff", "audio")), ALL)
    sound = torch.randn(1, 100)
    for seed in range(25):
        torch.manual_seed(seed)
        sample = transform({"rgb": still(50, 60), "rgbdiff": still(50, 60, 5), "audio": sound, "id": "a"})
        assert list(sample) == ["rgb", "rgbdiff", "audio", "id"]
        assert len(sample["rgb"]) == 3 and len(sample["rgbdiff"]) == 5
        assert (sample["rgbdiff"] == sample["rgb"][:1]).all()
        assert sample["audio"] is sound


def test_draws_come_from_torchs_generator():
    transform = train_transform(SPEC, ALL)
    torch.manual_seed(1)
    first, second = transform(video(48, 64)), transform(video(48, 64))
    torch.manual_seed(1)
    again = pickle.loads(pickle.dumps(transform))(video(48, 64))
    assert (first == again).all() and (first != second).any()


@pytest.mark.parametrize("hflip", [0.0, 1.0])
def test_only_hflip_mirrors(hflip):
    # Stripes on the left stay busier than the plain right, whatever happens to colours, shear and angle.
    picture = torch.full((2, 3, 48, 48), 120, dtype=torch.uint8)
    picture[..., 4:22:4], picture[..., 6:22:4] = 60, 200
    transform = train_transform(SPEC, Augment(scale=(1, 1), ratio=(1, 1), hflip=hflip, randaugment=9))
    for seed in range(80):
        torch.manual_seed(seed)
        busy = transform(tv_tensors.Video(picture)).float().diff(dim=-1).ne(0).float().mean(dim=(0, 1, 2))
        left, right = busy[:15].mean(), busy[16:].mean()
        assert (left > right) == (hflip == 0)


def test_hflip_is_a_probability():
    transform = train_transform(ClipSpec(size=8), Augment(scale=(1, 1), ratio=(1, 1), hflip=0.25))
    torch.manual_seed(0)
    original = video(8, 8, 1)
    mirrored = sum(bool((transform(original) == original.flip(-1)).all()) for _ in range(800))
    assert abs(mirrored - 200) < 5 * (800 * 0.25 * 0.75) ** 0.5


@pytest.mark.parametrize("size", SIZES)
def test_eval_is_pillows_resize_and_a_centre_crop(size):
    clip = video(*size)
    result = eval_transform(SPEC)(clip)
    height, width = (int(40 * side / min(size)) for side in size)
    top, left = round((height - 32) / 2), round((width - 32) / 2)
    for frame, got in zip(clip, result, strict=True):
        picture = Image.fromarray(frame.permute(1, 2, 0).numpy())
        resized = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), dtype=int)
        difference = got.permute(1, 2, 0).numpy() - resized[top : top + 32, left : left + 32]
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("size", [(40, 90), (90, 40)])
def test_three_crops_lie_along_the_longer_side(size):
    clip = video(*size)  # not resized: the short side is right already
    for crop, place in enumerate((0, 29, 58)):
        result = eval_transform(SPEC, crops=3, crop=crop)(clip)
        expected = clip[..., 4:36, place : place + 32] if size[1] > size[0] else clip[..., place : place + 32, 4:36]
        assert (result == expected).all()
    assert (eval_transform(SPEC)(clip) == eval_transform(SPEC, crops=3, crop=1)(clip)).all()


@pytest.mark.parametrize(("crops", "crop"), [(2, 0), (1, 1), (3, 3), (3, -1)])
def test_wrong_crops(crops, crop):
    with pytest.raises(ValueError, match=f"got crops={crops} and crop={crop}$"):
        eval_transform(SPEC, crops, crop)


def boxes(rows: list[list[float]], size: tuple[int, int]) -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(torch.tensor(rows), format="XYXY", canvas_size=size)


def bright_box(picture: torch.Tensor) -> torch.Tensor:
    rows, columns = torch.nonzero(picture.amax(dim=(0, 1)) > 127, as_tuple=True)
    return torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


@pytest.mark.parametrize("hflip", [0.0, 1.0])
def test_boxes_follow_the_picture(hflip):
    spec = ClipSpec(size=96, short_side=120)
    clip = torch.zeros(2, 3, 120, 160, dtype=torch.uint8)
    clip[..., 40:70, 30:90] = 255
    transforms = [train_transform(spec, Augment(hflip=hflip, scale=(0.5, 1))) for _ in range(20)]
    transforms += [eval_transform(spec), *(eval_transform(spec, 3, crop) for crop in range(3))]
    torch.manual_seed(0)
    for transform in transforms:
        moved, found = transform((tv_tensors.Video(clip), boxes([[30.0, 40, 90, 70]], (120, 160))))
        assert (found[0] - bright_box(moved)).abs().max() <= 1.01


def test_boxes_outside_the_crop_have_no_area():
    _, found = eval_transform(SPEC)((video(40, 80), boxes([[0.0, 0, 20, 40], [30.0, 10, 50, 30]], (40, 80))))
    assert found.tolist()[1] == [6, 6, 26, 26]
    assert found[0, 2] <= found[0, 0]


def test_what_else_is_known_of_boxes_stays_with_them(tmp_path):
    for frame in range(4):
        Image.new("RGB", (48, 32)).save(tmp_path / f"{frame}.png")
    rows = {
        "boxes": [[0, 0, 7, 32], [8, 0, 24, 32], [16, 0, 48, 32], [8, 0, 9, 32]],
        "frames": [1, 1, 2, 3],
        "labels": [0, 1, 0, 1],
        "tracks": np.array([5, 6, 7, 8]),
        "motion": np.array([0.5, 0.6, 0.7, 0.8], np.float32),
    }
    target = VideoDataset([Sample(str(tmp_path), rows)], Task.numbered(2, "detection"), ClipSpec(frames=4, size=32))[0]
    found = {name: values.tolist() for name, values in target["target"].items()}
    assert found["boxes"] == [[0, 0, 16, 32], [8, 0, 32, 32], [0, 0, 1, 32]], "8 pixels are cut off on either side"
    assert (found["frames"], found["labels"], found["tracks"]) == ([1, 2, 3], [1, 0, 1], [6, 7, 8])
    assert target["target"]["motion"].dtype == torch.float32 and np.allclose(found["motion"], [0.6, 0.7, 0.8])


def test_erasing_spares_boxes_and_blackens_the_same_place():
    torch.manual_seed(0)
    transform = train_transform(SPEC, Augment(scale=(1, 1), ratio=(1, 1), hflip=0, erasing=1.0))
    white = tv_tensors.Video(torch.full((4, 3, 32, 32), 255, dtype=torch.uint8))
    result, found = transform((white, boxes([[1.0, 2, 30, 31]], (32, 32))))
    assert found.tolist() == [[1, 2, 30, 31]]
    assert 0 < (result == 0).float().mean() < 0.4 and set(result.unique().tolist()) == {0, 255}
    assert (result == result[:1]).all()


def test_randaugment_refuses_boxes():
    with pytest.raises(UserError, match=r"randaugment .*: set augment.randaugment to 0"):
        train_transform(SPEC, Augment(randaugment=1))((video(40, 40), boxes([[0.0, 0, 9, 9]], (40, 40))))


@pytest.mark.parametrize("augment", [Augment(mixup=0.2), Augment(cutmix=1.0)])
def test_mixing_refuses_other_inputs(augment):
    train_transform(SPEC, augment)
    with pytest.raises(UserError, match=r"mixup and cutmix .* audio"):
        train_transform(ClipSpec(modalities=("rgb", "audio")), augment)


@pytest.mark.parametrize("name", ["autoaugment", "randaugment", "erasing"])
def test_flow_is_only_cropped_and_mirrored(name):
    spec = ClipSpec(size=16, modalities=("flow",))
    with pytest.raises(UserError, match=f"{name}.* not supported with flow"):
        train_transform(spec, Augment(**{name: True}))
    flow = Flow(video(20, 30, 4)[:, :2])
    assert train_transform(spec, Augment())({"flow": flow})["flow"].shape == (4, 2, 16, 16)


def test_a_mirror_image_negates_the_flow_in_x():
    flow = Flow(video(20, 30, 4)[:, :2])
    whole = {"scale": (1, 1), "ratio": (1.5, 1.5)}
    for hflip in (0.0, 1.0):
        result = F.resize(flow, [16, 16])
        if hflip:
            result = torch.stack([255 - result[:, 0].flip(-1), result[:, 1].flip(-1)], dim=1)
        spec = ClipSpec(size=16, modalities=("flow",))
        got = train_transform(spec, Augment(hflip=hflip, **whole))(flow)
        assert type(got) is Flow and torch.equal(got.as_subclass(torch.Tensor), result.as_subclass(torch.Tensor))


@pytest.mark.parametrize("train", [False, True])
def test_flow_of_another_size_is_cropped_at_the_same_place(train):
    # The value of a pixel is its place: x in the first channel, y in the second.
    y, x = torch.meshgrid(torch.arange(120), torch.arange(160), indexing="ij")
    frames = torch.stack([x, y, y]).to(torch.uint8)[None]
    small = torch.stack([x, y])[:, ::2, ::2].to(torch.uint8)[None]
    spec = ClipSpec(size=48, short_side=60, modalities=("rgb", "flow"))
    for seed in range(20):
        torch.manual_seed(seed)
        transform = train_transform(spec, Augment(scale=(0.4, 1))) if train else eval_transform(spec, 3, seed % 3)
        seen = transform({"frames": tv_tensors.Video(frames), "flow": Flow(small)})
        there = seen["flow"].as_subclass(torch.Tensor).float()
        if seen["frames"][0, 0, 0, 0] > seen["frames"][0, 0, 0, -1]:  # mirrored
            there[:, 0] = 255 - there[:, 0]
        difference = (seen["frames"][:, :2].as_subclass(torch.Tensor).float() - there)[..., 2:-2, 2:-2]
        assert difference.abs().max() <= 3


@pytest.mark.parametrize(
    "wrong",
    [{"scale": (0, 1)}, {"scale": (0.9, 0.3)}, {"ratio": (0, 1)}, {"hflip": 1.5}, {"randaugment": 31}, {"mixup": -1}],
)
def test_augment_checks_its_values(wrong):
    with pytest.raises(ValueError, match=f"augment.{next(iter(wrong))} must be"):
        Augment(**wrong)


def batch(size: int = 4) -> torch.Tensor:
    return torch.stack([video(16, 20, 2, seed).transpose(0, 1).as_subclass(torch.Tensor) for seed in range(size)])


@pytest.mark.parametrize("multi_label", [False, True])
def test_mixup_is_its_formula(multi_label):
    torch.manual_seed(0)
    classes = torch.tensor([2, 0, 1, 4])
    targets = torch.eye(5)[classes]
    targets[:, 3] = float(multi_label)  # a class that all have stays whole
    given = targets if multi_label else classes
    for _ in range(5):
        rgb, target = mix(batch(), given, 5, Augment(mixup=0.8))
        assert rgb.dtype == torch.uint8 and target.dtype == torch.float32
        share = target[0, 2].double()
        neighbour = torch.roll(batch(), 1, 0).double()
        assert (rgb - (share * batch() + (1 - share) * neighbour)).abs().max() <= 0.501
        assert torch.allclose(target, (share * targets + (1 - share) * targets.roll(1, 0)).float())


def test_cutmix_is_its_formula():
    torch.manual_seed(0)
    for _ in range(5):
        rgb, target = mix(batch(), torch.tensor([2, 0, 1, 4]), 5, Augment(cutmix=1.0))
        assert rgb.dtype == torch.uint8 and type(rgb) is torch.Tensor
        inside = ((rgb != batch()).flatten(0, 2)).any(dim=0)
        rows, columns = torch.nonzero(inside, as_tuple=True)
        cut = (..., slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
        assert inside[cut].all()
        assert (rgb[cut] == batch().roll(1, 0)[cut]).all()
        share = 1 - inside.float().mean()
        hot = torch.eye(5)[[2, 0, 1, 4]]
        assert torch.allclose(target, share * hot + (1 - share) * hot.roll(1, 0), atol=1e-6)


def test_one_of_both_with_even_chance():
    torch.manual_seed(0)
    # mixup of black and white gives grey; CutMix gives black and white.
    rgb = torch.stack([torch.zeros(3, 1, 8, 8), torch.full((3, 1, 8, 8), 255)]).to(torch.uint8)
    grey = sum(
        bool(((mixed > 0) & (mixed < 255)).any())
        for mixed, _ in (mix(rgb, torch.tensor([0, 1]), 2, Augment(mixup=5.0, cutmix=1.0)) for _ in range(300))
    )
    assert 110 < grey < 190


def test_without_mixing_nothing_changes():
    rgb, classes = batch(), torch.tensor([0, 1, 2, 3])
    assert mix(rgb, classes, 4, Augment()) == (rgb, classes)


def test_mix_refuses_boxes():
    with pytest.raises(UserError, match="detection"):
        mix(batch(), [{"boxes": torch.zeros(0, 4)}] * 4, 4, Augment(mixup=1.0))
