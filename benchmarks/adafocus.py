"""AdaFocus inference time compared with full frames and the official code, by part, and with early exit.

    python benchmarks/adafocus.py [--device cuda] [--official FOLDER] [--batches 1 16]

FOLDER is "Experiments on ActivityNet, FCVID and Mini-Kinetics" of github.com/blackfeather-wang/AdaFocus, whose code
then runs with the same shapes: its loop over the frames, and its evaluation of stage 2, which also processes a random
window. Our network and the focus network that it is compared with are folded, as for deployment; the latter processes
all frames in one batch, and on a CPU also in the chunks that ours uses. "As built" compares AdaFocusNet with
torchvision's ResNet-50, neither folded nor in channels-last format. All alternate in one process; times are medians
over rounds, ratios medians of the ratio of each round. Weights are random, which does not affect time. Float32, two CPU
threads. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from vidcore.backbones import build_backbone
from vidcore.flops import count_macs
from vidcore_adafocus import AdaFocusNet
from vidcore_adafocus.exits import confidence, mean_cost, thresholds_for

FRAMES, SIZE, CLASSES = 16, 224, 200
CLIP: dict[str, Any] = {"num_classes": CLASSES, "frames": FRAMES, "size": SIZE}
NETWORKS = (("v1", 96), ("v1", 128), ("v2", 96), ("v2", 128), ("v2", 160))
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Compute budgets of early exit, as shares of the MACs of all frames."""


def timed(run: Callable[[], object], device: str) -> float:
    """Return the seconds of one run."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def by_turns(ways: dict[str, Callable[[], object]], device: str, turns: int) -> dict[str, list[float]]:
    """Return the seconds of each variant in each round, after one untimed round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, run in ways.items():
            spent = timed(run, device)
            if turn:
                times[name].append(spent)
    return times


