"""Pairs of clips: where they lie, what is done to them, and how they come in a batch."""

import itertools
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from colours import BrightSquare, Colours
from torchvision import tv_tensors
from torchvision.transforms import v2

from vidcore import ClipSpec, Sample, Task, UserError
from vidcore.clip import ClipFields
from vidcore.reading.dataset import VideoDataset
from vidcore.video import Augment, clip_indices, contrastive_transforms, write_video

PAIRS = ClipSpec(frames=4, size=16, pairs=True)
FRAMES = 24


@pytest.fixture(autouse=True)
def one_thread():
    """As in a loader's worker: blurring tiny pictures is slow where threads have to wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three videos of plain grey that gets brighter: 20 + 8 times the frame's number."""
    root = tmp_path_factory.mktemp("videos")
    grey = 20 + 8 * torch.arange(FRAMES).reshape(-1, 1, 1, 1).expand(-1, 3, 24, 32)
    for name in "abc":
        write_video(root / f"{name}.mp4", grey.to(torch.uint8), fps=8, crf=1)
    return [Sample(root / f"{name}.mp4", 0, id=name) for name in "abc"]


def numbers(clips: torch.Tensor) -> list[list[int]]:
    """The numbers of the frames in clips (V, 3, T, H, W)."""
    return ((clips.float().mean(dim=(1, 3, 4)) - 20) / 8).round().int().tolist()


def within(count: int, total: int, share: float) -> bool:
    return abs(count - total * share) <= 4.5 * (total * share * (1 - share)) ** 0.5


def test_the_density_of_the_distance_falls_linearly_to_zero():
    rng, total, times = np.random.default_rng(0), 10_000, np.arange(1003) / 25
    first, second = np.array([[clip_indices(times, PAIRS, rng=rng)[0] for _ in "12"] for _ in range(total)]).T / 999
    distance = np.abs(first - second)
    assert abs(distance.mean() - 1 / 3) < 4.5 * (1 / 18 / total) ** 0.5
    edges = np.linspace(0, 1, 11)
    for count, low, high in zip(np.histogram(distance, edges)[0], edges[:-1], edges[1:], strict=True):
        assert within(count, total, (1 - low) ** 2 - (1 - high) ** 2)


