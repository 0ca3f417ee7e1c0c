"""Optical flow: computed and cached as images, or read from published images."""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
import logging
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from vidcore.errors import OptionError, UserError
from vidcore.files import cache_folder
from vidcore.ranges import check_choice
from vidcore.redaction import redacted
from vidcore.video.decoder import VideoError
from vidcore.video.frames import read_picture
from vidcore.writing import replacing

logger = logging.getLogger(__name__)

Method = Literal["farneback", "tvl1", "raft_small", "raft_large"]

BOUND = 20.0
"""Displacement in pixels per frame at the ends of the 8-bit range; larger values are clipped (TSN, Wang et al.
2016)."""

SHORT_SIDE = 256
"""Larger frames are resized to this short side in pixels before flow is computed."""

QUALITY = 95
"""JPEG quality: half the size of lossless files, mean error 0.01 pixels."""

_FIELD = re.compile(r"(?:flow_)?([xy])_(\d+)\.(?:jpe?g|png)")
_RAFT_MULTIPLE, _RAFT_LEAST = 8, 128  # RAFT requires sides that are multiples of 8, at least 128


@dataclass(frozen=True)
class FlowSource:
    """Source of the optical flow of videos.

    Args:
        method: Algorithm: ``farneback`` (Farnebäck 2003) or ``tvl1`` (Zach et al. 2007; used by most published flow),
            which need ``pip install "vidcore[flow]"``, or torchvision's ``raft_small`` or ``raft_large`` (Teed and Deng
            2020), which download weights. Default: ``farneback``.
        cache: Folder to save computed flow in, one folder of images per video; ``None`` for the user's cache, ``""``
            for no cache. Default: None.
        published: Pattern of the folder with a video's published flow, e.g. ``/data/flow/{parent}/{stem}``; nothing is
            computed. ``{stem}`` is the video's name without suffix, ``{parent}`` the name of its folder. Default: None.
        read_only: Whether not to write to ``cache``. Default: False.

    Raises:
        OptionError: ``method`` is unknown, or ``published`` does not distinguish videos.
    """

    method: Method = "farneback"
    cache: str | None = None
    published: str | None = None
    read_only: bool = False

    def __post_init__(self) -> None:
        check_choice("flow.method", self.method, get_args(Method))
        if self.published is not None:
            try:
                named = {field for _, field, _, _ in string.Formatter().parse(self.published) if field is not None}
            except ValueError:  # a single brace
                named = set()
            if "stem" not in named or named - {"stem", "parent"}:
                raise OptionError(f"flow.published must name {{stem}} and may name {{parent}}, got {self.published!r}")

    @classmethod
    def of(cls, given: FlowSource | Mapping[str, Any]) -> FlowSource:
        """Return a flow source, constructed from its fields if necessary."""
        return given if isinstance(given, FlowSource) else cls(**given)

    def fields(self, video: str) -> FlowFields:
        """Return the flow of a video, cached or still to be computed.

        Raises:
            VideoError: Published flow is missing.
        """
        path, called = Path(video), Path(redacted(video))
        if self.published is not None:
            stem = called.name if path.is_dir() else called.stem
            return FlowFields(Path(self.published.format(stem=stem, parent=path.absolute().parent.name)), None)
        if self.cache == "":
            return FlowFields(None, self.method)
        try:
            root = Path(self.cache).expanduser() if self.cache else cache_folder() / "flow"
        except OSError as error:
            _say_once(f"flow is not cached and computed again in each run: {error}")
            return FlowFields(None, self.method)
        # A changed size detects most changes of a file; a modification time would invalidate the cache of copied files.
        key = f"{path.absolute()}\0{path.stat().st_size if path.is_file() else 0}"
        digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        folder = root / self.method / f"{called.stem}_{digest}"
        return FlowFields(folder, self.method, self.cache is not None, self.read_only)


