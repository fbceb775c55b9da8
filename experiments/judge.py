"""Who says how good generated images are: one classifier, its features and its classes."""

from typing import Any, NamedTuple

import numpy as np

from experiments import classifier
from mnar_ebm import metrics
from mnar_ebm.data.datasets.labelled import Parts

MAX_JUDGED = 2000
"""Most images that kernels and neighbours are computed of."""


class Judge(NamedTuple):
    """A classifier, and what it sees in images of the test.

    Attributes:
        reader: the classifier.
        largest: value of the brightest pixel.
        accuracy: of it on images of the test.
        features: of these. [N, F]
        floor: Fréchet distance of one half of them from the other.
    """

    reader: classifier.Classifier
    largest: float
    accuracy: float
    features: np.ndarray
    floor: float

    def read(self, images: np.ndarray) -> classifier.Reading:
        """Return what is seen in images in their own units. [N, D]."""
        return self.reader.read(np.asarray(images, np.float32) / np.float32(self.largest))

    def kernel_distance(self, images: np.ndarray) -> float:
        """Return the KID of images in their own units. [N, D]."""
        features = self.read(images[:MAX_JUDGED]).features
        return metrics.kernel_distance(features, self.features[:MAX_JUDGED])

    def measure(self, images: np.ndarray) -> dict[str, Any]:
        """Return all measures of images in their own units. [N, D]."""
        seen = self.read(images)
        num_classes = self.reader.network.num_classes
        shares = np.bincount(seen.labels, minlength=num_classes) / len(images)
        near = metrics.neighbourhoods(self.features[:MAX_JUDGED], seen.features[:MAX_JUDGED])
        return {
            "fid": metrics.frechet_distance(seen.features, self.features),
            "kid": self.kernel_distance(images),
            "shares": shares.tolist(),
            **near._asdict(),
        }


def make_judge(parts: Parts, num_steps: int = 1500) -> Judge:
    """Return a classifier that is trained on images, and what it sees in others."""
    largest = float(parts.train.x.max())
    scaled = [np.asarray(part.x, np.float32) / np.float32(largest) for part in parts]
    reader = classifier.fit(scaled[0], parts.train.label, num_steps)
    seen = reader.read(scaled[1])
    accuracy = float((seen.labels == parts.test.label).mean())
    half = len(seen.features) // 2
    floor = metrics.frechet_distance(seen.features[:half], seen.features[half:])
    return Judge(reader, largest, accuracy, seen.features, floor)
