r"""A classifier that is a density too: its logits are energies of what it reads.

    p(y|x) = softmax_y f(x),      p(x) = p_0(x) sum_y exp(f_y(x)) / Z,      -log p(y|x) - log p(x)

is minimised, the second term by chains that persist. Rows without a label count in it alone. As the
reference is the same for all classes, p(y|x) is that of the logits, and p(x|y) has energy -f_y(x):
``models.ebm.classifier_ebm`` is the one or the other density.

References:
    W. Grathwohl et al., "Your Classifier is Secretly an Energy Based Model and You Should Treat it
    Like One", ICLR 2020, https://arxiv.org/abs/1912.03263.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm import _checks
from mnar_ebm.models.ebm import EBMParams, Reference, classifier_ebm
from mnar_ebm.objectives.contrastive import jem
from mnar_ebm.programs import once
from mnar_ebm.recipes import negatives
from mnar_ebm.recipes.negatives import ChainSettings, Memory
from mnar_ebm.training import Pace, Stage, Verdict, verdict
from mnar_ebm.training.stage import Loss
from mnar_ebm.types import Array, Key, PyTree


class Classifier(NamedTuple):
    """Logits of classes.

    Attributes:
        init: ``(key) -> params``.
        logits: ``(params, x [...]) -> f [Y]``.
    """

    init: Callable[[Key], PyTree]
    logits: Callable[[PyTree, Array], Array]


class Labelled(NamedTuple):
    """Rows with their classes.

    Attributes:
        x: [B, ...]
        label: whole numbers; -1 where it is not known. [B]
    """

    x: Array
    label: Array


@once
def make_stage(
    classifier: Classifier,
    reference: Reference,
    settings: ChainSettings,
    pace: Pace,
    weight: float = 1.0,
    max_gap: float = 1000.0,
) -> Stage:
    """Return the stage of the joint loss, judged by -log p(y|x) of held-out rows with a label.

    Args:
        classifier: the logits.
        reference: of what it reads.
        settings: of the chains.
        pace: how long and how fast it goes.
        weight: of log p(x) beside log p(y|x); 0: a plain classifier, without chains.
        max_gap: largest running mean of the energy gap, in nats; beyond it the stage ends.

    Raises:
        TypeError: a setting is no whole number.
        ValueError: a setting may not be as it is.
    """
    negatives.check_settings(settings)
    _checks.check_at_least("weight", weight, 0.0)
    _checks.check_positive("max_gap", max_gap)
    ebm = classifier_ebm(classifier.init, classifier.logits, reference)

    def loss(key: Key, params: Any, batch: Labelled, held_out: Any, memory: Memory) -> Loss:
        if not weight:
            return each(params, batch, batch.x, 0.0).mean(), ({}, memory)
        fixed = jax.lax.stop_gradient(params)
        drawn = negatives.draw_negatives(key, ebm, fixed, batch.x, memory, settings)
        values = each(params, batch, drawn.negatives, weight)
        energy = jax.vmap(ebm.energy, (None, 0))
        gap = (energy(fixed.energy, batch.x) - energy(fixed.energy, drawn.negatives)).mean()
        info = {"energy_gap": gap, **drawn.info}
        return values.mean(), (info, negatives.remember_gap(drawn.memory, gap))

    def each(params: EBMParams, batch: Labelled, negative: Array, weight: float) -> Array:
        def one(x: Array, label: Array, negative: Array) -> Array:
            return jem(lambda x: classifier.logits(params.energy, x), x, label, negative, weight)

        return jax.vmap(one)(batch.x, batch.label, negative)

    def evaluate(key: Key, params: EBMParams, batch: Labelled, is_row: Array) -> Verdict:
        logits = jax.vmap(lambda x: classifier.logits(params.energy, x))(batch.x)
        known = is_row & (batch.label >= 0)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.label[:, None], axis=1)[:, 0]
        is_right = logits.argmax(axis=1) == batch.label
        accuracy = jnp.mean(is_right, where=known)
        return verdict(jnp.mean(log_p, where=known), accuracy=accuracy)

    return Stage(
        "jem",
        loss,
        evaluate,
        pace,
        select=lambda params: params.energy,
        merge=lambda params, energy: params._replace(energy=energy),
        init_memory=lambda key: negatives.init_memory(key, ebm, settings, bool(weight)),
        is_lost=lambda memory: ~(jnp.abs(memory.gap) <= max_gap),
        advice="try a lower learning rate or more steps of the chains",
    )
