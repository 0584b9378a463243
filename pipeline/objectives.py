"""What a network is trained for: the model that holds the encoder, and its loss on a batch."""

from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from pipeline.corrupt import CORRUPTIONS
from pipeline.data import Batch, Manifest
from pipeline.models import dong, masci, swwae
from pipeline.notation import parse
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


def what_where(
    spec: Run, manifest: Manifest, *, dropout: float = 0.0, conv_dropout: float = 0.0
) -> tuple[swwae.Encoder, swwae.Head]:
    options, classes = spec.network.options, len(manifest.classes)
    if options.classes not in (None, classes):
        raise ValueError(f"layers {options.layers!r} ends in {options.classes} units for {classes} classes")
    layers = parse(options.layers)
    encoder = swwae.Encoder(
        layers,
        channels=manifest.channels,
        pooling=options.pooling,
        beta=options.beta,
        eps=spec.eps if options.norm else None,
        dropout=conv_dropout,
    )
    return encoder, swwae.Head(layers, encoder, side=spec.augment.crop, dropout=dropout)


def what_where_classifier(spec: Run, manifest: Manifest) -> nn.Module:
    return swwae.Classifier(*what_where(spec, manifest, dropout=spec.objective.options.dropout))


def what_where_autoencoder(spec: Run, manifest: Manifest) -> nn.Module:
    options = spec.objective.options
    return swwae.AutoEncoder(
        *what_where(spec, manifest, dropout=options.dropout, conv_dropout=options.conv_dropout)
    )


CLASSIFIERS: dict[str, Callable[[Run, Manifest], nn.Module]] = {  # by network
    **dict.fromkeys(dong.NETWORKS, dong_classifier),
    "stack": stack_classifier,
    "what-where": what_where_classifier,
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
    "swwae": what_where_autoencoder,
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


def swwae_loss(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """L_NLL + lambda_L2rec L_L2rec + lambda_L2M L_L2M; all but L_NLL are of unlabelled images, too."""
    assert isinstance(model, swwae.AutoEncoder)
    options, known = spec.objective.options, slice(batch.labelled)
    decoded = options.l2rec or options.l2m
    x = batch.x if decoded or options.l1 else batch.x[known]
    maps, wheres = model.encoder.maps(x)
    terms = []
    if options.nll:
        terms.append(options.nll * cross_entropy(model.head(maps[-1][known]).float(), batch.label[known]))
    if decoded:
        *between, image = [mse_loss(y.float(), own.float()) for own, y in model.decoder(maps, wheres)]
        terms += [options.l2rec * image, *(options.l2m * each for each in between)]
    if options.l1:
        terms += [options.l1 * each.float().abs().mean() for each in model.encoder.hidden(maps)]
    return torch.stack(terms).sum()


LOSSES: dict[str, Callable[[nn.Module, Batch, Run, Generator], Tensor]] = {
    "denoise": denoise,
    "classify": classify,
    "multilabel": multilabel,
    "segment": segment,
    "cae": cae,
    "swwae": swwae_loss,
}