def ratio(over: list[float], under: list[float]) -> str:
    """Return median, minimum and maximum of the ratios over rounds."""
    found = [a / b for a, b in zip(over, under, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def _untrained(build: Callable[..., nn.Module], pretrained: bool) -> nn.Module:
    return build(pretrained=False)


@contextlib.contextmanager
def official(folder: str, patch: int, batch: int, device: str) -> Iterator[Any]:
    """Load the official V1; on a CPU, its transfers to a GPU are disabled."""
    sys.path.insert(0, folder)
    stays = mock.patch.object(Tensor, "cuda", lambda self, *_: self) if device == "cpu" else contextlib.nullcontext()
    with stays, contextlib.redirect_stdout(io.StringIO()):
        from models import gfv_net  # type: ignore[import-not-found]

        plain = {name: getattr(gfv_net, name) for name in ("resnet50", "mobilenet_v2")}
        nets: dict[str, Any] = {name: partial(_untrained, build) for name, build in plain.items()}
        options = Namespace(
            num_segments=FRAMES, num_classes=CLASSES, reward="random", dataset="actnet", input_size=SIZE,
            batch_size=batch, patch_size=patch, with_glancer=True, feature_map_channels=1280, glance_size=SIZE,
            action_dim=49, hidden_state_dim=1024, policy_conv=True, gpu=0, continuous=False, gamma=0.7, policy_lr=3e-4,
            random_patch=False, dropout=0.8, consensus="gru", hidden_dim=1024,
        )  # fmt: skip
        with mock.patch.multiple(gfv_net, **nets):
            yield gfv_net.GFV(options).to(device)


def steps_of(net: Any, video: Tensor) -> None:
    """Run the official evaluation of stage 2."""
    images = video.transpose(1, 2)
    maps, features = net.glance(images.flatten(1, 2))
    for step in range(FRAMES):
        net.one_step_act(images[:, step], maps[:, step], features[:, step], restart_batch=step == 0, training=False)
    net.focuser.memory.clear_memory()


def against(arguments: argparse.Namespace) -> None:
    """Compare AdaFocus with its focus network on all full frames, and with the official code."""
    head = "| batch | network | window | ms a video | MAC ratio | to full frames | in pieces | as built |"
    print(f"{head} full frames, ms | official loop / ours | official evaluation / ours |\n|" + " --- |" * 11)
    for batch in arguments.batches:
        for variant, patch in NETWORKS:
            with contextlib.ExitStack() as stack:
                built = AdaFocusNet(variant=variant, patch=patch, **CLIP).eval().to(arguments.device)
                net = prepared(built.folded(), arguments.device)
                video = clips(batch, arguments.device)
                frames = video.transpose(1, 2).flatten(0, 1)
                ways: dict[str, Callable[[], object]] = {"ours": partial(net, video)}
                ways["full"] = partial(net.focus.backbone, frames)
                if arguments.device == "cpu":
                    ways["pieces"] = partial(net.focus, frames)
                ways["built"] = partial(built, video.contiguous())
                ways["plain"] = partial(build_backbone("resnet50").eval().to(arguments.device), frames.contiguous())
                if arguments.official and variant == "v1":
                    theirs = stack.enter_context(official(arguments.official, patch, batch, arguments.device))
                    theirs = prepared(theirs, arguments.device)
                    images = video.transpose(1, 2).flatten(1, 2)
                    flags = {"training": False, "backbone_pred": False, "one_step": True, "gpu": 0}
                    ways["loop"] = partial(theirs, input=images, scan=images, **flags)
                    ways["evaluation"] = partial(steps_of, theirs, video)
                times = by_turns(ways, arguments.device, arguments.turns)
            full = FRAMES * count_macs(net.focus, (video[:1, :, 0],)).total
            ours, dense = (1000 * statistics.median(times[name]) / batch for name in ("ours", "full"))
            pairs = (("ours", "full"), ("ours", "pieces"), ("built", "plain"))
            to_full = "".join(f" {ratio(times[a], times[b])} |" if b in times else " |" for a, b in pairs)
            peers = "".join(f" {ratio(times[way], times['ours'])} |" if way in times else " |" for way in OFFICIAL)
            print(
                f"| {batch} | {variant} | {patch} | {ours:.1f} | {net.macs_per_video() / full:.3f} |{to_full}"
                f" {dense:.1f} |{peers}",
                flush=True,
            )


OFFICIAL = ("loop", "evaluation")


def parts(arguments: argparse.Namespace) -> None:
    """Measure the parts of AdaFocus: MACs and time, relative to full frames."""
    print("\n| batch | network | window | part | MACs, of full frames | time, of full frames |\n|" + " --- |" * 6)
    for batch in arguments.batches:
        video = clips(batch, arguments.device)
        frames = video.transpose(1, 2).flatten(0, 1)
        for variant, patch in NETWORKS:
            net = prepared(
                AdaFocusNet(variant=variant, patch=patch, **CLIP).folded(),
                arguments.device,
            )
            maps, hidden = net.global_features(video), video.new_zeros(batch, net.policy.width)
            corner = net.corners(net.policy(maps, hidden)[0], video)
            ways: dict[str, Callable[[], object]] = {
                "full": partial(net.focus.backbone, frames),
                "glance": partial(net.global_features, video),
                "policy": partial(net.policy, maps, hidden),
                "focus": partial(net.local_features, video, corner),
                "classifier": partial(net.classify, maps, net.local_features(video, corner)),
            }
            times = by_turns(ways, arguments.device, arguments.turns)
            full = count_macs(net.focus, (frames[:1],)).total
            for name, part in net.components().items():
                macs = count_macs(*part).total / full
                of_full = ratio(times[name], times["full"])
                print(f"| {batch} | {variant} | {patch} | {name} | {macs:.3f} | {of_full} |", flush=True)


def exits(arguments: argparse.Namespace) -> None:
    """Measure early exit: time against MACs, relative to processing all frames."""
    print(
        "\n| batch | order | budget | MACs, of all frames | time, of all frames in one batch | of all, frame by frame |"
    )
    print("|" + " --- |" * 6)
    for batch in arguments.batches:
        video = clips(batch, arguments.device)
        for order in ("time", "middle_first"):
            torch.manual_seed(0)
            net = prepared(
                AdaFocusNet(patch=128, order=order, **CLIP).folded(),
                arguments.device,
            )
            scores = confidence(net(video).step_logits, "max_softmax").float().cpu()
            costs = net.macs_per_video() / FRAMES * torch.arange(1, FRAMES + 1, dtype=torch.float64)
            ways: dict[str, Callable[[], object]] = {"whole": partial(whole, net, video)}
            shares = {}
            for share in SHARES if batch > 1 else SHARES[-1:]:
                thresholds = thresholds_for(scores, costs, share * float(costs[-1]))
                shares[share] = mean_cost(scores, thresholds, costs) / float(costs[-1])
                ways[str(share)] = partial(early, net, video, thresholds)
            times = by_turns(ways, arguments.device, arguments.turns)
            for share, macs in shares.items():
                frames = ratio(times[str(share)], times[str(SHARES[-1])])
                of_batch = ratio(times[str(share)], times["whole"])
                print(f"| {batch} | {order} | {share} | {macs:.2f} | {of_batch} | {frames} |", flush=True)


def whole(net: AdaFocusNet, video: Tensor) -> None:
    """Process all frames in one batch."""
    net.exit_by = None
    net(video)


def early(net: AdaFocusNet, video: Tensor, thresholds: Tensor) -> None:
    """Stop once the prediction is confident."""
    net.exit_by = "max_softmax"
    net.exit_thresholds.copy_(thresholds)
    net(video)


def prepared(net: Any, device: str) -> Any:
    """Switch to eval mode and the fastest memory format of the device."""
    net.eval()  # returns None in the official code
    net.to(device, memory_format=torch.channels_last)
    for module in net.modules():
        if isinstance(module, nn.GRU):
            module.flatten_parameters()
    return net


def clips(batch: int, device: str) -> Tensor:
    """Create a random clip (B, 3, T, H, W)."""
    images = torch.randn(batch * FRAMES, 3, SIZE, SIZE, device=device).to(memory_format=torch.channels_last)
    return images.unflatten(0, (batch, FRAMES)).transpose(1, 2)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--official", metavar="FOLDER")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU, two threads"
    print(f"{where}, torch {torch.__version__}\n")
    with torch.inference_mode():
        against(arguments)
        parts(arguments)
        exits(arguments)


if __name__ == "__main__":
    main()
