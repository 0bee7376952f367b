"""The losses of a training run are read from the logs that common programs write."""

import json

import numpy as np
import pytest

from shapesweep.corpora import read_text
from shapesweep.errors import ShapesweepError
from shapesweep.manifest.logs import read_log

#: The losses of the logs below.
LOSSES = {100: 6.0, 200: 5.0, 300: 4.0}


def losses(found):
    return found[found.metric == "loss"].set_index("step").value.to_dict()


def lines(*entries):
    return "".join(f"{json.dumps(entry)}\n" for entry in entries)


def written(path, text):
    # The encoding is a part of the text: some files begin with a byte order mark.
    path.write_bytes(text.encode())
    return path


#: The logs of one run, as different programs write them. The losses of evaluations are 9.
WRITTEN = {
    "history() of a Trainer, with its index": (
        "log.csv",
        ",_step,_runtime,train/global_step,train/loss,train/learning_rate,eval/loss,train/train_loss\n"
        "0,0,1.5,100,6,0.001,,\n1,1,2.5,100,,,9,\n2,2,3.5,200.0,5,0.001,,\n"
        "3,3,4.5,300,4,0.001,,\n4,4,5.5,300,,,,5\n",
    ),
    "history() of a Trainer, as lines": (
        "log.jsonl",
        lines(
            *(
                {"_step": 2 * n, "train/global_step": step, "train/loss": loss, "eval/loss": None}
                for n, (step, loss) in enumerate(LOSSES.items())
            ),
            {"_step": 7, "train/global_step": 300, "train/loss": None, "eval/loss": 9},
        ),
    ),
    "history() of Lightning": (
        "log.csv",
        "_step,trainer/global_step,epoch,train_loss,val_loss,lr-AdamW\n"
        "0,100,0,6,,\n1,100,0,,9,\n2,200,0,5,,\n3,200,0,,,0.1\n4,300,0,4,,\n",
    ),
    "web page of Weights & Biases": (
        "wandb_export_2024-05-01T10_00_00.000+02_00.csv",
        '"Step","a - b - train/loss","a - b - train/loss__MIN","a - b - train/loss__MAX"\n'
        '"100","6","1","8"\n"200","5","1","8"\n"300","4","1","8"\n',
    ),
    "web page of Weights & Biases, by training step": (
        "log.csv",
        '"train/global_step","mine - _step","mine - _step__MIN","mine - train/loss"\n'
        "100,0,0,6\n200,2,2,5\n300,4,4,4\n",
    ),
    "web page of Weights & Biases, with the evaluation of another run": (
        "log.csv",
        "Step,b - _step,a - _step,b - val/loss,a - train/loss\n"
        "100,0,0,9,6\n200,2,2,9,5\n300,4,4,9,4\n",
    ),
    "TensorBoard": ("log.csv", "Wall time,Step,Value\n1.7,100,6\n1.8,200,5\n1.9,300,4\n"),
    "TensorBoard, with the tag in the name": (
        "run-version_0-tag-train_loss (1).csv",
        "Wall time,Step,Value\n1.7,100,6\n1.8,200,5\n1.9,300,4\n",
    ),
    "TensorBoard, as JSON": ("log.json", "[[1.7, 100, 6.0], [1.8, 200, 5.0], [1.9, 300, 4.0]]"),
    "log_history as JSON": (
        "log.json",
        json.dumps(
            [{"step": 50, "eval_loss": 9}, *({"step": s, "loss": v} for s, v in LOSSES.items())]
        ),
    ),
    "LLaMA-Factory": (
        "trainer_log.jsonl",
        lines(
            *({"current_steps": s, "total_steps": 300, "loss": v} for s, v in LOSSES.items()),
            {"current_steps": 300, "total_steps": 300, "eval_loss": 9},
        ),
    ),
    "ms-swift": (
        "logging.jsonl",
        lines(
            *({"loss": v, "global_step/max_steps": f"{s}/300"} for s, v in LOSSES.items()),
            {"eval_loss": 9, "global_step/max_steps": "300/300"},
            {"train_loss": 5, "global_step/max_steps": "300/300"},
            {"last_model_checkpoint": "checkpoint-300"},
        ),
    ),
    "Lightning": (
        "metrics.csv",
        "epoch,step,train_loss_epoch,train_loss_step,val_loss\n"
        "0,100,,6,\n0,200,,5,\n0,300,,4,\n0,300,,,9\n0,300,5,,\n",
    ),
    "Lightning, with train_loss": (
        "metrics.csv",
        "epoch,lr-AdamW,step,train_loss,val_loss\n0,,100,6,\n0,0.1,100,,\n0,,200,5,9\n0,,300,4,\n",
    ),
    "Lightning, with the loss of epochs": (
        "metrics.csv",
        "epoch,step,train_loss_epoch\n0,100,6\n1,200,5\n2,300,4\n",
    ),
    "nanoGPT": ("log.csv", "iter,train/loss,val/loss\n100,6,9\n200,5,9\n300,4,9\n"),
    "LitGPT": ("metrics.csv", "iter,loss,step\n400,6,100\n800,5,200\n1200,4,300\n"),
    "OLMo": (
        "log.csv",
        "_step,train/CrossEntropyLoss,train/Perplexity,eval/c4/CrossEntropyLoss\n"
        "100,6,403,\n200,5,148,\n200,,,9\n300,4,54,\n",
    ),
    "OLMo-core": (
        "log.csv",
        "_step,optim/step skipped,train/CE loss,train/Z loss\n100,0,6,1\n200,0,5,1\n300,0,4,1\n",
    ),
    "NeMo": (
        "log.csv",
        "_step,trainer/global_step,reduced_train_loss,val_loss\n0,100,6,\n1,200,5,9\n2,300,4,\n",
    ),
    "Megatron-LM": (
        "log.csv",
        "_step,lm loss validation,lm loss,lm loss vs samples\n100,9,6,6\n200,9,5,5\n300,9,4,4\n",
    ),
    "GPT-NeoX": ("log.csv", "_step,train/lm_loss\n100,6\n200,5\n300,4\n"),
    "rows of the evaluation in the same column": (
        "log.jsonl",
        lines(
            *({"mode": "train", "iter": s, "loss": v} for s, v in LOSSES.items()),
            {"mode": "val", "iter": 300, "loss": 9},
        ),
    ),
    "blanks behind commas": ("log.csv", "step, loss \n100, 6 \n200, 5\n300, 4\n"),
    "a byte order mark and line ends of Windows": (
        "LOG.CSV",
        "\ufeffStep,Loss\r\n100,6\r\n200,5\r\n300,4\r\n",
    ),
    "lines with a byte order mark and line ends of Windows": (
        "log.jsonl",
        '\ufeff{"step": 100, "loss": 6}\r\n{"step": 200, "loss": 5}\r\n'
        '{"step": 300, "loss": 4}\r\n',
    ),
    "semicolons": ("log.csv", '"step";"loss"\n100;6\n200;5\n300;4\n'),
    "commas at the ends of lines": ("log.csv", "step,loss\n100,6,\n200,5,\n300,4,\n"),
    "whole numbers with exponents": ("log.csv", "step,loss\n1e2,6\n200.0,5\n+3E2,4\n"),
    "an entry without a step": ("log.csv", "step,loss\n100,6\n,7\nnan,8\n200,5\n300,4\n"),
    "an empty column of losses": ("log.csv", "step,loss,train_loss\n100,,6\n200,,5\n300,,4\n"),
    "two columns that differ only in punctuation": (
        "log.csv",
        "step,train/loss,train_loss\n100,6,1\n200,5,1\n300,4,1\n",
    ),
    "a column that counts batches": (
        "log.csv",
        "step,global_step,loss\n1,100,6\n2,200,5\n3,300,4\n",
    ),
    "a resume with other steps": (
        "log.csv",
        "step,loss\n100,7\n150,9\n175,9\n180,9\n100,6\n200,5\n300,4\n",
    ),
    "a column with the step of a resume": (
        "log.csv",
        "resumed_from/global_step,steps,step,loss\n50,8,100,6\n50,8,200,5\n50,8,300,4\n",
    ),
    "columns that are written again": (
        "log.csv",
        "step,loss\n100,6\n200,5\nstep,loss\n300,4\n",
    ),
    "the last entry of a Trainer": (
        "log.jsonl",
        lines(
            *({"step": s, "train_loss": v} for s, v in LOSSES.items()),
            {
                "step": 300,
                "train_loss": 9,
                "train_runtime": 1.5,
                "train_steps_per_second": 2.5,
            },
        ),
    ),
    "MMEngine": (
        "20240501_100000.json",
        lines(
            *({"lr": 0.1, "loss": v, "epoch": 1, "iter": s, "step": s} for s, v in LOSSES.items()),
            {"accuracy": 9, "step": 300},
        ),
    ),
    "steps of the evaluation": (
        "log.csv",
        "eval/global_step,my/global_step,loss\n1,100,6\n2,200,5\n3,300,4\n",
    ),
}


