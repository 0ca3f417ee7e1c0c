"""Checkpoint and weights files that are wrong in one way each."""

from __future__ import annotations

import copy
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Checkpoint = dict[str, Any]


def changed(*keys: Any, to: Any) -> Callable[[Checkpoint], Any]:
    """A change of one entry, found by its keys; an exception class as value: the entry is removed."""

    def change(checkpoint: Checkpoint) -> Any:
        place: Any = checkpoint
        for key in keys[:-1]:
            place = place[key]
        if to is KeyError:
            del place[keys[-1]]
        else:
            place[keys[-1]] = to
        return checkpoint

    return change


def only(value: Any) -> Callable[[Checkpoint], Any]:
    return lambda checkpoint: value


def first(change: Callable[[torch.Tensor], Any]) -> Callable[[Checkpoint], Any]:
    """A change of the first tensor of the state dict."""

    def apply(checkpoint: Checkpoint) -> Any:
        name = next(name for name, value in checkpoint["state_dict"].items() if value.is_floating_point())
        checkpoint["state_dict"][name] = change(checkpoint["state_dict"][name])
        return checkpoint

    return apply


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def quantised(value: torch.Tensor) -> torch.Tensor:
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


HP, TASK = "hyper_parameters", ("hyper_parameters", "task")

# The description of the model: wrong for whoever reads it.
DESCRIPTION: dict[str, Callable[[Checkpoint], Any]] = {
    "hp_list": changed(HP, to=[1, 2]),
    "hp_int": changed(HP, to=3),
    "hp_none": changed(HP, to=None),
    "hp_text": changed(HP, to="task _class_path"),
    "hp_missing": changed(HP, to=KeyError),
    "hp_empty": changed(HP, to={}),
    "hp_keys": changed(HP, 3, to=1),
    "hp_empty_key": changed(HP, "", to=1),
    "task_text": changed(*TASK, to="single_label"),
    "task_none": changed(*TASK, to=None),
    "task_list": changed(*TASK, to=["a", "b"]),
    "task_empty": changed(*TASK, to={}),
    "task_more": changed(*TASK, to={"kind": "single_label", "classes": ["a"], "colour": 1}),
    "task_kind": changed(*TASK, "kind", to="cats"),
    "task_kind_list": changed(*TASK, "kind", to=["single_label"]),
    "classes_none": changed(*TASK, "classes", to=None),
    "classes_int": changed(*TASK, "classes", to=3),
    "classes_text": changed(*TASK, "classes", to="abc"),
    "classes_empty": changed(*TASK, "classes", to=[]),
    "classes_ints": changed(*TASK, "classes", to=[1, 2, 3]),
    "classes_lists": changed(*TASK, "classes", to=[["a"], ["b"], ["c"]]),
    "classes_twice": changed(*TASK, "classes", to=["a", "a", "b"]),
    "classes_mapping": changed(*TASK, "classes", to={"a": 0, "b": 1, "c": 2}),
    "class_path_int": changed(HP, "_class_path", to=5),
    "class_path_none": changed(HP, "_class_path", to=None),
    "class_path_empty": changed(HP, "_class_path", to=""),
    "class_path_dots": changed(HP, "_class_path", to="..a..b."),
    "class_path_group": changed(HP, "_class_path", to="vidcore.models."),
    "class_path_unknown": changed(HP, "_class_path", to="vidcore.models.nothing"),
    "class_path_data": changed(HP, "_class_path", to="vidcore.data.colours"),
    "class_path_no_model": changed(HP, "_class_path", to="vidcore.task.Task"),
    "class_path_function": changed(HP, "_class_path", to="os.system"),
    "class_path_base": changed(HP, "_class_path", to="vidcore.module.VideoModule"),
    "clip_text": changed(HP, "clip", to="abc"),
    "clip_list": changed(HP, "clip", to=[1]),
    "clip_field": changed(HP, "clip", to={"colour": 1}),
    "clip_value": changed(HP, "clip", to={"frames": "many"}),
    "clip_zero": changed(HP, "clip", to={"frames": 0}),
    "clip_none": changed(HP, "clip", to={"size": None}),
    "optim_text": changed(HP, "optim", to="fast"),
    "optim_field": changed(HP, "optim", to={"colour": 1}),
    "argument_unknown": changed(HP, "colour", to="red"),
    "argument_junk": changed(HP, "clip", to=nested(200)),
    "argument_tensor": changed(HP, "clip", to=torch.ones(2)),
    "version_missing": changed("pytorch-lightning_version", to=KeyError),
    "version_int": changed("pytorch-lightning_version", to=3),
    "version_none": changed("pytorch-lightning_version", to=None),
    "version_text": changed("pytorch-lightning_version", to="new"),
}

