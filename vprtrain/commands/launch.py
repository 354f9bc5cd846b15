"""``vprtrain launch``."""

from __future__ import annotations

from pathlib import Path

from vprtrain.commands.config import CommandParser
from vprtrain.errors import UsageError


def launch(parser: CommandParser, arguments: list[str]) -> int:
    """Train in several processes, on several machines too, and start again after a crash.

    vprtrain launch --devices 0,1 -- recipes/cnceleb/run.py fit ..., with the script's command
    behind --. Paddle's launcher starts it once a device; after a crash of a rank or of that
    launcher all ranks go on from last_model, unless the restart before brought no new checkpoint.
    SIGTERM and Ctrl-C stop all ranks with a checkpoint. What the first rank says is shown, and the
    end of what a rank said that failed. The exit status is the script's.
    """
    parser.add_argument(
        "--devices",
        type=str | None,
        default=None,
        help="GPUs of this machine, as 0,1; default: all",
    )
    parser.add_argument(
        "--nproc_per_node",
        "--nprocs",
        type=int | None,
        default=None,
        help="processes here, on CPUs or the first GPUs",
    )
    parser.add_argument(
        "--nnodes", type=int, default=1, help="machines; run the same command on each"
    )
    parser.add_argument(
        "--master",
        type=str | None,
        default=None,
        help="HOST:PORT of the first machine, with --nnodes",
    )
    parser.add_argument(
        "--node_rank",
        type=int | None,
        default=None,
        help="which machine this is, from 0; default: by order of arrival",
    )
    parser.add_argument(
        "--max_restarts", "--max-restarts", type=int, default=3, help="after crashes"
    )
    parser.add_argument(
        "--log_dir",
        type=str | None,
        default=None,
        help="keep rank_<n>.log there; default: a temporary folder",
    )
    own, command = _split(arguments)
    if not command and not {"-h", "--help"} & set(own):
        raise UsageError(
            "there is no command to launch: give the script and its arguments behind --"
        )
    options = parser.parse_args(own)
    if not Path(command[0]).is_file():
        raise UsageError(f"{command[0]} is no file: expected the training script behind --")
    if options.nnodes > 1 and options.master is None:
        raise UsageError(
            f"--nnodes is {options.nnodes}: give --master HOST:PORT, the same on all machines"
        )
    if options.max_restarts < 0:
        raise UsageError(f"--max_restarts is {options.max_restarts}: expected 0 or more")

    from vprtrain.ranks.launcher import Launch

    wanted = {
        "devices": options.devices,
        "nproc_per_node": options.nproc_per_node,
        "nnodes": options.nnodes,
        "master": options.master,
        "rank": options.node_rank,
    }
    return Launch(
        options=[f"--{name}={value}" for name, value in wanted.items() if value is not None],
        command=command,
        max_restarts=options.max_restarts,
        logs=None if options.log_dir is None else Path(options.log_dir),
    ).run()


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options, and what stands behind the first ``--``."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]
