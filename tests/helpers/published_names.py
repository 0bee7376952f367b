"""Published names of checkpoints, and listings with these names.

The listings look like the output of `shapesweep listing`. With these listings, tests can plan a
sweep of every suite of the registry without a network. If only the form of a suite's names is
known, a few names of this form are listed.
"""

import hashlib
import json
import math
import re
from fnmatch import fnmatchcase

from shapesweep.config.names import expand
from shapesweep.hub.revisions import patterns

_PYTHIA = "step{0,1,2,4,8,16,32,64,128,256,512} step{1000..143000 by 1000}"
_MISTRAL = (
    "checkpoint-0 checkpoint-{10..100 by 10} checkpoint-{150..2000 by 50} "
    "checkpoint-{2100..20000 by 100} checkpoint-{21000..400000 by 1000}"
)
#: Steps of OLMo 2 1B. The published names also contain the number of training tokens, rounded up to
#: a whole number of billions.
_OLMO2_1B = [0, 300, *range(10_000, 1_900_001, 10_000), 1_907_359]
_OLMO2_1B_EARLY = range(0, 37_000, 1000)


def _olmo2(steps):
    return " ".join(f"stage1-step{n}-tokens{math.ceil(n * 2_097_152 / 1e9)}B" for n in steps)


#: (suite, repositories, names). A `*` matches any repository. Names are branches, tags, folders or
#: titles of commits, depending on the mode of the suite. If the second column is `repositories`,
#: the third column lists names of repositories.
_NAMES = [
    ("amber", "*", "ckpt_{000..358 by 1}"),
    ("apertus", "*", "step50000-tokens210B step1432000-tokens6014B step2627139-tokens15T"),
    ("aquila135m", "*", "checkpoint-{1000..3000 by 1000}"),
    ("b-gpt", "*", "{0..50000 by 10000} 64000 {64010..64200 by 10} {64300..64900 by 100}"),
    ("b-gpt", "*", "{65000..70000 by 1000} {80000..120000 by 10000} 128000"),
    ("babylm-style", "*", "chck_{1..10 by 1}M chck_{20..100 by 10}M"),
    ("bamba", "repositories", "ibm-ai-platform/Bamba-9B-{1.8T,2T}"),
    ("bertin-gpt-j", "*", "v1beta{1,2,3}"),
    ("baichuan2", "*", "train_{00220..02420 by 220}B"),
    ("bigscience-tr3", "*", "global_step{1500,19500,57000}"),
    ("bloom", "bigscience/bloom-intermediate", "global_step{5000..90000 by 5000}"),
    ("bloom", "bigscience/bloom-1b7-intermediate", "global_step1000"),
    ("bloom", "bigscience/bloom-1b7-intermediate", "global_step{50000..300000 by 50000}"),
    ("bloom", "bigscience/bloom-*-intermediate", "global_step{1000,10000}"),
    ("bloom", "bigscience/bloom-*-intermediate", "global_step{100000..600000 by 100000}"),
    ("croissant", "repositories", "croissantllm/base_{5..190 by 5}k"),
    ("crystal", "*", "CrystalCoder_phase1_checkpoint_055500"),
    ("crystal", "*", "CrystalCoder_phase2_checkpoint_214387"),
    ("deep-ignorance", "*", "global_step{1192,38144}"),
    ("earlyberts", "*", "step10 step{100..1000 by 100} step{2000..20000 by 1000} step40000"),
    ("ettin", "*", "step{23984,101918,590532,596528,599525} ext{10373,50854} decay{1395,8210}"),
    ("fineweb-ablations", "*", "step-001000-2BT"),
    ("gaperon", "*", "step-024000_tokens-0100B-phase1 step-048000_tokens-0200B-phase1"),
    ("gemstones", "repositories", "tomg-group-umd/Gemstone-{256x23,512x12}"),
    ("gemstones", "*", "step_{00002385,00047700} step_00002385_cooldown_00002622"),
    ("hplt-bert", "repositories", "HPLT/hplt_bert_base_{en,de} HPLT/hplt_gpt_bert_base_en"),
    ("hplt-bert", "*", "step{3125..28125 by 3125}"),
    ("hplt-decoder", "repositories", "HPLT/hplt2c_eng_checkpoints"),
    ("hplt-decoder", "*", "iter_{0001000..0003000 by 1000}"),
    ("hplt-t5", "repositories", "HPLT/hplt_t5_base_{en,de}"),
    ("hplt-t5", "*", "step{3125..28125 by 3125}"),
    ("hubble", "*", "step{0,8000,24000,48000}"),
    ("instella", "repositories", "amd/Instella-3B-Stage1 amd/Instella-3B"),
    ("k2-65b", "*", "ckpt_{001..359 by 1}"),
    ("k2-spike", "*", "spike_ckpt_{186..200 by 2} normal_ckpt_{186..200 by 2}"),
    ("ling-mini2", "repositories", "inclusionAI/Ling-mini-base-2.0-{5T,10T,15T,20T}"),
    ("llammlein", "*", "iter-{00100000..00300000 by 100000}"),
    ("lucie", "*", "step{0005000..0020000 by 5000} step{0025000..0750000 by 25000} step0753851"),
    ("lucie", "*", "extension_step{0000250..0001000 by 250} extension_step0001220"),
    ("modern-gbert", "*", "pretrain-ba96117"),
    ("olmo2-7b-rl", "*-Instruct", "step_{60..360 by 60}"),
    ("olmo2-7b-rl", "*-DPO", "main"),
    ("olmo2-1b-rl", "*", "step-{0010..0040 by 10}"),
    ("map-neo", "*", "hf_ckpt/{16.78,33.55}B"),
    ("marin", "*", "main kestrel ocelot jellyfish phoenix starling"),
    ("minicpm", "*", "step_{1000..3000 by 1000}"),
    ("mistral-gpt2", "*", _MISTRAL),
    ("mmbert", "*", "step{23984,101918} ext{10373,50854} decay{1395,8210}"),
    ("modernbert-lsm", "*", "{10000,25000,50000,100000}"),
    ("multiberts", "repositories", "google/multiberts-seed_{0..4}-step_{0,20,40}k"),
    ("multiberts", "repositories", "google/multiberts-seed_{0..4}-step_{300..2000 by 100}k"),
    ("olmo-hybrid", "*", "stage1-step{0..10000 by 1000} stage2-ingredient1-step1000"),
    ("olmo1-1b", "*", "step1000-tokens4B step20000-tokens84B"),
    ("olmo1-7b", "*", "step452000-tokens2000B step556000-tokens2460B"),
    ("olmo2", "allenai/OLMo-2-0425-1B", _olmo2(_OLMO2_1B)),
    ("olmo2", "allenai/OLMo-2-0425-1B", "stage2-ingredient3-step23852-tokens51B"),
    ("olmo2", "allenai/OLMo-2-1124-7B", "stage1-step928646-tokens3896B"),
    ("olmo2", "allenai/OLMo-2-1124-7B", "stage2-ingredient1-step11931-tokens50B"),
    ("olmo2", "allenai/OLMo-2-1124-13B", "stage1-step596057-tokens5001B"),
    ("olmo2", "allenai/OLMo-2-1124-13B", "stage2-ingredient4-step35773-tokens300B"),
    ("olmo2", "allenai/OLMo-2-0325-32B", "stage1-step721901-tokens6056B"),
    ("olmo2-1b-early", "*", _olmo2(_OLMO2_1B_EARLY)),
    ("olmo3", "*", "stage1-step{0,1000,1413814} stage2-step47684 stage3-step11921"),
    ("olmoe", "*", "step5000-tokens20B step10000-tokens41B step1220000-tokens5117B"),
    ("openmoe", "repositories", "OrionZheng/openmoe-8b-{200B,400B,600B,800B,1T}"),
    ("paper", "*", "main"),
    ("parc", "*", "checkpoint-{10,640,4000}"),
    ("pico", "*", "Saving_HF_Model_--_Step_{0..10000 by 1000}"),
    ("pile-t5", "*", "step_{10000..2000000 by 10000}"),
    ("polypythias", "*", _PYTHIA),
    ("poro-viking", "*", "{100..1000 by 100}B"),
    ("pythia", "*", _PYTHIA),
    ("pythia-v0", "*", "step{1000..143000 by 1000}"),
    ("redpajama-incite-7b", "*", "{240,280,400,440,500,600}b_tokens"),
    ("skywork", "*", "{500..3000 by 500}B"),
    ("smollm2", "*SmolLM2-135M*", "step-{240000..1920000 by 240000}"),
    ("smollm2", "*SmolLM2-360M*", "step-{160000..2560000 by 160000}"),
    ("smollm2", "*SmolLM2-1.7B*", "step-{125000..5125000 by 125000}"),
    ("smollm3", "*", "stage1-step-3440000 stage2-step-4200000 stage3-step-4720000"),
    ("smollm3", "*", "it-mid-training it-SFT"),
    ("tinyllama", "*-checkpoints", "step-5k-token-10B step-50k-token-105B step-480k-token-1007B"),
    ("tinyllama", "*-after-1T-token", "step-955k-token-2003B step-1431k-token-3001B"),
    ("tinyllama-releases", "repositories", "TinyLlama/TinyLlama-1.1B-step-50K-105b"),
    ("tinyllama-releases", "repositories", "TinyLlama/TinyLlama-1.1B-intermediate-step-240k-503b"),
    ("tri", "*", "{0000020000..0000100000 by 20000}"),
    ("xlmindic", "*", "checkpoint-{100000..1000000 by 100000}"),
    ("yulan-mini", "repositories", "yulan-team/YuLan-Mini-Phase{5,10,15,20}"),
]