# What it was trained on, and where the training was.
TRAINING: dict[str, Callable[[Checkpoint], Any]] = {
    "data_list": changed("datamodule_hyper_parameters", to=[1]),
    "data_none": changed("datamodule_hyper_parameters", to=None),
    "data_class_path": changed("datamodule_hyper_parameters", "_class_path", to=5),
    "data_model": changed("datamodule_hyper_parameters", "_class_path", to="vidcore.models.mean"),
    "data_unknown": changed("datamodule_hyper_parameters", "_class_path", to="vidcore.data.nothing"),
    "data_argument": changed("datamodule_hyper_parameters", "colour", to=1),
    "data_value": changed("datamodule_hyper_parameters", "per_class", to="many"),
    "data_flow": changed("datamodule_hyper_parameters", "flow", to="fast"),
    "data_flow_field": changed("datamodule_hyper_parameters", "flow", to={"colour": 1}),
    "stage_text": changed("stage", to="first"),
    "loops_list": changed("loops", to=[1]),
    "loops_none": changed("loops", to=None),
    "loops_empty": changed("loops", to={}),
    "loops_progress": changed("loops", "fit_loop", "epoch_progress", to=3),
    "loops_missing": changed("loops", to=KeyError),
    "epoch_text": changed("epoch", to="third"),
    "seed_text": changed("seed", to="abc"),
    "optimizer_missing": changed("optimizer_states", to=KeyError),
    "optimizer_none": changed("optimizer_states", to=None),
    "optimizer_empty": changed("optimizer_states", to=[]),
    "optimizer_text": changed("optimizer_states", to=["abc"]),
    "optimizer_groups": changed("optimizer_states", 0, "param_groups", to=[]),
    "optimizer_shape": changed("optimizer_states", 0, "state", 0, "exp_avg", to=torch.ones(7)),
    "optimizer_value": changed("optimizer_states", 0, "state", 0, "exp_avg", to="abc"),
    "schedule_missing": changed("lr_schedulers", to=KeyError),
    "schedule_text": changed("lr_schedulers", to=["abc"]),
    "callbacks_text": changed("callbacks", to="abc"),
}

# The weights in it.
STATE: dict[str, Callable[[Checkpoint], Any]] = {
    "state_missing": changed("state_dict", to=KeyError),
    "state_none": changed("state_dict", to=None),
    "state_list": changed("state_dict", to=[torch.ones(2)]),
    "state_text": changed("state_dict", to="abc"),
    "state_empty": changed("state_dict", to={}),
    "state_unknown": changed("state_dict", "net.9.weight", to=torch.ones(2)),
    "state_key": changed("state_dict", 3, to=torch.ones(2)),
    "state_lacks": changed("state_dict", "net.0.bias", to=KeyError),
    "state_shape": first(lambda value: value[:-1].clone()),
    "state_scalar": first(lambda value: torch.tensor(1.0)),
    "state_number": first(lambda value: 3),
    "state_value_text": first(lambda value: "abc"),
    "state_value_none": first(lambda value: None),
    "state_numbers": first(lambda value: value.tolist()),
    "state_sparse": first(lambda value: value.to_sparse()),
    "state_quantised": first(quantised),
    "state_complex": first(lambda value: value.to(torch.complex64)),
    "state_meta": first(lambda value: value.to("meta")),
}

WHOLE: dict[str, Callable[[Checkpoint], Any]] = {
    "list": only([1, 2]),
    "number": only(3),
    "nothing": only(None),
    "tensor": only(torch.ones(3)),
    "empty_mapping": only({}),
    "text_value": only("abc"),
    "plain_state_dict": lambda checkpoint: checkpoint["state_dict"],
}


def written(folder: Path, checkpoint: Checkpoint, changes: dict[str, Callable[[Checkpoint], Any]]) -> dict[str, Path]:
    """Writes a file for each change and returns them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, change in changes.items():
        torch.save(change(copy.deepcopy(checkpoint)), folder / f"{name}.ckpt")
    return {name: folder / f"{name}.ckpt" for name in changes}


def write_files(folder: Path, checkpoint: Checkpoint) -> dict[str, Path]:
    """Writes files that are no checkpoints, or not whole, and returns them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    torch.save(checkpoint, content)
    whole = content.getvalue()
    legacy = io.BytesIO()
    torch.save(checkpoint, legacy, _use_new_zipfile_serialization=False)
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    contents = {
        "empty.ckpt": b"",
        "byte.ckpt": b"\0",
        "text.ckpt": b"hello, this is no checkpoint\n" * 50,
        "random.ckpt": bytes(torch.randint(0, 256, (5000,), generator=torch.Generator().manual_seed(0)).tolist()),
        "pickle.ckpt": pickle.dumps({"state_dict": {}, "hyper_parameters": {}}),
        "pickle_object.ckpt": pickle.dumps(Path("x")),
        **{f"cut_{part}.ckpt": whole[: len(whole) * part // 100] for part in (1, 30, 60, 99)},
        "cut_by_one.ckpt": whole[:-1],
        "cut_legacy.ckpt": legacy.getvalue()[:-300],
        "damaged.ckpt": whole[:200] + bytes(300) + whole[500:],
        "empty.safetensors": b"",
        "text.safetensors": b"hello, this is no checkpoint\n" * 50,
        "checkpoint.safetensors": whole,
        "huge_header.safetensors": struct.pack("<Q", 2**62) + header + bytes(8),
        "no_json.safetensors": struct.pack("<Q", 8) + b"{{{{{{{{" + bytes(8),
        "list.safetensors": struct.pack("<Q", 4) + b"[1] " + bytes(8),
        "beyond.safetensors": struct.pack("<Q", len(header)) + header + bytes(4),
        "dtype.safetensors": struct.pack("<Q", len(header)) + header.replace(b"F32", b"X32") + bytes(8),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    with zipfile.ZipFile(folder / "zip.ckpt", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with zipfile.ZipFile(folder / "zip_empty.ckpt", "w"):
        pass
    save_file({"a": torch.ones(2)}, folder / "other.safetensors")
    save_file({}, folder / "none.safetensors")
    (folder / "folder.ckpt").mkdir()
    (folder / "loop.ckpt").symlink_to("loop.ckpt")
    (folder / "nowhere.ckpt").symlink_to("not_there")
    os.mkfifo(folder / "pipe.ckpt")
    names = sorted(path.name for path in folder.iterdir())
    return {name: folder / name for name in [*names, "missing.ckpt"]} | {"device": Path("/dev/zero")}