@pytest.mark.parametrize(("name", "text"), WRITTEN.values(), ids=WRITTEN)
def test_losses_are_read_from_the_log_of_each_program(tmp_path, name, text):
    assert losses(read_log(written(tmp_path / name, text))) == LOSSES


def test_log_of_lucie_is_read(tmp_path):
    # This log has the columns that the authors of the model Lucie plot.
    text = (
        "training_steps,training_tokens,training_loss,walltime,gputime,learning_rate\n"
        "25,26214400,10.5,0.1,51.2,3.75e-06\n"
        "50,52428800,9.25,0.2,102.4,7.5e-06\n"
    )
    found = read_log(written(tmp_path / "log.csv", text))
    assert losses(found) == {25: 10.5, 50: 9.25}
    assert found[found.metric == "learning_rate"].value.tolist() == [3.75e-06, 7.5e-06]


@pytest.mark.parametrize(
    "columns",
    [
        ("grad_norm", "learning_rate"),
        ("train/grad_norm", "train/learning_rate"),
        ("optim/total_grad_norm", "optim/learning_rate_group0"),
        ("optim/total grad norm", "optim/LR (group 0)"),
        ("grad-norm", "learning-rate"),
        ("gradient_norm", "lr"),
    ],
)
def test_gradient_norm_and_learning_rate_are_read(tmp_path, columns):
    text = f"step,loss,{','.join(columns)}\n100,6,2.5,1e-3\n"
    found = read_log(written(tmp_path / "log.csv", text))
    expected = {"gradient_norm": 2.5, "learning_rate": 1e-3, "loss": 6.0}
    assert dict(zip(found.metric, found.value, strict=True)) == expected