class FlowFields:
    """Flow fields of a video: field i leads from frame i to frame i + 1.

    In the folder, field i is ``flow_x_N.jpg`` and ``flow_y_N.jpg`` with N = i + 1 in five digits, as written by TSN's
    tools. Names without ``flow_``, with another number of digits, png files, and numbers from 0 are read too. A pixel
    is round((v + 20) · 255 / 40) of the displacement v in pixels; x points right, y down.

    Args:
        folder: Folder of the fields; None to keep them in memory.
        method: Algorithm for missing fields; None if they must not be computed.
        must_keep: Whether an unwritable folder is an error; otherwise it is a warning. Default: True.
        read_only: Whether not to write to the folder. Default: False.

    Raises:
        VideoError: ``method`` is None and there are no fields.
    """

    def __init__(
        self, folder: Path | None, method: Method | None, must_keep: bool = True, read_only: bool = False
    ) -> None:
        self.folder, self.method, self.must_keep, self.read_only = folder, method, must_keep, read_only
        self._files: dict[tuple[str, int], Path] = {}
        self._encoded: dict[tuple[str, int], bytes] = {}
        try:
            names = [file.name for file in folder.iterdir()] if folder is not None else []
        except OSError as error:
            if method is None:
                raise VideoError(str(folder), f"flow cannot be read: {error.strerror}") from error
            names = []
        found = [(match[1], int(match[2]), name) for name in names if (match := _FIELD.fullmatch(name))]
        base = 0 if method is None and any(number == 0 for _, number, _ in found) else 1
        if folder is not None:
            self._files = {(axis, number - base): folder / name for axis, number, name in found}
        if method is None and not found:
            raise VideoError(str(folder), "has no flow: no pictures flow_x_00001.jpg and flow_y_00001.jpg or like them")

    def missing(self, wanted: np.ndarray) -> np.ndarray:
        """Return those of the fields (N,) that must be computed.

        Raises:
            VideoError: A field of published flow is missing.
        """
        known = {field for axis, field in self._files if axis == "x" and ("y", field) in self._files}
        missing = wanted[[int(field) not in known for field in wanted]]
        if len(missing) and self.method is None:
            raise VideoError(str(self.folder), f"has flow for {len(known)} frames, and none for frame {missing[0]}")
        return missing

    def compute(self, field: int, before: Tensor, after: Tensor) -> None:
        """Compute a field from its two frames, uint8 (3, H, W), and save it.

        Raises:
            UserError: The method is not installed, its weights cannot be downloaded, or the folder is not writable.
        """
        assert self.method is not None
        for axis, picture in zip("xy", quantised(optical_flow(before, after, self.method)), strict=True):
            # Encode now, so that computed and cached flow are the same.
            content = io.BytesIO()
            Image.fromarray(picture.numpy()).save(content, "jpeg", quality=QUALITY)
            self._encoded[axis, field] = content.getvalue()
            if self.folder is not None and not self.read_only:
                try:
                    _write(self.folder / f"flow_{axis}_{field + 1:05d}.jpg", self._encoded[axis, field])
                except UserError as error:
                    if self.must_keep:
                        raise
                    reason = getattr(error.__cause__, "strerror", None) or error
                    _say_once(f"flow is computed again in each run, the user's cache is not writable: {reason}")

    def read(self, wanted: np.ndarray) -> Tensor:
        """Read the fields (N,): uint8 (N, 2, H, W), x and y.

        Raises:
            VideoError: An image cannot be decoded or differs in size.
        """
        pictures = [self._picture(axis, int(field)) for field in wanted for axis in "xy"]
        sizes = {picture.shape for picture in pictures}
        if len(sizes) > 1:
            raise VideoError(str(self.folder), f"has fields of several sizes: {sorted(sizes)}")
        return torch.from_numpy(np.stack(pictures)).unflatten(0, (-1, 2))

    def _picture(self, axis: str, field: int) -> np.ndarray:
        encoded = self._encoded.get((axis, field))
        file: Any = io.BytesIO(encoded) if encoded is not None else self._files[axis, field]
        try:
            return read_picture(file, "L")
        except Exception as error:  # Pillow may raise anything for damaged data
            advice = "" if self.method is None else "; choose another flow.cache folder"
            raise VideoError(file, f"cannot be decoded: {error}{advice}") from error


