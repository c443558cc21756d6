#!/usr/bin/env bash
# optax 0.2.8 with jax 0.10.2: Adam and AdamW cannot take a step while
# jax_numpy_dtype_promotion is "strict", with plain float32 parameters and gradients. SGD, Lion,
# RMSprop and Adagrad can. Adam's bias correction raises a Python float to the power of its int32
# step count, a promotion that strict mode refuses.
#
# Seen:
#   sgd ok, adam TypePromotionError, adamw TypePromotionError, lion ok, rmsprop ok, adagrad ok
#
# Installs into a temporary folder; fails if this behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check jax==0.10.2 optax==0.2.8

cat > "$work/step.py" <<'PYTHON'
import jax
import jax.numpy as jnp
import optax

jax.config.update("jax_numpy_dtype_promotion", "strict")
params = {"w": jnp.ones(3, jnp.float32)}
seen = []
for name in ("sgd", "adam", "adamw", "lion", "rmsprop", "adagrad"):
    optimizer = getattr(optax, name)(0.1)
    state = optimizer.init(params)
    try:
        optimizer.update(params, state, params)
        seen.append(f"{name} ok")
    except Exception as error:
        seen.append(f"{name} {type(error).__name__}")
print(", ".join(seen))
PYTHON
seen=$(JAX_PLATFORMS=cpu "$work/venv/bin/python" "$work/step.py")
echo "$seen"
expected='sgd ok, adam TypePromotionError, adamw TypePromotionError, lion ok, rmsprop ok, adagrad ok'
[ "$seen" = "$expected" ] || { echo "changed: expected '$expected'" >&2; exit 1; }
