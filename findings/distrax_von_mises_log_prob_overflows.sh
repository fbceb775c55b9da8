#!/usr/bin/env bash
# One would guess: the log-density of a von Mises distribution is finite, whatever its concentration; the
#   same object draws samples and tells its entropy without trouble.
# What happens: in float32 log_prob is -inf at every point, the mode too, from a concentration of about 89
#   on (a standard deviation of 6 degrees). The normaliser takes the log of I0, which has overflowed, and
#   not of its exponentially scaled form. Gradients are NaN.
# Who is hurt: fits of directions, phases and times of day by maximum likelihood or in a VAE: concentrations
#   grow as the fit improves, and the loss is suddenly infinite.
# Seen with distrax 0.1.9, jax 0.10.2, Linux, November 2026. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q distrax==0.1.9 jax==0.10.2 jaxlib==0.10.2 tfp-nightly==0.26.0.dev20261027
cat > "$folder/concentrated.py" <<'PYTHON'
import math

import distrax
import jax
import jax.numpy as jnp

for concentration in (80.0, 100.0, 10_000.0):
    law = distrax.VonMises(jnp.float32(0.3), jnp.float32(concentration))
    at_mode = float(law.log_prob(jnp.float32(0.3)))
    slope = jax.grad(lambda c: distrax.VonMises(0.3, c).log_prob(0.3))(jnp.float32(concentration))
    spread = float(law.sample(seed=jax.random.key(0), sample_shape=(10_000,)).std())
    right = 0.5 * math.log(concentration / (2 * math.pi))  # to 1 / (8 concentration)
    print(f"concentration {concentration:g}: log_prob at the mode {at_mode:.3f}, right {right:.3f}, "
          f"gradient {float(slope):.3g}, sd of samples {spread:.4f}, entropy {float(law.entropy()):.3f}")
    if concentration < 89:
        assert abs(at_mode - right) < 0.01, "changed"
    else:
        assert at_mode == -math.inf and math.isnan(float(slope)), "changed"
    assert abs(spread * concentration**0.5 - 1) < 0.05, "changed"
PYTHON
"$folder/venv/bin/pip" list 2>/dev/null | grep -E "^(distrax|jax|jaxlib|tfp-nightly) "
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore "$folder/concentrated.py" || { echo "changed"; exit 1; }
echo "as described"