@functools.cache
def _say_once(text: str) -> None:
    logger.warning("%s", text)


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically; processes that write it at the same time write the same content."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path}: cannot save flow: {error.strerror}; choose another flow.cache folder") from error


def quantised(flow: Tensor) -> Tensor:
    """Convert displacements in pixels to uint8 of the same shape: -20 and below is 0, 20 and above is 255."""
    return ((flow.clamp(-BOUND, BOUND) + BOUND) * (255 / (2 * BOUND))).round().to(torch.uint8)


def displacements(flow: Tensor) -> Tensor:
    """Invert [`quantised`][vidcore.video.flow.quantised]: float32 pixels, accurate to 0.08."""
    return flow.float() * (2 * BOUND / 255) - BOUND


def optical_flow(before: Tensor, after: Tensor, method: Method) -> Tensor:
    """Compute the displacement of each pixel from one frame to the next.

    Frames with a short side above 256 pixels are resized to that first; displacements are in pixels of the resized
    frames.

    Args:
        before: (3, H, W) uint8 RGB.
        after: (3, H, W) uint8 RGB.
        method: See [`FlowSource`][vidcore.video.flow.FlowSource].

    Returns:
        float32 (2, H', W') in pixels; x points right, y down.

    Raises:
        UserError: The method is not installed, or its weights cannot be downloaded.
    """
    frames = torch.stack([before, after])
    if min(frames.shape[-2:]) > SHORT_SIDE:
        frames = F.resize(frames, [SHORT_SIDE], antialias=True)
    if method in ("raft_small", "raft_large"):
        return _raft(frames, method)
    cv2 = _opencv()
    first, second = (
        cv2.cvtColor(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2GRAY) for frame in frames
    )
    if method == "tvl1":
        flow = cv2.optflow.DualTVL1OpticalFlow_create().calc(first, second, None)
    else:
        # A pyramid of 3 levels, windows of 15 pixels, 3 iterations, polynomials over 5 pixels.
        flow = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    return torch.from_numpy(flow).permute(2, 0, 1)


def _opencv() -> Any:
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise UserError(f'flow needs OpenCV: pip install "vidcore[flow]" ({error})') from error
    if not hasattr(cv2, "optflow"):
        raise UserError('flow needs OpenCV with its contrib modules: replace it by pip install "vidcore[flow]"')
    cv2.setNumThreads(1)  # loaders are parallel across samples, and OpenCV's threads do not survive a fork
    return cv2


def _raft(frames: Tensor, method: Method) -> Tensor:
    height, width = frames.shape[-2:]
    more = [max(_RAFT_LEAST, -(-side // _RAFT_MULTIPLE) * _RAFT_MULTIPLE) - side for side in (height, width)]
    scaled = torch.nn.functional.pad(frames / 127.5 - 1, (0, more[1], 0, more[0]), mode="replicate")
    with torch.inference_mode():
        flow: Tensor = _raft_network(method)(scaled[:1], scaled[1:])[-1][0]
    return flow[:, :height, :width].clone()


@functools.lru_cache(maxsize=1)
def _raft_network(method: Method) -> torch.nn.Module:
    """Return the network with torchvision's weights.

    Raises:
        UserError: They cannot be downloaded.
    """
    from torchvision.models import get_model, get_model_weights

    weights = get_model_weights(method).DEFAULT
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # no network, no disk space, or a wrong checksum
        place = Path(torch.hub.get_dir()) / "checkpoints"
        raise UserError(
            f"cannot download the weights of {method} from {weights.url} ({error}): put that file into {place}, "
            "or set flow.method to farneback or tvl1"
        ) from error
    network: torch.nn.Module = get_model(method)
    network.load_state_dict(state)
    return network.eval()