def expand_names(names):
    """Expand braces, and return the resulting names. `{000..358 by 1}` keeps the leading zeros.

    Examples
    --------
    >>> expand_names("a{08..10 by 1} b{x,y}")
    ['a08', 'a09', 'a10', 'bx', 'by']
    """

    def expand_range(match):
        first, last, by = match.groups()
        numbers = range(int(first), int(last) + 1, int(by))
        return "{" + ",".join(str(n).zfill(len(first)) for n in numbers) + "}"

    names = re.sub(r"\{(\d+)\.\.(\d+) by (\d+)\}", expand_range, names)
    return [name for word in names.split() for name in expand(word)]


def repositories(name, suite):
    """Return every repository of a suite, also those that match a pattern with `*`."""
    known = [pattern for pattern, _ in patterns(suite) if "*" not in pattern]
    return list(dict.fromkeys([*known, *_published(name, lambda row: row == "repositories")]))


def revisions(name, suite, repository):
    """Return the names of a repository's checkpoints.

    Rows with the exact name of the repository take precedence over rows with a pattern.
    """
    if suite.mode == "repositories":
        return ["main"]
    found = _published(name, lambda row: row == repository) or _published(
        name, lambda row: row != "repositories" and fnmatchcase(repository, row)
    )
    # Titles of commits contain spaces. In the table, `_` replaces these spaces, because spaces
    # separate names.
    return [title.replace("_", " ") for title in found] if suite.mode == "commits" else found


