"""``vprtrain launch``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.errors import UsageError


def launch(parser: CommandParser, arguments: list[str]) -> int:
    """Train in several processes, on one machine or several, and restart after a crash.

    The command follows --, as a script or as vprtrain itself:
    vprtrain launch --devices 0,1 -- vprtrain fit --recipe cnceleb. Paddle's launcher starts it
    once for each device. After a crash of a rank or of that launcher all ranks resume from
    last_model, unless the restart before brought no new checkpoint. SIGTERM and Ctrl-C stop all
    ranks with a checkpoint. The output of rank 0 is shown, and the last lines of a rank that
    failed. The exit status is that of the command. Several machines need the same random text in
    the environment variable VPRTRAIN_SECRET.
    """
    _add_options(parser)
    own, command = _split(arguments)
    if not command and not {"-h", "--help"} & set(own):
        raise UsageError(
            "there is no command to launch: give the command and its arguments after --"
        )
    options = parser.parse_args(own)
    _check(options)
    runtime.require_paddle()

    from vprtrain.ranks.launcher import Launch
    from vprtrain.ranks.secret import given_secret

    launcher_options = {
        "devices": options.devices,
        "nproc_per_node": options.nproc_per_node,
        "nnodes": options.nnodes,
        "master": options.master,
        "rank": options.node_rank,
    }
    return Launch(
        options=[
            f"--{name}={value}" for name, value in launcher_options.items() if value is not None
        ],
        command=_python_arguments(command),
        secret=given_secret(machines=options.nnodes),
        max_restarts=options.max_restarts,
        logs=None if options.log_dir is None else Path(options.log_dir),
    ).run()


def _add_options(parser: CommandParser) -> None:
    parser.add_argument(
        "--devices",
        type=str | None,
        default=None,
        help="GPUs of this machine, for example 0,1; default: all",
    )
    parser.add_argument(
        "--nproc_per_node",
        "--nprocs",
        type=int | None,
        default=None,
        help="number of processes on this machine, on CPUs or on the first GPUs",
    )
    parser.add_argument(
        "--nnodes", type=int, default=1, help="number of machines; run the same command on each"
    )
    parser.add_argument(
        "--master",
        type=str | None,
        default=None,
        help="with --nnodes: HOST:PORT of the first machine",
    )
    parser.add_argument(
        "--node_rank",
        type=int | None,
        default=None,
        help="number of this machine, from 0; default: by order of arrival",
    )
    parser.add_argument(
        "--max_restarts", "--max-restarts", type=int, default=3, help="number of restarts allowed"
    )
    parser.add_argument(
        "--log_dir",
        type=str | None,
        default=None,
        help="the folder for rank_<n>.log; default: a temporary folder",
    )


def _check(options: Namespace) -> None:
    if options.nnodes > 1 and options.master is None:
        raise UsageError(
            f"--nnodes is {options.nnodes}: give --master HOST:PORT, the same on all machines"
        )
    if options.max_restarts < 0:
        raise UsageError(f"--max_restarts is {options.max_restarts}: expected 0 or more")


def _python_arguments(command: list[str]) -> list[str]:
    """The command as arguments of the Python interpreter."""
    program, *arguments = command
    if program == "vprtrain":
        return ["-m", "vprtrain", *arguments]
    if not Path(program).is_file():
        raise UsageError(f"{program} is not a file: expected a script or vprtrain after --")
    return command


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options of ``launch``, and what follows the first ``--``."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]
