"""Runs, steps and tokens are read from the names of published revisions, and never guessed."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from helpers.definitions import DEFINITION, REGISTRY, define, find, listed_as, load
from shapesweep.config import files as config_files
from shapesweep.config import names as config_names
from shapesweep.config.hub_suite import HubSuite, Ramp
from shapesweep.config.suite import SUITE
from shapesweep.errors import ShapesweepError
from shapesweep.hub import revisions, token_counts
from shapesweep.hub.files import choose_weights
from shapesweep.hub.revisions import Repository
from shapesweep.hub.tokenizer_sources import tokenizer_sources
from shapesweep.storage.files import File

NAMES = sorted(path.stem for path in REGISTRY.glob("*.yaml"))
#: Published names of revisions, and the meaning of each name. The columns are the suite, the
#: repository, the name of the revision, the run, the step and the number of tokens. If the run is
#: `~`, it has the name of the repository. If the number of tokens is `-`, it is not checked. If the
#: step is `=`, the name contains no step, and the run is placed by its tokens.
EXAMPLES = """
pythia  EleutherAI/pythia-70m  step512  ~  512  1073741824
polypythias  EleutherAI/pythia-14m-seed3  step143000  ~  143000  -
mistral-gpt2  stanford-crfm/durin-gpt2-medium-x343  checkpoint-10  ~  10  5242880
parc  jmichaelov/parc-mamba-seed2  checkpoint-640  ~  640  -
b-gpt  catherinearnett/B-GPT_en_nl_sequential  64010  ~  64010  -
olmo1-1b  allenai/OLMo-1B-hf  step20000-tokens84B  ~  20000  83886080000
olmo1-7b  allenai/OLMo-7B-hf  step452000-tokens2000B  ~  452000  2000000000000
olmo2  allenai/OLMo-2-0325-32B  stage1-step721901-tokens6056B  ~  721901  -
olmo2  allenai/OLMo-2-0425-1B  stage2-ingredient3-step23852-tokens51B  ~.stage2-ingredient3  23852  4051000000000
olmo2-1b-early  allenai/OLMo-2-0425-1B-early-training  stage1-step1000-tokens3B  ~  1000  2097152000
olmo3  allenai/Olmo-3-1025-7B  stage2-step47684  ~.stage2  47684  6027869159424
olmoe  allenai/OLMoE-1B-7B-0924  step1220000-tokens5117B  ~  1220000  -
smollm2  HuggingFaceTB/SmolLM2-1.7B-intermediate-checkpoints  step-125000  ~  125000  250000000000
smollm3  HuggingFaceTB/SmolLM3-3B-checkpoints  stage2-step-4200000  ~  4200000  9909043200000
k2-spike  LLM360/K2-Spike-1  spike_ckpt_160  ~.spike_ckpt  160  -
k2-spike  LLM360/K2-Spike-2  normal-186  ~.normal  186  -
deep-ignorance  EleutherAI/deep-ignorance-pretraining-stage-weak-filter  global_step38144  ~  38144  -
bertin-gpt-j  bertin-project/bertin-gpt-j-6B  v1beta2  ~  616000  -
modern-gbert  aehrm/modern-gbert-1b-dev  pretrain-ba96117  ~  96117  -
bamba  ibm-ai-platform/Bamba-9B-1.8T  main  Bamba-9B  =  1800000000000
apertus  swiss-ai/Apertus-8B-2509  step2627139-tokens15T  ~  2627139  15000000000000
lucie  OpenLLM-France/Lucie-7B  step0753851  ~  753851  3121742086144
lucie  OpenLLM-France/Lucie-7B  extension_step0001220  ~.extension  1220  -
fineweb-ablations  HuggingFaceFW/ablation-model-c4  step-001000-2BT  ~  1000  2000000000
tinyllama  TinyLlama/tinyLlama-intermediate-checkpoints  step-480k-token-1007B  ~  480000  1006632960000
amber  LLM360/Amber  ckpt_356  ~  356  -
bloom  bigscience/bloom-7b1-intermediate  global_step100000  ~  100000  91740438528
redpajama-incite-7b  togethercomputer/RedPajama-INCITE-7B-Base  240b_tokens  ~  =  240000000000
tri  trillionlabs/0.5B-Intermediate-Checkpoints  0000020000  ~  20000  -
poro-viking  LumiOpen/Poro-34B  800B  ~  =  800000000000
ettin  jhu-clsp/ettin-encoder-150m  decay8210  ~.decay  8210  1958500000000
earlyberts  personads/earlyberts-seed2  step11000  ~  11000  -
baichuan2  baichuan-inc/Baichuan2-7B-Intermediate-Checkpoints  train_00220B  ~  =  220000000000
multiberts  google/multiberts-seed_3-step_2000k  main  seed_3  2000000  262144000000
croissant  croissantllm/base_185k  main  base  185000  -
tinyllama-releases  TinyLlama/TinyLlama-1.1B-step-50K-105b  main  TinyLlama-1.1B  50000  104857600000
tinyllama-releases  TinyLlama/TinyLlama-1.1B-intermediate-step-1195k-token-2.5T  main  TinyLlama-1.1B  1195000  -
marin  marin-community/marin-8b-base  phoenix  ~  =  11100000000000
ling-mini2  inclusionAI/Ling-mini-base-2.0-5T  main  Ling-mini-base-2.0  =  5000000000000
openmoe  OrionZheng/openmoe-8b-1T  main  openmoe-8b  =  1000000000000
skywork  Skywork/Skywork-13B-Base-Intermediate  0.5T  ~  =  500000000000
llammlein  LSX-UniWue/LLaMmlein_1B  iter-00100000  ~  100000  -
llammlein  LSX-UniWue/LLaMmlein_1B  v1.5-step20k-hf  ~  20000  -
"""


@pytest.mark.parametrize("name", NAMES)
def test_every_file_of_the_registry_validates(name):
    raw = yaml.safe_load((REGISTRY / f"{name}.yaml").read_text(encoding="utf-8"))
    schema = json.loads(Path("workflow/schemas/suite.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(raw, schema)
    suite = SUITE.validate_python(raw)
    if isinstance(suite, HubSuite):
        assert suite.title and suite.facts
        assert len(revisions.patterns(suite)) >= len(suite.repositories)


@pytest.mark.parametrize("example", EXAMPLES.strip().splitlines())
def test_published_names_of_revisions_are_understood(example):
    suite, repository, name, run, step, tokens = example.split()
    found = listed_as(load(suite), repository, name)
    (checkpoint,) = [entry for entry in found if entry.revision]
    assert checkpoint.step == int(tokens if step == "=" else step)
    assert checkpoint.run == run.replace("~", repository.split("/")[1])
    assert tokens == "-" or checkpoint.tokens == int(tokens)
    assert not checkpoint.is_main and not checkpoint.status


@pytest.mark.parametrize(
    ("suite", "repository", "name"),
    [
        ("olmo3", "allenai/Olmo-3-1025-7B", "stage2-step47684-mix-a-from-2T-ckpt"),
        ("gemstones", "tomg-group-umd/Gemstone-256x23", "step_00002385_cooldown_00002622"),
        ("pythia", "EleutherAI/pythia-70m", "step1000-fixed"),
        # The unit of the number is not known, or the number is a version.
        ("llammlein", "LSX-UniWue/LLaMmlein_1B", "iter-500M"),
        ("llammlein", "LSX-UniWue/LLaMmlein_1B", "v1.5"),
    ],
)
def test_names_with_another_meaning_are_ignored(suite, repository, name):
    assert not any(entry.revision for entry in listed_as(load(suite), repository, name))


@pytest.mark.parametrize(
    ("suite", "count"),
    [("pythia", 154), ("mistral-gpt2", 609), ("b-gpt", 46), ("earlyberts", 31), ("amber", 360)],
)
def test_grid_has_the_published_number_of_steps(suite, count):
    assert len(config_names.steps(load(suite).grid)) == count


def test_tokens_of_a_growing_batch_match_the_published_number():
    """Lucie's authors report 762,144,586 samples at step 753,851.

    Lucie's training batches have at most 1,024 samples.
    """
    lucie = Ramp(first=256, increment=64, over=10_000_000, last=1024, length=1)
    assert abs(token_counts.ramped(753_851, lucie) - 762_144_586) < 1024
    bloom = Ramp(first=192, increment=16, over=9_765_625, last=512, length=2048)
    assert token_counts.ramped(300_000, bloom) / 1e9 == pytest.approx(302.3, abs=0.05)


def test_keys_of_a_repository_override_those_of_the_suite():
    repositories = ["org/a", {"repository": "org/b", "tokens": {"per_step": 3}}]
    suite = define(tokens={"per_step": 2}, repositories=repositories)
    assert [group.tokens.per_step for group in suite.groups()] == [2, 3]


def test_key_only_limits_the_requested_repositories():
    assert [name for name, _ in revisions.patterns(define(only=["a.stage2*"]))] == ["org/a"]
    assert len(revisions.patterns(define(only=["*"]))) == 2


INDEX = "pytorch_model.bin.index.json"
INCOMPLETE = ["model-00001-of-00002.safetensors", "model.safetensors.index.json"]


@pytest.mark.parametrize(
    ("names", "files", "status"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"], []),
        (["pytorch_model.bin", "tf_model.h5"], ["pytorch_model.bin"], []),
        ([*INCOMPLETE, "pytorch_model.bin"], ["pytorch_model.bin"], []),
        (INCOMPLETE, [], ["missing_weights:model-00002-of-00002.safetensors"]),
        (["pytorch_model-00001-of-00001.bin"], [], [f"missing_weights:{INDEX}"]),
        (["flax_model.msgpack"], [], ["missing_weights"]),
    ],
)
def test_one_complete_format_of_the_weights_is_chosen(names, files, status):
    tree = {name: File(name, 1, "a", "b") for name in names}
    chosen, problems = choose_weights(tree)
    assert ([file.path for file in chosen], problems) == (files, status)


@pytest.mark.parametrize("remote_code", [True, False])
def test_code_is_downloaded_only_if_requested(remote_code):
    suite = define(remote_code=remote_code)
    tree = [File(name, 1, "a", "b") for name in ("config.json", "modeling.py", "model.safetensors")]
    listed = {"org/a": Repository(branches={"step1": "c"}, trees={"c": tree})}
    (checkpoint,) = find(suite, listed)
    assert ("modeling.py" in [file.path for file in checkpoint.files]) == remote_code


def test_branches_with_the_same_folder_name_are_refused():
    suite = define(match=r".*step[-/]*(?P<step>\d+)", repositories=["org/x"])
    listed = {"org/x": Repository(branches={"step/1": "c", "step--1": "d"}, trees={})}
    with pytest.raises(ShapesweepError, match="matches both 'step/1' and 'step--1' in org/x"):
        find(suite, listed)


def test_names_of_phases_are_safe_as_folders():
    suite = define(match=r"(?P<phase>.*)-step(?P<step>\d+)", phases={"*": {"own_run": True}})
    (checkpoint, *_) = listed_as(suite, "org/a", "../b/c-step5")
    assert "/" not in checkpoint.run and ".." not in checkpoint.run.split("/")


def test_names_of_revisions_are_safe_as_folders():
    suite = define(match=r".*?(?P<step>\d+)")
    found = listed_as(suite, "org/a", "../../etc/passwd1", "feature/x+2", ".hidden3")
    names = [checkpoint.revision for checkpoint in found]
    assert all(name and "/" not in name and not name.startswith(".") for name in names)
    assert len(names) == 3


def test_error_for_a_step_that_is_no_number_names_the_pattern():
    suite = define(match=r"(?P<step>\w+)")
    with pytest.raises(ShapesweepError, match=r"match: \(\?P<step>.* matches 'latest', but"):
        listed_as(suite, "org/a", "latest")


def test_tokenizer_is_searched_in_main_and_then_in_the_checkpoints():
    both = [File("tokenizer.json", 1, None, "a"), File("model.safetensors", 1, "b", "c")]
    refs = {"main": "m", "step1": "1", "step2": "2"}
    trees = {"m": [], "1": both, "2": both}
    suite = define()
    (group,) = suite.groups()
    listed = {"org/a": Repository(branches=refs, trees=trees)}
    run = [checkpoint for checkpoint in find(suite, listed) if not checkpoint.is_main]
    assert [source[1] for source in tokenizer_sources(run, listed, group)] == ["2", "1"]
    trees["m"] = [both[0], File("config.json", 1, None, "a"), File("other", 1, None, "a")]
    assert next(tokenizer_sources(run, listed, group)) == ("org/a", "m", trees["m"][:2])
    other = {**listed, "org/t": Repository(branches={"main": "t"}, trees={"t": both})}
    named = group.model_copy(update={"tokenizer": "org/t"})
    assert [*tokenizer_sources(run, other, named)] == [("org/t", "t", both[:1])]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"match": "("}, "is not a valid regular expression"),
        ({"match": "(?P<stepp>x)"}, "has the group stepp"),
        ({"match": None}, "org/{a,b} needs the key match"),
        ({"mode": "repositories"}, "needs the group `run`"),
        ({"mode": "branch"}, "did you mean branches"),
        ({"grid": ["1000 to 2000"]}, "neither a step nor a range like"),
        ({"grid": ["0.5..3 by 1"]}, "'0.5' is not a whole number"),
        ({"grid": ["1..3 by 0"]}, "has a distance of 0"),
        ({"named": {"alpha": "2700"}}, "write 2700 without quotes for a step, or like 2.7T"),
        ({"named": {"alpha": "2.7"}}, "'2.7' is not a whole number"),
        ({"repositories": ["pythia"]}, "repositories.0: found 'pythia'; write org/name"),
        ({"tokens": {"per_stp": 1}}, "tokens"),
        ({"remote_code": True}, "write hub: {remote_code: [mine]}"),
        ({"repositories": []}, "names no repositories"),
    ],
)
def test_invalid_definition_is_a_one_line_error(change, message):
    with pytest.raises(ShapesweepError) as error:
        config_files.validate({"suites": {"mine": DEFINITION | change}})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_suite_of_the_registry_can_be_named_with_changes():
    chosen = {"pythia": {"only": ["pythia-70m"], "accept": ["shares_file_with"]}}
    suite = config_files.validate({"suites": chosen}, REGISTRY).suites["pythia"]
    assert suite.only == ["pythia-70m"] and suite.tokens.per_step == 2097152
    with pytest.raises(ShapesweepError, match="did you mean only"):
        config_files.validate({"suites": {"pythia": {"onyl": ["pythia-70m"]}}}, REGISTRY)
    schema = json.loads(Path("workflow/schemas/config.schema.json").read_text(encoding="utf-8"))
    default = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
    for path in Path("config").glob("*.yaml"):
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        jsonschema.validate(raw, schema)
        config_files.validate(default | raw, REGISTRY)