def test_one_draw_for_all_frames_and_another_for_each_clip():
    picture = torch.randint(256, (1, 3, 40, 50), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    still = tv_tensors.Video(picture.expand(5, -1, -1, -1))
    transforms = contrastive_transforms(ClipSpec(size=32, pairs=True), Augment())
    for seed in range(60):
        torch.manual_seed(seed)
        results = [transform(still) for transform in (*transforms, *transforms)]
        for result in results:
            assert result.dtype == torch.uint8 and result.shape == (5, 3, 32, 32)
            assert (result == result[:1]).all()
        assert all((one != other).any() for one, other in itertools.combinations(results, 2))
        torch.manual_seed(seed)
        assert (pickle.loads(pickle.dumps(transforms[0]))(still) == results[0]).all()


@pytest.mark.parametrize(("which", "blurred", "solarised"), [(0, 1.0, 0.0), (1, 0.1, 0.2)])
def test_how_often_each_step_is_taken(which, blurred, solarised, monkeypatch):
    counts, sigmas = Counter(), []

    def watch(step):
        original = step.transform

        def transform(self, clip, params):
            result = original(self, clip, params)
            name = "grey" if step is v2.ColorJitter and self.brightness is None else step.__name__
            counts[name] += 1
            counts[f"{name} changed"] += bool((result != clip).any())
            if name == "ColorJitter":
                assert all(0.2 <= params[f"{kind}_factor"] <= 1.8 for kind in ("brightness", "contrast", "saturation"))
                assert -0.2 <= params["hue_factor"] <= 0.2
            if name == "GaussianBlur":
                sigmas.extend(params["sigma"])
            if name == "grey":
                assert result.shape == clip.shape and (result == result[:, :1]).all()
            return result

        monkeypatch.setattr(step, "transform", transform)

    for step in (v2.RandomHorizontalFlip, v2.ColorJitter, v2.GaussianBlur, v2.RandomSolarize):
        watch(step)
    clip = tv_tensors.Video(torch.randint(256, (1, 3, 12, 12), generator=torch.Generator().manual_seed(0)).byte())
    transform = contrastive_transforms(ClipSpec(size=8), Augment(hflip=0.3))[which]
    torch.manual_seed(0)
    total = 1000
    for _ in range(total):
        transform(clip)
    due = {"RandomHorizontalFlip": 0.3, "ColorJitter": 0.8, "grey": 0.2}
    due |= {"GaussianBlur": blurred, "RandomSolarize": solarised}
    assert all(within(counts[name], total, share) for name, share in due.items()), counts
    # None of them passes videos by, as RandomGrayscale does; but weak blurs change nothing, nor is the dark solarised.
    assert all(counts[f"{name} changed"] >= 0.6 * counts[name] for name in due), counts
    assert all(0.1 <= sigma <= 2 for sigma in sigmas) and min(sigmas) < 0.3 and max(sigmas) > 1.8


@pytest.mark.parametrize(("size", "kernel"), [(8, 3), (39, 3), (64, 7), (112, 11), (224, 23), (256, 25)])
def test_the_blur_is_a_tenth_of_the_picture(size, kernel, monkeypatch):
    used = []
    monkeypatch.setattr(v2.GaussianBlur, "transform", lambda self, clip, params: used.append(self.kernel_size) or clip)
    contrastive_transforms(ClipSpec(size=size), Augment())[0](tv_tensors.Video(torch.zeros(1, 3, 8, 8).byte()))
    assert [tuple(one) for one in used] == [(kernel, kernel)]


def test_crop_and_mirror_are_those_of_the_options():
    ramp = torch.linspace(0, 255, 64).byte().expand(1, 3, 64, 64)
    for scale, mirror in itertools.product((1.0, 0.04), (0.0, 1.0)):
        augment = Augment(scale=(scale, scale), ratio=(1, 1), hflip=mirror)
        for transform in contrastive_transforms(ClipSpec(size=64), augment):
            crop_and_mirror = v2.Compose(transform.transforms[:2])
            torch.manual_seed(0)
            row = crop_and_mirror(tv_tensors.Video(ramp))[0, 0, 0].float()
            assert bool(row[-1] < row[0]) == bool(mirror)
            assert abs((row[-1] - row[0]).abs() - 255 * scale**0.5) < 12


def test_a_training_batch(videos):
    dataset = VideoDataset(videos, Task.numbered(1), PAIRS, train=True)
    items = [dataset[index, seed] for index, seed in ((0, 5), (2, 6), (1, 7))]
    batch = dataset.collate(items)
    assert batch["inputs"]["rgb"].shape == (6, 3, 4, 16, 16) and batch["inputs"]["rgb"].dtype == torch.uint8
    assert batch["ids"] == ["a", "a", "c", "c", "b", "b"]
    assert batch["target"].tolist() == [0] * 6

    torch.rand(3)
    again = [dataset[index, seed] for index, seed in ((1, 7), (0, 5), (2, 6))]
    for item, same in zip(items, (again[1], again[2], again[0]), strict=True):
        assert torch.equal(item["inputs"]["rgb"], same["inputs"]["rgb"])
    assert not torch.equal(dataset[0, 6]["inputs"]["rgb"], items[0]["inputs"]["rgb"])


def test_each_clip_is_drawn_and_transformed_by_itself(videos, monkeypatch):
    def transforms(spec, augment):
        return (
            lambda seen: {"frames": seen["frames"][..., :16, :16]},
            lambda seen: {"frames": 255 - seen["frames"][..., :16, :16]},
        )

    monkeypatch.setattr("vidcore.reading.dataset.contrastive_transforms", transforms)
    dataset = VideoDataset(videos, Task.numbered(1), PAIRS, train=True)
    starts = []
    for seed in range(150):
        first, second = dataset[seed % 3, seed]["inputs"]["rgb"]
        pair = numbers(torch.stack([first, 255 - second]))
        assert all(clip == list(range(clip[0], clip[0] + 4)) for clip in pair)
        starts.append([clip[0] for clip in pair])
    first, second = np.array(starts).T
    assert set(first) | set(second) == set(range(FRAMES - 3))
    assert abs(np.abs(first - second).mean() - 7) < 4 * 5 / 150**0.5  # (n² - 1) / 3n of n = 21; deviation about 5
    assert within((first < second).sum(), (first != second).sum(), 0.5)


def test_data_modules_give_pairs_for_training_and_validation(tmp_path):
    data = Colours(tmp_path, per_class=2, batch_size=3, views=3, crops=3)
    data.prepare_data()
    data.clip_spec = ClipSpec(frames=2, size=16, pairs=True)
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batch = next(iter(loader))
        assert len(batch["inputs"]["rgb"]) == len(batch["target"]) == 6
        assert batch["ids"][::2] == batch["ids"][1::2] and len(set(batch["ids"])) == 3
    for loader in (data.test_dataloader(), data._loader("predict")):
        assert len(next(iter(loader))["inputs"]["rgb"]) == 3 * 3 * 3


def test_validation_gives_the_earliest_and_the_latest_clip(videos, tmp_path):
    class Data(Colours):
        def samples(self, split):
            return videos

    data = Data(tmp_path)
    data.clip_spec = PAIRS
    dataset = data.dataset("val")
    clips = dataset[1]["inputs"]["rgb"]
    assert numbers(clips) == [[0, 1, 2, 3], [20, 21, 22, 23]]
    assert torch.equal(clips, dataset[1]["inputs"]["rgb"])
    data.clip_spec = ClipSpec(frames=4, size=16)
    data._datasets.clear()
    assert numbers(data.dataset("val")[1]["inputs"]["rgb"]) == [[10, 11, 12, 13]]


@pytest.mark.parametrize("name", ["randaugment", "mixup", "cutmix", "erasing"])
def test_other_augmentations_are_refused(name, videos):
    with pytest.raises(UserError, match=f"set augment {name} to 0"):
        VideoDataset(videos, Task.numbered(1), PAIRS, train=True, augment=Augment(**{name: 1}))


def test_what_has_no_pairs(tmp_path):
    with pytest.raises(ValueError, match="pairs need clips of one segment, got segments 2"):
        ClipSpec(segments=2, pairs=True)
    with pytest.raises(UserError, match="cannot have audio"):
        VideoDataset([], None, ClipSpec(modalities=("rgb", "audio"), pairs=True))
    data = BrightSquare(tmp_path)
    data.clip_spec = PAIRS
    with pytest.raises(UserError, match="nor boxes to detect"):
        data.dataset("train")
    assert "pairs" not in ClipFields.__annotations__, "whether clips come in pairs is the model's to say"
