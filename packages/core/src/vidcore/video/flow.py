"""Optical flow: computed and kept as pictures, or read from pictures that somebody published."""

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
"""Pixels a frame that the ends of the 8 bits stand for; what is faster is clipped (TSN, Wang et al. 2016)."""

SHORT_SIDE = 256
"""Pixels to which the short side of larger frames is reduced before their flow is computed."""

QUALITY = 95
"""Of the JPEG files: half the size of lossless ones, and an error of 0.01 pixels on average."""

_FIELD = re.compile(r"(?:flow_)?([xy])_(\d+)\.(?:jpe?g|png)")
_RAFT_MULTIPLE, _RAFT_LEAST = 8, 128  # sides that RAFT can take


@dataclass(frozen=True)
class FlowSource:
    """Where the optical flow of a video comes from.

    Args:
        method: How it is computed: ``farneback`` (Farnebäck 2003) or ``tvl1`` (Zach et al. 2007; what published flow
            mostly is), which need ``pip install "vidcore[flow]"``, or torchvision's ``raft_small`` or ``raft_large``
            (Teed and Deng 2020), whose weights it downloads.
        cache: Folder in which what was computed is kept, a folder of pictures a video; ``None``: the user's cache;
            ``""``: nothing is kept.
        published: Nothing is computed: the folder that a video's fields are in, e.g. ``/data/flow/{parent}/{stem}``;
            ``{stem}`` is the video's name without ending and ``{parent}`` the name of the folder that it is in.
        read_only: Whether nothing is added to ``cache``.

    Raises:
        OptionError: An unknown method; a pattern of folders that does not tell videos apart.
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
        """It, or made of its fields."""
        return given if isinstance(given, FlowSource) else cls(**given)

    def fields(self, video: str) -> FlowFields:
        """The fields of a video, as far as there are any.

        Raises:
            VideoError: Published fields are not there.
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
            _say_once(f"flow is computed again at each start: {error}")
            return FlowFields(None, self.method)
        # The size tells most changes of a file; times would lose the cache when files are copied.
        key = f"{path.absolute()}\0{path.stat().st_size if path.is_file() else 0}"
        digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        folder = root / self.method / f"{called.stem}_{digest}"
        return FlowFields(folder, self.method, self.cache is not None, self.read_only)


class FlowFields:
    """The fields of one video: field i leads from frame i to frame i + 1.

    In the folder, field i is ``flow_x_N.jpg`` and ``flow_y_N.jpg`` with N = i + 1 in five digits, as TSN's tools write
    them; names without ``flow_``, with another number of digits, of png files, and numbers from 0 are read too. A pixel
    is round((v + 20) · 255 / 40) of the displacement v in pixels, x to the right and y downwards.

    Args:
        folder: Where they are and go; None: they are kept here.
        method: How missing ones are computed; None: they are not.
        must_keep: Whether it is an error if the folder cannot be written to, and not only a warning.
        read_only: Whether nothing is written to the folder.

    Raises:
        VideoError: Nothing is computed, and there are no fields.
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
        """Which of the fields (N,) have to be computed.

        Raises:
            VideoError: Some have, but the flow is published and ought to be there.
        """
        known = {field for axis, field in self._files if axis == "x" and ("y", field) in self._files}
        missing = wanted[[int(field) not in known for field in wanted]]
        if len(missing) and self.method is None:
            raise VideoError(str(self.folder), f"has flow for {len(known)} frames, and none for frame {missing[0]}")
        return missing

    def compute(self, field: int, before: Tensor, after: Tensor) -> None:
        """Computes a field from its two frames, uint8 (3, H, W), and keeps it.

        Raises:
            UserError: The method is not installed, its weights cannot be had, or the folder cannot be written to.
        """
        assert self.method is not None
        for axis, picture in zip("xy", quantised(optical_flow(before, after, self.method)), strict=True):
            # What is computed now must look like what is read later.
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
                    _say_once(f"flow is computed again at each start, the user's cache cannot be written to: {reason}")

    def read(self, wanted: np.ndarray) -> Tensor:
        """The fields (N,): uint8 (N, 2, H, W), x and y.

        Raises:
            VideoError: A picture cannot be decoded, or has another size.
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
        except Exception as error:  # Pillow raises many kinds for damaged data
            advice = "" if self.method is None else "; name another folder as flow cache"
            raise VideoError(file, f"cannot be decoded: {error}{advice}") from error


@functools.cache
def _say_once(text: str) -> None:
    logger.warning("%s", text)


def _write(path: Path, content: bytes) -> None:
    """Writes a file that is complete or not there; whoever else writes it at the same time writes the same."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path}: flow cannot be kept: {error.strerror}; name another folder as flow cache") from error


def quantised(flow: Tensor) -> Tensor:
    """Displacements in pixels as uint8 of the same shape: -20 and less is 0, 20 and more is 255."""
    return ((flow.clamp(-BOUND, BOUND) + BOUND) * (255 / (2 * BOUND))).round().to(torch.uint8)


def displacements(flow: Tensor) -> Tensor:
    """The inverse of :func:`quantised`: float32 pixels, to within 0.08."""
    return flow.float() * (2 * BOUND / 255) - BOUND


def optical_flow(before: Tensor, after: Tensor, method: Method) -> Tensor:
    """Where each pixel of a frame goes in the next.

    Frames whose short side is above 256 pixels are reduced to that first, and displacements count pixels of the
    reduced frames.

    Args:
        before: (3, H, W) uint8 RGB.
        after: The same.
        method: See :class:`FlowSource`.

    Returns:
        float32 (2, H', W'): x to the right and y downwards, in pixels.

    Raises:
        UserError: The method is not installed, or its weights cannot be had.
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
        raise UserError('flow needs an OpenCV with its contributed modules: pip install "vidcore[flow]" in its place')
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
    """The network with the weights that torchvision publishes.

    Raises:
        UserError: They cannot be downloaded.
    """
    from torchvision.models import get_model, get_model_weights

    weights = get_model_weights(method).DEFAULT
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # no network, no room; a checksum that differs
        place = Path(torch.hub.get_dir()) / "checkpoints"
        raise UserError(
            f"the weights of {method} cannot be had from {weights.url} ({error}): put that file into {place}, "
            "or choose flow method farneback or tvl1"
        ) from error
    network: torch.nn.Module = get_model(method)
    network.load_state_dict(state)
    return network.eval()