def test_absent_metric_is_not_read_from_the_column_without_a_name(tmp_path):
    found = read_log(written(tmp_path / "log.csv", ",step,loss\n0,100,6\n"))
    assert set(found.metric) == {"loss"}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "step,loss\n1,2.5\n2,\n3,nan\n", {1: 2.5, 3: np.nan}),
        ("a.csv", "step,loss\n1,2.5\n2", {1: 2.5}),
        ("a.csv", "step,loss\n1,2.5\n2,3,4,5\n", {1: 2.5}),
        ("a.csv", "step,loss\n", {}),
        ("a.csv", "step,loss\n1,2.5\n2,2.25", {1: 2.5, 2: 2.25}),
        # These cells can be parts of longer numbers.
        ("a.csv", "step,loss\n1,2.51\n2,3.", {1: 2.51}),
        ("a.csv", "step,loss\n1,2.5123\n2,3.0123\n3,3.01", {1: 2.5123, 2: 3.0123}),
        ("a.csv", "step,loss\n1,2.5\n2,3e-", {1: 2.5}),
        ("a.csv", "step,loss,note\n1,2.5,good\n2,2,ok", {1: 2.5, 2: 2}),
        # The rows before the first smaller step may be from an abandoned part of the training.
        (
            "a.jsonl",
            "".join(f'{{"step": {s}, "loss": {s}}}\n' for s in (1, 2, 3, 4, 7, 9, 5, 8, 11)),
            {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 8: 8, 11: 11},
        ),
        # If the steps have no order, nothing is known about the parts of the training.
        ("a.csv", "step,loss\n3,1\n2,2\n1,3\n", {1: 3, 2: 2, 3: 1}),
        ("a.jsonl", "", {}),
        ("a.jsonl", '{"step": 1, "loss": 3}\n\n{"step": 2, "lr": 1}\n{"st', {1: 3.0}),
        (
            "a.jsonl",
            '{"step": 1, "loss": 3, "text": "\u2028"}\n{"step": 2, "loss": 2}',
            {1: 3, 2: 2},
        ),
        ("a.jsonl", '{"step": 1, "loss": 3}\n{"step": 1, "loss": 2}\n', {1: 2.0}),
        ("a.jsonl", '{"step": 1, "loss": 3}\n{"step": 1, "loss": NaN, "lr": 1}\n', {1: 3.0}),
        ("a.jsonl", '{"_step": 1, "train/loss": Infinity}\n', {1: np.inf}),
        ("a.json", '{"log_history": []}', {}),
        ("a.json", '{"log_history": [{"step": 1, "eval_loss": 9}]}', {}),
    ],
)
def test_logs_are_read_up_to_the_last_complete_line(tmp_path, name, text, expected):
    np.testing.assert_equal(losses(read_log(written(tmp_path / name, text))), expected)


