"""Build a model plugin by name and run one forward pass: `python one_forward.py NAME`."""

import sys

import torch

import vidcore
from vidcore.module import VideoModule

if __name__ == "__main__":
    model = getattr(vidcore.models, sys.argv[1])(vidcore.Task.numbered(3), clip={"frames": 2, "size": 64}).eval()
    assert isinstance(model, VideoModule)
    with torch.no_grad():
        logits = model(model.example_batch()).logits
    assert logits.shape == (1, 3), logits.shape
    print(f"{sys.argv[1]}: one forward pass, logits {tuple(logits.shape)}")