def _published(suite, is_wanted):
    rows = [names for known, row, names in _NAMES if known == suite and is_wanted(row)]
    return [name for names in rows for name in expand_names(names)]


def write_listing(name, suite, path, config):
    """Write the listing of a suite. Every checkpoint has a single small weight file.

    Parameters
    ----------
    name : str
    suite : HubSuite
    path : pathlib.Path
    config : dict
        The contents of `config.json`, which are the same for every model.
    """
    listing = {repo: _listed(name, suite, repo, config) for repo in repositories(name, suite)}
    for group in suite.groups():
        if group.tokenizer:
            listing.setdefault(group.tokenizer, _listed("", suite, group.tokenizer, config))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(listing), encoding="utf-8")


def _listed(name, suite, repository, config):
    names = revisions(name, suite, repository)
    commit = {ref: hashlib.sha1(f"{repository} {ref}".encode()).hexdigest() for ref in names}
    main = hashlib.sha1(repository.encode()).hexdigest()
    branches, tags, commits = {"main": main}, {}, []
    trees = {main: _tree("main", "") if suite.mode == "repositories" else []}
    if suite.mode == "folders":
        trees[main] = [file for ref in names for file in _tree(f"{repository} {ref}", f"{ref}/")]
    elif suite.mode == "commits":
        commits = [(commit[ref], ref) for ref in reversed(names)]
    elif suite.mode == "tags":
        tags = commit
    else:
        branches |= commit
    if suite.mode != "folders":
        trees |= {commit[ref]: _tree(f"{repository} {ref}", "") for ref in names}
    found = {"branches": branches, "tags": tags, "commits": commits, "trees": trees}
    return found | {"problem": None, "config": config}


def _tree(content, folder):
    digest = hashlib.sha256(content.encode()).hexdigest()
    sizes = {"config.json": 600, "tokenizer.json": 9000, "model.safetensors": 2_000_000}
    files = []
    for path, size in sizes.items():
        sha256 = digest if path.endswith("safetensors") else None
        files.append({"path": folder + path, "size": size, "sha256": sha256, "blob": digest[:40]})
    return files
