"""DISCOVR (arXiv 2506.11777), one clip, one view, one token, one cluster at a time."""

from __future__ import annotations

import math

Row = list[float]
Matrix = list[Row]


def softmax(values: Row) -> Row:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def cross_entropy(target: Row, logits: Row) -> float:
    """H(target, softmax(logits))."""
    pairs = zip(target, softmax(logits), strict=True)
    return -sum(t * math.log(p) for t, p in pairs)


def length(values: Row) -> float:
    return math.sqrt(sum(value * value for value in values))


def cosine(one: Row, other: Row) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / (length(one) * length(other))


def dino(
    students: list[Matrix], teacher: Matrix, centre: Row, cold: float, warm: float
) -> float:
    """Equation 1 of DINO (arXiv 2104.14294) with its centring, over clips and their views.

    ``cold`` is the teacher's temperature, ``warm`` the students'.
    """
    total, count = 0.0, 0
    for views, logits in zip(students, teacher, strict=True):
        centred = [(x - c) / cold for x, c in zip(logits, centre, strict=True)]
        target = softmax(centred)
        for view in views:
            total += cross_entropy(target, [x / warm for x in view])
            count += 1
    return total / count


def koleo(points: Matrix) -> float:
    """Equation 2 of Sablayrolles et al. (arXiv 1806.03198) on the unit sphere."""
    unit = [[x / length(point) for x in point] for point in points]
    total = 0.0
    for i, one in enumerate(unit):
        apart = [
            length([a - b for a, b in zip(one, other, strict=True)])
            for j, other in enumerate(unit)
            if i != j
        ]
        total -= math.log(min(apart))
    return total / len(points)


def sinkhorn(scores: Matrix, temperature: float, rounds: int) -> Matrix:
    """Algorithm 1 of SwAV (arXiv 2006.09882): rewrite the matrix, clusters then samples."""
    q = [[math.exp(s / temperature) for s in row] for row in scores]
    samples, clusters = range(len(q)), range(len(q[0]))
    for _ in range(rounds):
        for k in clusters:
            total = sum(q[b][k] for b in samples)
            for b in samples:
                q[b][k] /= total
        for b in samples:
            total = sum(q[b])
            for k in clusters:
                q[b][k] /= total
    return q


def largest(row: Row) -> Row:
    """One where the row is largest, zero elsewhere."""
    return [float(k == row.index(max(row))) for k in range(len(row))]


def clusters(
    predicting: Matrix,
    predicted: Matrix,
    prototypes: tuple[Matrix, Matrix],
    *,
    temperature: float,
    sharpness: float,
    rounds: int,
    hard: bool,
) -> float:
    """H(q of one side, s of the other), over tokens that belong together.

    ``prototypes`` are those of the predicting side, then those of the predicted.
    """
    own, others = prototypes
    targets = sinkhorn([[cosine(t, p) for p in others] for t in predicted], sharpness, rounds)
    total = 0.0
    for token, target in zip(predicting, targets, strict=True):
        logits = [cosine(token, p) / temperature for p in own]
        total += cross_entropy(largest(target) if hard else target, logits)
    return total / len(predicting)


def standardise(tokens: Matrix) -> Matrix:
    """Mean 0 and spread 1 of every channel over the places of one frame."""
    result = [[0.0] * len(tokens[0]) for _ in tokens]
    for channel in range(len(tokens[0])):
        values = [token[channel] for token in tokens]
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        for place, value in enumerate(values):
            result[place][channel] = (value - mean) / (spread + 1e-6)
    return result


def aligned(frames: list[Matrix], tubelet: int) -> Matrix:
    """The tokens of one clip's frames, each place averaged over the frames of its tubelet."""
    tokens = []
    for first in range(0, len(frames), tubelet):
        together = frames[first : first + tubelet]
        for place in range(len(frames[0])):
            channels = range(len(frames[0][0]))
            tokens.append([sum(f[place][c] for f in together) / tubelet for c in channels])
    return tokens


def released(
    decoded: Matrix, frames: list[Matrix], visible: list[int], tubelet: int
) -> tuple[Matrix, Matrix]:
    """The pairs of the published code (reference, defect B1): both sides in the wrong order."""
    hidden = [number for number in range(len(decoded)) if number not in visible]
    ours = [decoded[number] for number in [*visible, *hidden]]
    line = [token for frame in frames for token in frame]
    return ours, [line[number] for number in range(0, len(line), tubelet)]


def followed(teacher: Row, students: Matrix, momentum: float) -> Matrix:
    """A teacher as it is in each forward pass of the published code, which moves it first."""
    seen = []
    for student in students:
        pairs = zip(teacher, student, strict=True)
        teacher = [momentum * t + (1 - momentum) * s for t, s in pairs]
        seen.append(teacher)
    return seen
