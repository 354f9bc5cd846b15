"""Write the ``ppvector_*.json`` files of this folder. Run it in an environment with ppvector 1.0.2
and without vprtrain:

PYTHONPATH=tests python tests/parity/ppvector_figures.py [NAME ..]
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

# This import comes before Paddle: with the releases that ppvector supports, the other order may end
# in a segmentation fault.
import ppvector  # noqa: F401  # isort: skip
import paddle
from reference_weights import FRAMES, reference_features, reference_weight

# The file's name, ppvector's module and class, the size of the embedding.
MODELS = {
    "ppvector_campplus_192": ("campplus", "CAMPPlus", 192),
    "ppvector_ecapa_c512": ("ecapa_tdnn", "EcapaTdnn", 192),
    "ppvector_eres2net_192": ("eres2net", "ERes2Net", 192),
    "ppvector_res2net_192": ("res2net", "Res2Net", 192),
    "ppvector_resnet_se_192": ("resnet_se", "ResNetSE", 192),
    "ppvector_tdnn_192": ("tdnn", "TDNN", 192),
}


def figures(module: str, name: str, embedding_dim: int) -> dict[str, object]:
    model = getattr(importlib.import_module(f"ppvector.models.{module}"), name)(
        input_size=80, embd_dim=embedding_dim
    )
    model.eval()
    keys = [[key, list(value.shape)] for key, value in model.state_dict().items()]
    model.set_state_dict({key: reference_weight(key, shape) for key, shape in keys})
    outputs = {}
    for frames in FRAMES:
        with paddle.no_grad():
            embedding = model(paddle.to_tensor(reference_features(frames))).numpy().reshape(-1)
        outputs[str(frames)] = [float(f"{value:.6g}") for value in embedding]
    return {
        "source": f"ppvector 1.0.2 ppvector/models/{module}.py "
        f"{name}(input_size=80, embd_dim={embedding_dim}) "
        f"(paddle {paddle.__version__})",
        "trainable": int(sum(p.size for p in model.parameters() if not p.stop_gradient)),
        "keys": keys,
        "outputs": outputs,
    }


if __name__ == "__main__":
    for file in sys.argv[1:] or MODELS:
        text = json.dumps(figures(*MODELS[file]), separators=(",", ":"))
        (Path(__file__).parent / f"{file}.json").write_text(text)
        print(file)
