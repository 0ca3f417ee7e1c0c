"""Published weights: records of where and what they are, safe reading of weight files."""

from __future__ import annotations

import hashlib
import re
import urllib.error
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from safetensors import SafetensorError
from torch import Tensor

from vidcore.clip import ClipSpec
from vidcore.errors import UserError, one_line
from vidcore.files import sha256
from vidcore.video.limits import LimitError, check_checkpoint
from vidcore.writing import replacing, write_whole


@dataclass(frozen=True)
class Weights:
    """One set of published weights; a method lists its own as the members of an enum.

    Args:
        url: Where the file is: ``https://…`` or ``file://…``.
        sha256: Its checksum, 64 hexadecimal digits; empty where the publisher gives none: then that of the first
            download is kept beside the file, and every later one must have it.
        classes: Class names in the order of the classifier.
        clip_spec: What the weights were trained on.
        metrics: Published figures by name, e.g. ``{"top1": 0.7228, "gmacs": 2.7}``.
        options: Options of the model that these weights were trained with and that differ between weights, e.g.
            ``{"head": "swish"}``; the model sets them when it loads the weights.
    """

    url: str
    sha256: str
    classes: tuple[str, ...]
    clip_spec: ClipSpec
    metrics: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pinned_by(self) -> str:
        """What fixes the bytes at the address: ``sha256``, ``revision`` (the address names a commit) or ``nothing``."""
        return "sha256" if self.sha256 else "revision" if re.search(r"/[0-9a-f]{40}/", self.url) else "nothing"

    def fetch(self, folder: str | Path | None = None) -> Path:
        """The file on this machine, downloaded unless it is there already; its checksum is verified either way.

        Args:
            folder: Where it is kept; by default torch's hub folder.

        Raises:
            UserError: It cannot be downloaded, or its checksum is wrong; a wrong file is not kept.
        """
        folder = Path(folder or Path(torch.hub.get_dir()) / "checkpoints")
        # The whole address tells apart files of one name.
        path = folder / f"{hashlib.sha256(self.url.encode()).hexdigest()[:8]}-{self.url.rsplit('/', 1)[-1]}"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with replacing(path) as part:
                    torch.hub.download_url_to_file(self.url, str(part))
            except (urllib.error.URLError, OSError) as error:
                raise UserError(f"{self.url} cannot be downloaded: {error}") from error
        self._verify(path)
        return path

    def _verify(self, path: Path) -> None:
        found, record = sha256(path), path.with_name(path.name + ".sha256")
        wanted = self.sha256 or (record.read_text(encoding="ascii").strip() if record.exists() else "")
        if not wanted:
            write_whole(record, found.encode())
            rank_zero_info(f"{self.url}: no checksum was published; from now on it must have sha256 {found}")
        elif found != wanted:
            path.unlink()
            kept = "" if self.sha256 else f"; the sum of the first download is in {record}"
            raise UserError(f"{self.url} has sha256 {found}, not {wanted}: the file was removed, try again{kept}")


def reason_of(error: Exception) -> str:
    """Why ``torch.load(weights_only=True)`` refused a file; torch's own text advises to run the code in it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    if found:
        return f"it holds {found[1]}; only tensors and plain values are read, since other objects can run code"
    return "it is empty, cut off or damaged, or torch.save did not write it"


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file, a Lightning checkpoint or a saved state dict; nothing in it is executed.

    Raises:
        UserError: No such file, or it holds something else than tensors.
    """
    content = load_safely(path, "weights file")
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not content or not all(isinstance(name, str) for name in content):
        raise UserError(f"{path} holds no state dict: it must map names to tensors")
    for name, value in content.items():
        if problem := not_plain(value):
            raise UserError(f"{path} holds no state dict of plain tensors: {name} is {problem}")
    return content


def load_safely(path: str | Path, what: str) -> Any:
    """The content of a safetensors file, or of one that ``torch.save`` wrote; nothing in it is executed.

    Args:
        path: The file.
        what: What it should be, for the error: ``checkpoint`` or ``weights file``.

    Raises:
        UserError: No such file, or it cannot be read.
    """
    file = Path(path)
    try:
        if not file.is_file():
            kind = "a folder" if file.is_dir() else "neither a file nor a folder" if file.exists() else ""
            raise UserError(f"no {what} at {path}{f': it is {kind}' if kind else ''}")
        if not file.stat().st_size:
            raise UserError(f"no {what} in {path}: the file is empty")
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        check_checkpoint(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol of files that are refused anyway
            return torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except LimitError as error:
        raise UserError(f"{path} is no {what} that can be read safely: it {error}") from error
    except Exception as error:  # torch and safetensors raise many kinds for what is not theirs
        reason = one_line(error) if isinstance(error, SafetensorError) else reason_of(error)
        raise UserError(f"{path} is no {what} that can be read safely: {reason}") from error


def not_plain(value: Any) -> str:
    """Why a value is not a tensor with its numbers in memory, as weights must be; empty if it is one."""
    if not isinstance(value, Tensor):
        return f"no tensor but {type(value).__name__}"
    if value.is_meta:
        return "a tensor without numbers (device meta)"
    if value.is_quantized or value.layout != torch.strided:
        return f"a {'quantised' if value.is_quantized else 'sparse'} tensor"
    return ""


def other_classifier(
    theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], num_classes: int, message: str
) -> set[str]:
    """Names of the parameters of a classifier that is in ``theirs`` for another number of classes than ours.

    Raises:
        UserError: Anything else is missing, unknown, or of another shape; its text begins with ``message``.
    """
    different = {name for name in theirs.keys() & ours.keys() if theirs[name].shape != ours[name].shape}
    other = {
        name
        for name in different
        if theirs[name].dim() == ours[name].dim() and ours[name].shape == (num_classes, *theirs[name].shape[1:])
    }
    wrong = [
        f"{name} is {list(theirs[name].shape)}, not {list(ours[name].shape)}" for name in sorted(different - other)
    ]
    wrong += [
        f"{name} is {theirs[name].dtype}, not {ours[name].dtype}"
        for name in sorted(theirs.keys() & ours.keys())
        if not torch.can_cast(theirs[name].dtype, ours[name].dtype)
    ]
    wrong += [f"{name} is missing" for name in sorted(ours.keys() - theirs.keys())]
    wrong += [f"{name} is unknown" for name in sorted(theirs.keys() - ours.keys())]
    if wrong:
        more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise UserError(f"{message}: {'; '.join(wrong[:5])}{more}")
    return other
