"""Build the network that a run names, for its data."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pipeline.config.layer_notation import parse
from pipeline.config.runs import Run
from pipeline.data.manifest import Manifest
from pipeline.models import classifiers, dong, masci, swwae, wide


def encoder(spec: Run, manifest: Manifest) -> dong.Encoder:
    options = asdict(spec.network.options)
    activation = options.pop("activation")
    network = dong.NETWORKS[spec.network.name](**options)
    return dong.Encoder(network, channels=manifest.channels, eps=spec.eps, activation=activation)


def wide_resnet(spec: Run, manifest: Manifest) -> wide.Encoder:
    return wide.Encoder(**asdict(spec.network.options), channels=manifest.channels, eps=spec.eps)


ENCODERS: dict[str, Callable[[Run, Manifest], Any]] = {  # by network
    **dict.fromkeys(dong.NETWORKS, encoder),
    "wide-resnet": wide_resnet,
}


def autoencoder(spec: Run, manifest: Manifest) -> Any:
    backbone = ENCODERS[spec.network.name](spec, manifest)
    kind = wide.AutoEncoder if isinstance(backbone, wide.Encoder) else dong.AutoEncoder
    return kind(backbone, shortcuts=spec.objective.options.shortcuts)


def stack(spec: Run, manifest: Manifest) -> masci.Encoder:
    options = asdict(spec.network.options)
    del options["whole"]
    encoder = masci.Encoder(channels=manifest.channels, **options)
    encoder.side(spec.augment.crop)
    return encoder


def what_where(
    spec: Run, manifest: Manifest, *, dropout: float = 0.0, conv_dropout: float = 0.0
) -> tuple[swwae.Encoder, swwae.Head]:
    options, classes = spec.network.options, len(manifest.classes)
    if options.classes not in (None, classes):
        raise ValueError(
            f"layers {options.layers!r} ends in {options.classes} units, not {classes}, one per class"
        )
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


def macro_layers(spec: Run, manifest: Manifest) -> tuple[classifiers.Encoder, classifiers.Head]:
    network = spec.network.options
    encoder = classifiers.Encoder(
        classifiers.NETWORKS[spec.network.name](network.n), channels=manifest.channels
    )
    classes, side = len(manifest.classes), spec.augment.crop
    return encoder, classifiers.Head(
        encoder, classes=classes, side=side, hidden=network.hidden, dropout=network.dropout
    )
