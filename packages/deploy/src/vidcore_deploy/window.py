"""Pictures in a window, shown by ffplay."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterable

from torch import Tensor

from vidcore.errors import UserError


def require_player() -> str:
    """The path of ffplay.

    Raises:
        UserError: It is not installed.
    """
    player = shutil.which("ffplay")
    if player is None:
        raise UserError("a window is shown by ffplay, which comes with ffmpeg: install that, or --render FILE.mp4")
    return player


def show(frames: Iterable[Tensor], title: str) -> None:
    """Shows frames (3, H, W) uint8 as they come, until they end or the window is closed.

    Raises:
        UserError: ffplay is not installed.
    """
    player: subprocess.Popen[bytes] | None = None
    command = [require_player(), "-loglevel", "error", "-fflags", "nobuffer", "-window_title", title, "-f", "rawvideo"]
    try:
        for frame in frames:
            if player is None:
                size = f"{frame.shape[2]}x{frame.shape[1]}"
                options = ["-pixel_format", "rgb24", "-video_size", size, "-framerate", "1000", "-autoexit", "-"]
                player = subprocess.Popen([*command, *options], stdin=subprocess.PIPE)  # noqa: S603
            assert player.stdin is not None
            player.stdin.write(frame.permute(1, 2, 0).contiguous().numpy().tobytes())
            player.stdin.flush()
    except BrokenPipeError:
        pass  # closed by the user
    finally:
        if player is not None and player.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                player.stdin.close()  # it shows what it still has, and ends
            try:
                player.wait(timeout=2)
            except subprocess.TimeoutExpired:
                player.kill()
                player.wait()
