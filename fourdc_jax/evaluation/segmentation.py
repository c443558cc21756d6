"""Semantic segmentation: confusion matrix, IoU and accuracy, as ScanNet's benchmark counts them.

Matrices add up: sum those of all scenes and take the scores once.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped


def confusion(
    pred: Shaped[np.ndarray, "..."],
    target: Shaped[np.ndarray, "..."],
    num_classes: int = 20,
    ignore: int = 255,
) -> Int64[np.ndarray, "c c"]:
    """Number of points of every target class (row) that were given every class (column).

    A prediction that is no class is a miss of its target class, as in the official script. The
    matrix has no column of its own for it: it is counted as a prediction of class
    `(target + 1) % num_classes`. So rows, accuracies and the target's IoU are exact; that class
    alone has a false positive which the official script leaves out, and no score is ever flattered.

    Args:
      pred: predicted classes, of any integer dtype and shape.
      target: true classes, of the same shape; points whose target is `ignore` are left out.
      num_classes: C; classes are 0 .. C-1.
      ignore: target of points without a class; it may be one of 0 .. C-1.

    Returns:
      int64 [C, C].

    Raises:
      ValueError: no integers, two shapes, a target that is neither a class nor `ignore`, or fewer
        than two classes.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}: segmentation needs at least 2 classes.")
    if pred.shape != target.shape:
        raise ValueError(
            f"pred has shape {pred.shape} and target {target.shape}: give one prediction a target."
        )
    for name, labels in (("pred", pred), ("target", target)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name} has dtype {labels.dtype}: classes must be integers.")
    labelled = target != ignore
    outside = labelled & ~is_class(target, num_classes)
    if outside.any():
        raise ValueError(
            f"target {target[outside][0]} is neither one of the {num_classes} classes "
            f"0..{num_classes - 1} nor the ignored label {ignore}: map the labels to the classes "
            "first."
        )
    # Row and column C take what is ignored and what is no class.
    row, column = (np.full(pred.shape, num_classes, np.int64) for _ in range(2))
    np.copyto(row, target, where=labelled, casting="unsafe")
    np.copyto(column, pred, where=is_class(pred, num_classes), casting="unsafe")
    size = num_classes + 1
    counts = np.bincount((row * size + column).ravel(), minlength=size**2).reshape(size, size)
    matrix = counts[:num_classes, :num_classes].astype(np.int64)
    classes = np.arange(num_classes)
    matrix[classes, (classes + 1) % num_classes] += counts[:num_classes, num_classes]
    return matrix


def is_class(labels: Shaped[np.ndarray, "..."], num_classes: int) -> Bool[np.ndarray, "..."]:
    """Where a label is one of 0 .. C-1."""
    return (labels >= 0) & (labels < num_classes)


def scores(confusion: Shaped[np.ndarray, "c c"]) -> dict[str, Any]:
    """IoU and accuracy of every class and their means, all in [0, 1].

    A class that occurs neither in targets nor in predictions is left out of the means, and so is
    the accuracy of a class without targets; both are nan in the arrays. A mean of nothing is nan.

    Args:
      confusion: [C, C], rows = target, of one scene or the sum over many.

    Returns:
      "iou" and "acc": float64 [C], intersection over union and recall; "miou" and "macc": their
      means; "overall": the fraction of all points that are right.
    """
    right = np.diagonal(confusion)  # [C]
    targets, predictions = confusion.sum(axis=1), confusion.sum(axis=0)  # [C]
    iou = divide(right, targets + predictions - right)
    acc = divide(right, targets)
    return {
        "miou": mean_of_known(iou),
        "macc": mean_of_known(acc),
        "iou": iou,
        "acc": acc,
        "overall": float(divide(right.sum(keepdims=True), targets.sum(keepdims=True))[0]),
    }


def divide(part: Shaped[np.ndarray, "c"], whole: Shaped[np.ndarray, "c"]) -> Float[np.ndarray, "c"]:
    """part / whole, nan where whole is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def mean_of_known(values: Float[np.ndarray, "c"]) -> float:
    """Mean of what is not nan; nan if nothing is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
