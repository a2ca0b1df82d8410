"""The peer: fine-tuning as notebooks write it, in plain PyTorch.

ImageFolder, torchvision transforms, no loader workers, a frozen backbone under
``model.train()``, Adam 1e-3 on a new linear head, the last epoch's weights. It
differs from the notebooks in one thing: it looks at the test set once, at the end.
With ``timm`` it has timm's loader, augmentation and cosine schedule.

    python -m benchmarks.notebook_loop FOLDER WEIGHTS EPOCHS SEED [timm]
"""

import json
import sys
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from timm.data import create_dataset, create_loader
from timm.scheduler import create_scheduler_v2
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main(folder: str, weights: str, epochs: str, seed: str, loader: str = "torchvision") -> None:
    torch.manual_seed(int(seed))
    normalize = transforms.Normalize(MEAN, STD)
    train_set = ImageFolder(
        Path(folder, "train"),
        transforms.Compose(
            [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalize]
        ),
    )
    test_set = ImageFolder(
        Path(folder, "test"),
        transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalize]),
    )
    model = timm.create_model("mobilenetv2_100", pretrained=False)
    model.load_state_dict(load_file(weights))
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.classifier = nn.Linear(model.classifier.in_features, len(train_set.classes))
    optimizer = torch.optim.Adam(model.classifier.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    batches = DataLoader(train_set, batch_size=32, shuffle=True)
    scheduler = None
    if loader == "timm":
        batches = timm_loader(folder)
        scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=int(epochs))
    for epoch in range(int(epochs)):
        model.train()
        if scheduler:
            scheduler.step(epoch)
        for images, labels in batches:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in DataLoader(test_set, batch_size=32):
            correct += int((model(images).argmax(dim=1) == labels).sum())
    print(json.dumps({"test/acc_top1": correct / len(test_set)}))


def timm_loader(folder: str):
    """Make timm's own loader with its defaults; no workers, as in the other loop."""
    dataset = create_dataset("", root=str(Path(folder, "train")))
    return create_loader(
        dataset, (3, 224, 224), 32, is_training=True, num_workers=0, use_prefetcher=False, persistent_workers=False,
        device=torch.device("cpu"),
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
