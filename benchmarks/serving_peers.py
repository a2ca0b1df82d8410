"""What others serve with, and the network alone, in processes of their own: ``python -m benchmarks.serving_peers …``.

``bare NAME BATCH SECONDS`` prints pictures per second of a forward pass and nothing else; ``quick MODEL BATCH SECONDS``
those of the network as it is served, on a thread a core. ``fastapi NAME PORT`` is what
the author of a notebook puts around their model. ``inference_py NAME`` prints the functions that AWS's handler calls.
"""

import io
import sys
import time

MODEL = """
import timm, torch
from torchvision import transforms

model = timm.create_model("{name}", num_classes=120)
model.eval()
transform = transforms.Compose([
    transforms.Resize(256),
    transforms.CenterCrop(224),
    transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])
"""
INFERENCE_PY = """
import io, json
from PIL import Image
{model}
def model_fn(model_dir):
    return model

def input_fn(body, content_type):
    return transform(Image.open(io.BytesIO(body)).convert("RGB")).unsqueeze(0)

def predict_fn(data, model):
    with torch.no_grad():
        return torch.softmax(model(data), dim=1)[0].topk(5)

def output_fn(prediction, accept):
    values, indices = prediction
    return json.dumps([{{"label": str(i), "probability": p}} for i, p in zip(indices.tolist(), values.tolist())])
"""


def bare(name: str, batch: int, seconds: float) -> float:
    """Run the network as timm makes it, channels_last, on as many threads as there are cores."""
    import timm
    import torch

    from dogbreed.machine import num_cpus

    torch.set_num_threads(num_cpus())
    net = timm.create_model(name, num_classes=120).eval().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(3):
            net(images)
        num_passes, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            net(images)
            num_passes += 1
    return num_passes * batch / (time.perf_counter() - started)


def quick(model: str, batch: int, seconds: float) -> float:
    """Run the network as it is served, on a thread for each core, with pictures that are decoded already."""
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from dogbreed.machine import num_cpus
    from dogbreed.serving.predictor import Predictor

    predictor = Predictor.load(model, "cpu", num_cpus())
    view = predictor.view(torch.randint(0, 256, (3, 400, 500), dtype=torch.uint8))

    def answer(_: int) -> int:
        torch.set_num_threads(1)
        num_pictures, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            num_pictures += len(predictor.predict_batch([view] * batch))
        return num_pictures

    predictor.warm_up([batch])
    with ThreadPoolExecutor(num_cpus()) as pool:
        started = time.perf_counter()
        return sum(pool.map(answer, range(num_cpus()))) / (time.perf_counter() - started)


def serve_with_fastapi(name: str, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI, Request
    from PIL import Image

    made = {}
    exec(MODEL.format(name=name), made)
    model, transform, torch = made["model"], made["transform"], made["torch"]
    app = FastAPI()

    @app.get("/ping")
    async def ping():
        return {}

    async def invocations(request: Request):
        image = Image.open(io.BytesIO(await request.body())).convert("RGB")
        with torch.no_grad():
            probabilities = torch.softmax(model(transform(image).unsqueeze(0)), dim=1)[0]
        values, indices = probabilities.topk(5)
        return [{"label": str(i), "probability": p} for i, p in zip(indices.tolist(), values.tolist(), strict=True)]

    invocations.__annotations__["request"] = Request
    app.post("/invocations")(invocations)
    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    what, architecture, *rest = sys.argv[1:]
    if what == "bare":
        print(bare(architecture, int(rest[0]), float(rest[1])))
    elif what == "quick":
        print(quick(architecture, int(rest[0]), float(rest[1])))
    elif what == "fastapi":
        serve_with_fastapi(architecture, int(rest[0]))
    else:
        print(INFERENCE_PY.format(model=MODEL.format(name=architecture)))
