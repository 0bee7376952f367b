"""A server that runs commands in forks of a process that has already imported their modules.

The sweep in a test starts a dozen jobs. A job takes less than a second, but a new process needs
three seconds to import torch, transformers and pandas. The server imports these modules only once.
It runs each command in a fork with the arguments, folder, environment and streams of the client.
The fork calls the same function as the installed program. If the client is killed, the fork ends.

    python warm.py serve SOCKET              # runs until its standard input is closed
    python warm.py run SOCKET PROGRAM [ARGUMENT ...]
"""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path

#: The module of each program. Each module has a function `main`.
PROGRAMS = {"shapesweep": "shapesweep.cli", "snakemake": "snakemake.cli"}
#: Modules that a program imports only after its start.
IMPORTED = (
    "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_svg", "plotly.offline", "snakemake.report",
    "shapesweep.activations.budget", "shapesweep.report.explosions", "shapesweep.hub.download",
    "shapesweep.report.sentences", "shapesweep.curves.join", "shapesweep.geometry.batch",
    "shapesweep.report.page", "shapesweep.plan.inventory", "shapesweep.plan.workflow",
    "shapesweep.training.probe", "shapesweep.report.summary", "shapesweep.training.train",
    "snakemake_logger_plugin_shapesweep", "tokenizers", "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert", "transformers.models.gpt_neox.modeling_gpt_neox",
    "transformers.models.llama.modeling_llama",
)  # fmt: skip


def serve(path):
    """For every client, run the command in a fork."""
    import importlib

    for name in (*PROGRAMS.values(), *IMPORTED):
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # The kernel reaps the forks.
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{path}.new")
        server.listen(64)
        # The socket gets its final name only after it has started to listen.
        Path(f"{path}.new").rename(path)
        # The test process never writes to standard input. Standard input becomes readable only at
        # end of file, when the test process has ended.
        while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
            client, _ = server.accept()
            if os.fork() == 0:
                server.close()
                answer(client)
            client.close()


def answer(client):
    """Run the command of a client, and send the exit status."""
    import importlib
    import threading

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, *_ = socket.recv_fds(client, 4, 3)
    (length,) = struct.unpack("!I", length)
    request = json.loads(client.recv(length, socket.MSG_WAITALL))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    # huggingface_hub reads environment variables when it is imported, so this process imports
    # huggingface_hub again. transformers keeps the module that the server imported. The
    # huggingface_hub in transformers has an endpoint without a server, because transformers must
    # not use the Hub.
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]
    sys.argv = request["arguments"]
    # End this process when the client ends. The client sends nothing more, so `recv` returns only
    # when the client has ended.
    threading.Thread(
        target=lambda: client.recv(1) or os.kill(os.getpid(), signal.SIGTERM), daemon=True
    ).start()
    status = 1
    try:
        status = importlib.import_module(PROGRAMS[request["program"]]).main()
    except SystemExit as end:
        status = end.code
        if isinstance(status, str):
            sys.stderr.write(f"{status}\n")
            status = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        status = int(status or 0) & 255
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        client.sendall(struct.pack("!B", status))
        os._exit(status)


def run(path, program, arguments):
    """Run a command on the server, and return its exit status."""
    request = {
        "program": program,
        "arguments": [program, *arguments],
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
    }
    body = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [struct.pack("!I", len(body))], [0, 1, 2])
        server.sendall(body)
        status = server.recv(1)
    # Shells report a killed process with this exit status.
    return status[0] if status else 128 + signal.SIGKILL


if __name__ == "__main__":
    action, socket_path, *words = sys.argv[1:]
    sys.exit(serve(socket_path) if action == "serve" else run(socket_path, words[0], words[1:]))
