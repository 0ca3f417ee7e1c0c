"""Videos and classes are ranked by what the model said, however large its logits are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidcore import Output, Task
from vidcore.metrics import ClassificationMetrics, average_precision, probabilities, video_scores
from vidcore.prediction import video_rows

SEVERAL = Task("multi_label", ("a", "b"))


def reference_average_precision(scores, target):
    """Mean precision at the rank of each positive; scores are distinct."""
    held = target[np.argsort(-scores)]
    return (np.cumsum(held) / np.arange(1, len(held) + 1))[held == 1].mean()


def judged(task, *batches):
    metrics = ClassificationMetrics(task)
    for logits, target, ids in batches:
        metrics.update(logits, target, ids)
    return {name: float(value) for name, value in metrics.compute().items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    ("positives", "negatives"),
    [((30.0, 40.0), (20.0, 25.0)), ((-25.0, -20.0), (-60.0, -110.0)), ((2e4, 6e4), (1e4, 500.0)), ((80.0,), (17.0,))],
)
def test_saturated_logits_are_ranked_by_their_order(dtype, positives, negatives):
    column = torch.tensor([*negatives, *positives], dtype=dtype)
    target = torch.tensor([0.0] * len(negatives) + [1.0] * len(positives))
    ids = [str(index) for index in range(len(column))]
    logits, targets = torch.stack([column, -column], 1), torch.stack([target, 1 - target], 1)
    assert judged(SEVERAL, (logits, targets, ids)) == {"map": 1.0}
    reverse = judged(SEVERAL, (logits, 1 - targets, ids))["map"]
    columns = zip(logits.double().T.numpy(), 1 - targets.T.numpy(), strict=True)
    assert reverse == pytest.approx(np.mean([reference_average_precision(*column) for column in columns]))


def test_infinite_logits_rank_first_and_last():
    column = torch.tensor([-torch.inf, 1.0, 6e4, torch.inf], dtype=torch.float16)
    target = torch.tensor([0.0, 0.0, 0.0, 1.0])
    assert judged(Task("multi_label", ("a",)), (column[:, None], target[:, None], list("abcd"))) == {"map": 1.0}


def test_map_equals_the_reference_where_nothing_saturates():
    generator = torch.Generator().manual_seed(0)
    task = Task("multi_label", tuple("abcde"))
    logits = torch.randn(180, 5, generator=generator)
    target = (torch.rand(60, 5, generator=generator) < 0.3).float()
    ids = [str(index % 60) for index in range(180)]  # three views each
    mean = (1 / (1 + np.exp(-logits.double().numpy()))).reshape(3, 60, 5).mean(0)
    wanted = np.mean([reference_average_precision(mean[:, k], target[:, k].numpy()) for k in range(5)])
    found = judged(task, *((logits[at : at + 60], target, ids[at : at + 60]) for at in (0, 60, 120)))
    assert found["map"] == pytest.approx(wanted, abs=1e-6)
    videos = torch.arange(180) % 60
    np.testing.assert_allclose(probabilities(video_scores(logits, task, videos), task), mean, rtol=1e-6)
    single = Task.numbered(5)
    mean = torch.softmax(logits, -1).view(3, 60, 5).mean(0)
    torch.testing.assert_close(probabilities(video_scores(logits, single, videos), single), mean)


def test_averaged_views_keep_their_order_where_probabilities_saturate():
    # Mean probabilities 1 - (q1 + q2) / 2; of "b" the complement is the smaller one, although its mean logit is too.
    views = torch.tensor([[20.0, 25.0], [60.0, 27.0]])
    (scores,) = video_scores(views, SEVERAL)
    complement = np.exp(-views.double().numpy()).mean(0)
    np.testing.assert_allclose(scores, -np.log(complement), rtol=1e-7)
    assert scores[1] > scores[0]
    target = torch.tensor([[0.0], [1.0], [0.0]])
    one = Task("multi_label", ("a",))
    first, second = torch.tensor([[20.0], [25.0], [18.0]]), torch.tensor([[60.0], [27.0], [19.0]])
    assert judged(one, (first, target, list("xyz")), (second, target, list("xyz"))) == {"map": 1.0}


def test_top5_and_top1_see_classes_whose_softmax_is_zero():
    logits = torch.tensor([[500.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 1e-9, 0.0, 0.0, 0.0, 0.0, 1.0 + 1e-7]])
    found = judged(Task.numbered(7), (logits, torch.tensor([3, 6]), ["a", "b"]))
    assert found["top5"] == 1.0
    assert found["top1"] == 0.5


def test_ties_of_scores_stay_ties_and_nan_stays_nan():
    scores = torch.tensor([[0.0, 1.0], [0.0, torch.nan], [0.0, 3.0]])
    each = average_precision(scores, torch.tensor([[1, 0], [0, 1], [0, 1]]))
    assert float(each[0]) == pytest.approx(1 / 3)
    assert each[1].isnan()


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_rows_hold_probabilities_in_the_order_of_the_logits(kind):
    task = Task(kind, tuple("abcdefg"))
    logits = torch.tensor([[20.0, 60.0, 40.0, 30.0, 25.0, 200.0, 18.0]])
    (row,) = video_rows(Output(logits), ["x"], task, torch.zeros(1), 0.0)
    assert [found["class"] for found in row["top"]] == list("fbcde")
    assert [found["score"] for found in row["top"]] == ([1.0] * 5 if kind == "multi_label" else [1.0, 0, 0, 0, 0])