NO_LOSS = "has no column of training losses"
STEPS = "training steps must be non-negative 64-bit integers"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "time,loss\n1,2\n", "has no column of steps, .*; its columns are time, loss$"),
        ("a.csv", "epoch,loss\n1,2\n", "has no column of steps"),
        ("a.csv", 'step,loss\n"1,000",2\n', "has no column of steps"),
        ("a.csv", "step,accuracy\n1,2\n", f"{NO_LOSS}, .*; its columns are step, accuracy$"),
        ("a.csv", "step;loss\n1;2,5\n", NO_LOSS),
        ("a.csv", "step,eval/loss,val_loss,test/loss\n1,2,2,2\n", NO_LOSS),
        ("a.csv", "step,train/train_loss\n1,2\n", NO_LOSS),
        ("a.csv", "step,tag,value\n1,loss,2\n", NO_LOSS),
        ("a.csv", "split,step,loss\nval,1,2\n", NO_LOSS),
        ("run-a-tag-eval_loss.csv", "Wall time,Step,Value\n1,1,2\n", f"{NO_LOSS}.*, eval_loss$"),
        ("run-a-tag-eval_loss.json", "[[1, 1, 2]]", f"{NO_LOSS}.*, eval_loss$"),
        ("a.csv", 'step,loss\n1,2\n2,"1,234.5"\n', "contains '1,234.5' at step 2, which is not a"),
        ("val_loss.csv", "Wall time,Step,Value\n1,1,2\n", "the losses of an evaluation"),
        ("loss-validation.csv", "step,loss\n1,2\n", "the losses of an evaluation"),
        ("eval.json", "[[1, 1, 2]]", "the losses of an evaluation"),
        ("Train_Samples_train_loss.csv", "step,train_loss\n1,2\n", "are numbers of samples"),
        ("a.csv", "step,loss\n-1,2\n", STEPS),
        ("a.csv", "step,loss\n1,3\n1.5,2\n", f"column step contains 1.5, but {STEPS}; .* epochs"),
        ("a.csv", "step,loss\n1,3\nx,2\n", STEPS),
        ("a.csv", "_step,train/global_step,loss\n0,0.25,3\n1,0.5,2\n", STEPS),
        ("a.csv", "step,loss\ninf,2\n", STEPS),
        ("a.jsonl", '{"step": 1e20, "loss": 3}\n', STEPS),
        (
            "a.csv",
            "Step,a - train/loss,a - train/loss__MIN,b c - train/loss\n1,2,2,3\n",
            r"contains the losses of several runs \(a, b c\); write a separate file for each run",
        ),
        ("a.csv", "Step,a - train/loss,a - train/loss\n1,2,3\n", "two columns a - train/loss"),
        ("a.csv", "run,step,loss\na,1,2\n,2,2\nb,1,3\n", r"several runs \(a, b\)"),
        ("a.csv", "step,loss\n1,2,3\n2,3,4\n", "damaged"),
        ("a.csv", 'step,loss\n1,"2\n', "damaged"),
        ("a.csv", "", "damaged"),
        ("a.jsonl", '{"st\n{"step": 1, "loss": 3}\n', "damaged"),
        ("a.jsonl", "[1]\n", "damaged"),
        ("a.jsonl", "step 1: loss 3", "damaged"),
        ("a.jsonl", '{"step": 1, "loss": 3}\nstep 2: loss 3\n', "damaged"),
        ("a.json", "{}", "damaged"),
        ("a.json", "[[1, 2]]", "damaged"),
        ("a.json", '{"log_history": 3}', "damaged"),
        ("a.txt", "step,loss\n", r"must be \.json, \.jsonl or \.csv"),
    ],
)
def test_invalid_log_raises_an_error_of_one_line(tmp_path, name, text, message):
    with pytest.raises(ShapesweepError, match=rf"/{name}: .*{message}"):
        read_log(written(tmp_path / name, text))


def test_absent_log_raises_an_error(tmp_path):
    with pytest.raises(ShapesweepError, match=r"absent\.csv: there is no such log"):
        read_log(tmp_path / "absent.csv")


@pytest.mark.parametrize("read", [read_text, read_log])
def test_git_lfs_pointer_of_a_text_or_log_is_named(tmp_path, read):
    oid = "a" * 64
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 1234567\n"
    path = written(tmp_path / "log.json", pointer)
    with pytest.raises(ShapesweepError, match=r"log\.json is a Git LFS pointer"):
        read(str(path))
