#!/usr/bin/env bash
# One would guess: log_prob of a class that has a positive probability has a finite gradient, also where
#   another class has the probability zero; and log_prob is the log of prob, for a missing label too.
# What happens: with probs=[0, .5, .5], log_prob(1) is right and its gradient in probs is NaN in every
#   entry (0 times the slope of log at 0), and so is that of the entropy; written with logits, one of them
#   -inf, both gradients are finite. A label that is NaN, as pandas stores a missing one beside whole
#   numbers, has log_prob 0, certainty, and prob 0.
# Who is hurt: models that mask classes by a zero probability: one such row makes all parameters NaN. And
#   likelihoods of labels with gaps, where a gap silently counts as a perfect prediction.
# Seen with distrax 0.1.9, jax 0.10.2, Linux, November 2026. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q distrax==0.1.9 jax==0.10.2 jaxlib==0.10.2 tfp-nightly==0.26.0.dev20261027
cat > "$folder/classes.py" <<'PYTHON'
import distrax
import jax
import jax.numpy as jnp

probs, logits = jnp.array([0.0, 0.5, 0.5]), jnp.array([-jnp.inf, 0.0, 0.0])
value = distrax.Categorical(probs=probs).log_prob(1)
by_probs = jax.grad(lambda p: distrax.Categorical(probs=p).log_prob(1))(probs)
by_logits = jax.grad(lambda l: distrax.Categorical(logits=l).log_prob(1))(logits)
entropy = jax.grad(lambda l: distrax.Categorical(logits=l).entropy())(logits)
entropy_by_probs = jax.grad(lambda p: distrax.Categorical(probs=p).entropy())(probs)
print("log_prob(1):", float(value), "gradient in probs:", by_probs, "in logits:", by_logits)
print("gradient of the entropy in logits:", entropy, "in probs:", entropy_by_probs)
law, gap = distrax.Categorical(logits=jnp.array([1.0, 2.0, 3.0])), jnp.array(jnp.nan)
print("a missing label: log_prob", float(law.log_prob(gap)), "prob", float(law.prob(gap)))
assert jnp.isclose(value, jnp.log(0.5)) and jnp.isfinite(by_logits).all(), "changed"
assert jnp.isnan(by_probs).all(), "changed"
assert law.log_prob(gap) == 0 and law.prob(gap) == 0, "changed"
PYTHON
"$folder/venv/bin/pip" list 2>/dev/null | grep -E "^(distrax|jax|jaxlib|tfp-nightly) "
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore "$folder/classes.py" || { echo "changed"; exit 1; }
echo "as described"
