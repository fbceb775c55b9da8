#!/usr/bin/env bash
# One would guess: a step of lax.scan takes as long as the same function compiled alone.
# What happens: on a CPU the gradient of a small convolutional net takes several times as long as a
#   step of a loop: 10.4 ms of a processor in place of 2.2 for 64 images, for within loops XLA does not
#   call its fast kernels of convolutions. Patches and matrix products take as long in a loop as alone.
# Who is hurt: chains (Langevin, replay) and training loops of convolutional nets on a CPU.
# Seen with jax 0.10.2, jaxlib 0.10.2, Linux, November 2026. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
"$folder/venv/bin/pip" list 2>/dev/null | grep -E "^(jax|jaxlib) "
cat > "$folder/seconds.py" <<'PYTHON'
import time

import jax
from jax import lax

CHANNELS = (1, 16, 32, 32)
KERNELS = [
    0.1 * jax.random.normal(jax.random.key(number), (3, 3, *widths))
    for number, widths in enumerate(zip(CHANNELS, CHANNELS[1:], strict=False))
]
IMAGES = jax.random.normal(jax.random.key(9), (64, 28, 28, 1))


def energy(image):
    """Return a scalar of an image by convolutions of stride 2."""
    hidden = image[None]
    for kernel in KERNELS:
        numbers = ("NHWC", "HWIO", "NHWC")
        hidden = lax.conv_general_dilated(hidden, kernel, (2, 2), "SAME", None, None, numbers)
        hidden = jax.nn.silu(hidden)
    return hidden.sum()


def seconds(function):
    """Return the least processor seconds of five calls, after one that compiles."""
    jax.block_until_ready(function(IMAGES))
    spent = []
    for _ in range(5):
        started = time.process_time()
        jax.block_until_ready(function(IMAGES))
        spent.append(time.process_time() - started)
    return min(spent)


gradient = jax.vmap(jax.grad(energy))


def climb(images, _):
    """Return images a little further up."""
    return images + 1e-4 * gradient(images), None


alone = seconds(jax.jit(gradient))
looped = seconds(jax.jit(lambda images: lax.scan(climb, images, None, length=20)[0])) / 20
print(f"jax {jax.__version__}: {1e3 * alone:.1f} ms alone, {1e3 * looped:.1f} ms in a loop")
assert looped > 2 * alone, "convolutions in loops are as fast as alone by now"
PYTHON
"$folder/venv/bin/python" "$folder/seconds.py"
