"""A suite, and repositories on the stand-in Hub that agree with its definition."""

import contextlib
import json

from helpers.plans import HUB
from helpers.standin import serving_here
from shapesweep.hub import client

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
DEFINITION = {
    **HUB,
    **{"repositories": ["org/a", "org/b"], "grid": ["1..3 by 1"], "license": "mit"},
    **{"gated": False, "weights": "safetensors", "architecture": "LlamaForCausalLM"},
}


@contextlib.contextmanager
def agreeing_hub(patch, folder):
    """The stand-in with two repositories that agree with `DEFINITION`, without waits."""
    patch.delenv("HF_TOKEN", raising=False)
    patch.setattr(client, "_wait", lambda _state: 0.0)
    with serving_here(patch, folder) as standin:
        for name in ("org/a", "org/b"):
            publish(standin, name)
        yield standin


def publish(standin, name, steps=(1, 2, 3), license="mit"):
    """Publish a run with a branch for each step."""
    for step in steps:
        standin.add(name, f"step{step}", model())
    standin.repositories[name].card = {"license": license}


def model(config=CONFIG, weights="model.safetensors"):
    """Return the files of a checkpoint."""
    return {"config.json": json.dumps(config).encode(), weights: b"weights"}
