"""What a network is trained for: the model that holds the encoder, and its loss on a batch."""

from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from pipeline.corrupt import CORRUPTIONS
from pipeline.data import Batch, Manifest
from pipeline.models import dong, masci
from pipeline.params import Run

VOID = 255  # pixels of a mask that belong to no class


def corrupted(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The batch as a network sees it, spoiled on the 0-255 scale; a part of one as the whole would be."""
    assert spec.corruption is not None
    spoil, x = CORRUPTIONS[spec.corruption.name], batch.centred
    mine = slice(batch.place, batch.place + len(x))
    if len(x) < batch.whole:  # what is drawn for an image follows from its place
        x = x.new_zeros(batch.whole, *x.shape[1:])
        x[mine] = batch.centred
    return spoil(x, **asdict(spec.corruption.options), generator=generator)[mine] / batch.std


def encoder(spec: Run, manifest: Manifest) -> dong.Encoder:
    network = dong.NETWORKS[spec.network.name](**asdict(spec.network.options))
    return dong.Encoder(network, channels=manifest.channels, eps=spec.eps)


def autoencoder(spec: Run, manifest: Manifest) -> dong.AutoEncoder:
    return dong.AutoEncoder(encoder(spec, manifest), shortcuts=spec.objective.options.shortcuts)


def dong_classifier(spec: Run, manifest: Manifest) -> nn.Module:
    head = asdict(spec.objective.options)
    return dong.Classifier(
        encoder(spec, manifest), classes=len(manifest.classes), side=spec.augment.crop, **head
    )


def stack(spec: Run, manifest: Manifest) -> masci.Encoder:
    options = asdict(spec.network.options)
    del options["whole"]
    encoder = masci.Encoder(channels=manifest.channels, **options)
    encoder.side(spec.augment.crop)
    return encoder


def stacked_autoencoder(spec: Run, manifest: Manifest) -> masci.AutoEncoder:
    return masci.AutoEncoder(stack(spec, manifest), layer=spec.objective.options.layer)


def stack_classifier(spec: Run, manifest: Manifest) -> nn.Module:
    encoder, hidden = stack(spec, manifest), spec.objective.options.hidden
    return masci.Classifier(encoder, classes=len(manifest.classes), side=spec.augment.crop, hidden=hidden)


CLASSIFIERS: dict[str, Callable[[Run, Manifest], nn.Module]] = {  # by network
    **dict.fromkeys(dong.NETWORKS, dong_classifier),
    "stack": stack_classifier,
}


def classifier(spec: Run, manifest: Manifest) -> nn.Module:
    return CLASSIFIERS[spec.network.name](spec, manifest)


def segmenter(spec: Run, manifest: Manifest) -> nn.Module:
    return dong.Segmenter(autoencoder(spec, manifest), classes=len(manifest.classes))


MODELS: dict[str, Callable[[Run, Manifest], nn.Module]] = {
    "denoise": autoencoder,
    "classify": classifier,
    "multilabel": classifier,
    "segment": segmenter,
    "cae": stacked_autoencoder,
}


def denoise(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The squared error between x and f(x~)."""
    return mse_loss(model(corrupted(batch, spec, generator)).float(), batch.x)


def cae(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The squared error between a layer's input and what it restores; nothing moves below that layer."""
    assert isinstance(model, masci.AutoEncoder)
    spoiled = corrupted(batch, spec, generator) if spec.corruption else batch.x
    with torch.no_grad():
        x, seen = (model.encoder.below(each, model.layer) for each in (batch.x, spoiled))
    return mse_loss(model(seen).float(), x.float())


def classify(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    return cross_entropy(model(batch.x).float(), batch.label)


def multilabel(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """A logistic loss for each class, since an image shows several."""
    return binary_cross_entropy_with_logits(model(batch.x).float(), batch.label.float())


def segment(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    assert batch.mask is not None
    return cross_entropy(model(batch.x).float(), batch.mask, ignore_index=VOID)


LOSSES: dict[str, Callable[[nn.Module, Batch, Run, Generator], Tensor]] = {
    "denoise": denoise,
    "classify": classify,
    "multilabel": multilabel,
    "segment": segment,
    "cae": cae,
}
