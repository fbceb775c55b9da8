#!/usr/bin/env bash
# One would guess: an entry of JAX's persistent compilation cache that cannot be read, because the
#   process that wrote it was killed half-way, is compiled again and replaced by a whole one.
# What happens: it is compiled again, with a warning, and the half-written file stays, for an entry that
#   exists is never written anew. Every later process compiles that program again, and warns again.
# Who is hurt: jobs that are preempted or time out while they compile, and share a cache folder: the
#   largest programs, which take longest to write, are slow from then on.
# Seen with jax 0.10.2, jaxlib 0.10.2, Linux, November 2026. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
cat > "$folder/compile.py" <<'PYTHON'
import sys
import warnings

import jax
import jax.monitoring

jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.split("/")[-1]))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((3, 3)))
about_cache = sum("compilation cache" in str(one.message) for one in told)
print(events.count("cache_hits"), events.count("cache_misses"), about_cache)
PYTHON
run() { JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/compile.py" "$folder/cache"; }
"$folder/venv/bin/pip" list 2>/dev/null | grep -E "^(jax|jaxlib) "
echo "hits, misses, warnings"
echo "first process:   $(run)"
whole=$(run)
echo "second:          $whole"
for entry in "$folder"/cache/*-cache; do  # as a write that was cut off leaves them
  head -c 100 "$entry" > "$entry.cut" && mv "$entry.cut" "$entry"
done
echo "third, cut off:  $(run)"
fourth=$(run)
echo "fourth:          $fourth"
sizes=$(stat -c %s "$folder"/cache/*-cache | sort -u)
echo "sizes of entries now: $sizes"
read -r hits misses warnings <<< "$fourth"
[ "${whole%% *}" -gt 0 ] && [ "$hits" -eq 0 ] && [ "$misses" -gt 0 ] && [ "$warnings" -gt 0 ] && [ "$sizes" = 100 ] ||
  { echo "changed"; exit 1; }
echo "as described"
