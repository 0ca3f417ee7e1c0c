"""Agreement of our A0 stream network with a trained one that runs in LiteRT.

    python benchmarks/movinet_trained.py a0_stream_float.npz [--graph a0_dynamic.tflite --video clip.mp4 [--frames 77]]

The ``.npz`` contains the network's variables under the official names (``var/NAME``), ``frames`` (T, 3, H, W) uint8 and
``logits`` (T, K) of the same network in LiteRT after each frame. With ``--graph``, LiteRT (``pip install
ai-edge-litert``) also runs the network's own file, with float32 weights, on frames of the video, one by one. Prints,
for each choice of activations, the maximum difference of any logit after any frame, relative to the largest logit.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from vidcore.streaming import stream
from vidcore.video import open_video
from vidcore_movinet import MoViNet, load_tensorflow_variables

HEADS = ("swish", "hard_swish")
SLOPES = {"1/6": 1 / 6, "0.16667, LiteRT's constant": 0.16667, "0.2": 0.2}


def float_graph(path: Path) -> bytes:
    """Convert the quantised weights of a LiteRT file to float32."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data, how = model.buffers[tensor.buffer].data, tensor.quantization
            if tensor.type != schema.TensorType.INT8 or data is None or how is None or how.scale is None:
                continue
            shape = [1] * len(tensor.shape)
            shape[how.quantizedDimension] = -1
            values = np.frombuffer(bytes(data), np.int8).reshape(tensor.shape).astype(np.float32)
            values = (values - how.zeroPoint.reshape(shape)) * how.scale.reshape(shape)
            model.buffers[tensor.buffer].data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
            tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def litert_logits(graph: bytes, frames: np.ndarray) -> np.ndarray:
    """Return logits (T, K) after each of the frames (T, 3, H, W) uint8."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=graph).get_signature_runner()
    inputs = runner.get_input_details()
    state = {name: np.zeros(about["shape"], about["dtype"]) for name, about in inputs.items() if name != "image"}
    logits = []
    for frame in frames:
        image = frame.transpose(1, 2, 0)[None, None].astype(np.float32) / 255
        outputs = runner(image=image, **state)
        state = {name: outputs[name] for name in state}
        logits.append(next(value for name, value in outputs.items() if name not in state)[0])
    return np.stack(logits)


def read_frames(path: Path, number: int, size: tuple[int, int]) -> np.ndarray:
    """Read the first frames of a video, resized, (T, 3, H, W) uint8."""
    with open_video(path) as video:
        frames = video.frames(list(range(min(number, video.num_frames))))
    return F.interpolate(frames.float(), size, mode="bilinear", antialias=True).round().to(torch.uint8).numpy()


def difference(
    variables: dict[str, np.ndarray], frames: np.ndarray, logits: np.ndarray, **activations: object
) -> float:
    """Return the maximum difference of any logit after any frame, relative to the largest logit."""
    net = MoViNet("a0", logits.shape[1], stream=True, **activations).eval()  # type: ignore[arg-type]
    load_tensorflow_variables(net, variables)
    clip = torch.from_numpy(frames).transpose(0, 1)[None] / 255
    ours = stream(net, clip, [1] * len(frames))[0].numpy()
    return float(np.abs(ours - logits).max() / np.abs(logits).max())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("--graph", type=Path, help="LiteRT file of the network")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--frames", type=int, default=77)
    arguments = parser.parse_args()
    with np.load(arguments.network) as arrays:
        variables = {name[4:]: arrays[name] for name in arrays.files if name.startswith("var/")}
        compared = {"its frames": (arrays["frames"], arrays["logits"])}
    if arguments.graph and arguments.video:
        graph, (stored, logits) = float_graph(arguments.graph), compared["its frames"]
        again = np.abs(litert_logits(graph, stored) - logits).max() / np.abs(logits).max()
        print(f"LiteRT with float32 weights departs by {again:.1e} from the stored logits\n")
        frames = read_frames(arguments.video, arguments.frames, stored.shape[2:])
        compared["video"] = (frames, litert_logits(graph, frames))
    columns = [f"{name} ({len(frames)} frames)" for name, (frames, _) in compared.items()]
    print(f"| head | slope of the gates | {' | '.join(columns)} |")
    print(f"| --- | --- |{' ---: |' * len(columns)}")
    for head, (label, slope) in product(HEADS, SLOPES.items()):
        found = [difference(variables, *clip, head=head, gate_slope=slope) for clip in compared.values()]
        print(f"| {head} | {label} | {' | '.join(f'{value:.1e}' for value in found)} |", flush=True)


if __name__ == "__main__":
    main()
