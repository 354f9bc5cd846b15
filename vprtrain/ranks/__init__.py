"""The ranks of a run: the processes that train one model together, and how they are started.

Who starts whom, from top to bottom::

    vprtrain launch            launcher.Launch: one process for each machine. It restarts the ranks
      |                        after a crash (restarts.py decides) and shows the logs.
      paddle.distributed.launch    Paddle's launcher: starts one process for each device.
        |
        rank_process.py        one for each rank: writes the rank's output to rank_<n>.log, and its
          |                    exit status into the handshake folder.
          the training script  calls connect_ranks() of launched_ranks.py, which gives a
                               LaunchedRanks. Without a launcher it gives a Ranks of one process.

What carries what between them:

- Paddle's collectives (gloo on CPUs, NCCL on GPUs) carry tensors: gradients, weights, embeddings.
- The star of control.py and hub.py (TCP; a ``Hub`` in rank 0, a ``Control`` in every rank) carries
  small values, requests for attention and failures. It waits without a time limit; a collective
  cannot. Only ranks that prove the secret of the run take part: secret.py says where it comes from,
  greeting.py how it is proved, admission.py who is let in, and rendezvous.py how ranks find rank 0.
- The handshake folder (files on this machine) carries what ``vprtrain launch`` needs to know: the
  run directory, the exit status of each rank, and which rank failed by itself.

Engine, modules and data see only :class:`Ranks`.
"""

import lazy_loader

# The names and their modules are listed in __init__.pyi beside this file.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
