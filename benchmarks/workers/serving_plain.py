"""The limit of ``benchmarks/serving.py``: a plain FastAPI handler around the same model.

It decodes with soundfile in its own process, has no limits, checks nothing, and embeds each request
alone. Arguments: the checkpoint, the port.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import soundfile
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from vprtrain.extractors import open_extractor

app = FastAPI()
extractor = open_extractor(Path(sys.argv[1]), "cpu")
gallery = np.random.default_rng(0).standard_normal((1000, extractor.embedding_dim))
gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)


def nearest(content: bytes) -> tuple[int, float]:
    samples, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    (embedding,) = extractor.embed([samples])
    scores = gallery @ (embedding / np.linalg.norm(embedding))
    return int(scores.argmax()), float(scores.max())


@app.post("/v1/identify")
async def identify(request: Request) -> dict[str, float]:
    user, score = await run_in_threadpool(nearest, await request.body())
    return {"user": user, "score": score}


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    return {"status": "ready"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
