"""``vid export``: a model as ONNX or torch.export, checked against eager."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from vidcore.cli.parsing import ModelParser, load_model
from vidcore.errors import UsageError, UserError
from vidcore.files import expand_paths

ENDINGS = {
    ".onnx": ("onnx", ("onnx", "onnxscript", "onnxruntime")),
    ".tflite": ("litert", ("litert_torch", "ai_edge_litert")),
    ".pt2": ("", ()),
}
"""Of the formats: the extra, and the packages of it, that each needs."""


def main(command: str, argv: list[str]) -> None:
    """Writes the file and says how far it is from eager."""
    parser = ModelParser(
        command,
        "Write a model as ONNX (.onnx) or torch.export (.pt2), the step of a stream also for LiteRT (.tflite). "
        "The graph takes uint8 RGB frames (B, 3, T, H, W), normalises them and returns logits; it is checked against "
        "eager on real clips and on noise.",
    )
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="clips to check on; none: a video is made")
    parser.add_argument(
        "--step", action="store_true", help="one frame of a stream, with the state as inputs and outputs"
    )
    parser.add_argument(
        "--int8", action="store_true", help="quantise the step to the values that arise from the VIDEOs; .onnx only"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="model.onnx, model.pt2 or step.tflite")
    arguments = parser.parse(argv)
    ending = Path(arguments.output).suffix
    if ending not in ENDINGS:
        raise UsageError(f"--output {arguments.output} must end in {', '.join(ENDINGS)}")
    if ending == ".tflite" and not arguments.step:
        raise UsageError("a .tflite file holds the step of a stream: add --step")
    extra, packages = ENDINGS[ending]
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'writing {ending} needs {", ".join(missing)}: pip install "vidcore-deploy[{extra}]"')
    if arguments.int8 and not (arguments.step and arguments.videos and ending == ".onnx"):
        raise UsageError("--int8 needs --step, an --output .onnx, and VIDEOs of the kind that the model will see")
    paths = expand_paths(arguments.videos)
    model = load_model(arguments, trained=True)

    from vidcore_deploy.export import export
    from vidcore_deploy.step import export_step

    if arguments.step:
        exported = export_step(model, arguments.output, paths, arguments.int8)
    else:
        exported = export(model, arguments.output, paths)
    for found in exported.differences:
        print(f"on {found.clips}: logits differ by {found.absolute:.2g}, {found.relative:.2g} of the largest")
    batch = "any number of clips a batch" if exported.dynamic else "one clip a batch: the model fixes it"
    if arguments.step:
        batch = "one frame of one stream"
    print(f"{exported.path}: {exported.path.stat().st_size / 1e6:.1f} MB, {batch}")
