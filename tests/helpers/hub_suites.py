"""Miniature suites for the stand-in Hub, in all modes and with weights in all formats."""

import io
import os
import shutil

import torch
import transformers
from safetensors.torch import load, save

from helpers.models import tiny_bert, tiny_bloom, tiny_neox, trajectory
from helpers.plans import HUB

NEOX = {**HUB, "repositories": ["Org/neox"]}


def files(saved, folder, form="safetensors"):
    """Return the files of a model or tokenizer. The weights have the format `form`."""
    shutil.rmtree(folder, ignore_errors=True)
    saved.save_pretrained(folder, **({"max_shard_size": "20KB"} if form == "sharded" else {}))
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    if form == "bin":
        del found["model.safetensors"]
        found["pytorch_model.bin"] = pickled(saved.state_dict())
    return found


def pickled(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Evil:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch '{self.path}'",))


def changed(content, change):
    """Change the weights of a safetensors file, and return the new bytes of the file."""
    weights = load(content)
    change(weights)
    return save(weights, metadata={"format": "pt"})


#: Files that shapesweep never downloads, although published repositories contain them.
CLUTTER = {"tf_model.h5": b"\0" * 4096, "optimizer.bin": b"\0" * 4096, "README.md": b"hello"}


def publish_run(hub, name, steps, tokenizer, folder, config=None, seed=0):
    """Publish a run with a branch for each step."""
    tokenizer = files(tokenizer, folder / "t")
    for step, model in trajectory(config or tiny_neox(), steps, seed=seed):
        hub.add(name, f"step{step}", files(model, folder / "m") | tokenizer)


def publish_all(hub, tokenizers, folder):
    """Publish suites in all six modes, and return their definitions by name."""
    decoder = files(tokenizers["decoder"], folder / "t")
    encoder = files(tokenizers["encoder"], folder / "t")
    steps = (0, 8)
    forms = {0: "safetensors", 1: "bin", 8: "sharded"}
    for step, model in trajectory(tiny_neox(), (0, 1, 8)):
        contents = files(model, folder / "m", forms[step])
        hub.add("Org/neox", f"step{step}", contents | decoder | CLUTTER)
    for step, model in trajectory(tiny_bloom(), steps, seed=1):
        # The tokenizer is not in these tags, but in another repository.
        hub.add("big/bloom-intermediate", f"global_step{step}", files(model, folder / "m"), "tags")
        hub.add("big/bloom", "main", decoder)
    bert = trajectory(tiny_bert(), steps, 2, transformers.AutoModelForPreTraining)
    for step, model in bert:
        contents = files(model, folder / "m", "bin")
        hub.add(f"lab/berts-seed_3-step_{step}k", "main", contents | encoder | CLUTTER)
    for step, model in trajectory(tiny_neox(), steps, seed=3):
        kind = "tags" if step else "branches"
        name = f"{'ext' if step == 8 else 'step'}{step}"
        hub.add("pairs/either", name, files(model, folder / "m") | decoder, kind)
    nested = {}
    for step, model in trajectory(tiny_neox(), steps, seed=4):
        contents = files(model, folder / "m", forms[step])
        label = "16.78B" if step else "16.2B"
        nested |= {f"hf_ckpt/{label}/{name}": content for name, content in contents.items()}
    hub.add("nested/folders", "main", nested | decoder)
    for step, model in trajectory(tiny_neox(), steps, seed=5):
        title = f"Saving HF Model -- Step {step}"
        hub.add("live/commits", "main", files(model, folder / "m") | decoder, title=title)
    suites = {
        "neox": {"mode": "branches", "match": r"step(?P<step>\d+)", "tokens": {"per_step": 512},
                 "repositories": ["Org/{neox}"]},
        "bloom": {"mode": "tags", "match": r"global_step(?P<step>\d+)", "tokenizer": "big/bloom",
                  "repositories": ["big/bloom-intermediate"]},
        "berts": {"mode": "repositories", "tokens": {"per_step": 512},
                  "match": r"lab/berts-(?P<run>seed_(?P<seed>\d))-step_(?P<step>\d+k)",
                  "repositories": ["lab/berts-seed_*-step_*k"]},
        "either": {"mode": "refs", "match": r"(?P<phase>step|ext)(?P<step>\d+)",
                   "tokens": {"each": 100}, "phases": {"ext": {"start": 200}},
                   "repositories": ["pairs/either"]},
        "folders": {"mode": "folders", "match": r"hf_ckpt/(?P<tokens>[\d.]+B)",
                    "tokens": "label", "repositories": ["nested/folders"]},
        "commits": {"mode": "commits", "match": r"Saving HF Model -- Step (?P<step>\d+)",
                    "repositories": ["live/commits"]},
    }  # fmt: skip
    return {name: {"source": "hub"} | suite for name, suite in suites.items()}
