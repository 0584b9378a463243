"""What a network is trained for: the model that holds the encoder, and its loss on a batch."""

from collections.abc import Callable
from dataclasses import asdict

from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from pipeline.corrupt import CORRUPTIONS
from pipeline.data import Batch, Manifest
from pipeline.models import dong, zhang
from pipeline.params import Run

VOID = 255  # pixels of a mask that belong to no class


def corrupted(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The batch as a network sees it, spoiled on the 0-255 scale."""
    assert spec.corruption is not None
    spoil = CORRUPTIONS[spec.corruption.name]
    return spoil(batch.centred, **asdict(spec.corruption.options), generator=generator) / batch.std


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


def vgg(spec: Run, manifest: Manifest) -> zhang.Encoder:
    return zhang.Encoder(n=spec.network.options.n, channels=manifest.channels)


def vgg_head(spec: Run, manifest: Manifest) -> dict:
    options = spec.objective.options
    classes, side = len(manifest.classes), spec.augment.crop
    return {"classes": classes, "side": side, "hidden": options.hidden, "dropout": options.dropout}


def vgg_classifier(spec: Run, manifest: Manifest) -> nn.Module:
    return zhang.Classifier(vgg(spec, manifest), **vgg_head(spec, manifest))


def augmented(spec: Run, manifest: Manifest) -> nn.Module:
    options = spec.objective.options
    stacked = options.variant != "layerwise"
    return zhang.Augmented(
        vgg(spec, manifest), switches=options.switches, stacked=stacked, **vgg_head(spec, manifest)
    )


CLASSIFIERS: dict[str, Callable[[Run, Manifest], nn.Module]] = {  # by network
    **dict.fromkeys(dong.NETWORKS, dong_classifier),
    "vgg": vgg_classifier,
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
    "augment": augmented,
}


def denoise(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The squared error between x and f(x~)."""
    return mse_loss(model(corrupted(batch, spec, generator)).float(), batch.x)


def classify(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    return cross_entropy(model(batch.x).float(), batch.label)


def multilabel(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """A logistic loss for each class, since an image shows several."""
    return binary_cross_entropy_with_logits(model(batch.x).float(), batch.label.float())


def segment(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    assert batch.mask is not None
    return cross_entropy(model(batch.x).float(), batch.mask, ignore_index=VOID)


def augment(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """C(x, y) + lambda U(x); the gradient flows into the targets of U, too."""
    assert isinstance(model, zhang.Augmented)
    options = spec.objective.options
    maps, switches = model.encoder.maps(batch.x)
    errors = [y.float() - a.float() for y, a in zip(model.restored(maps, switches), maps, strict=False)]
    errors[0] = errors[0] * batch.std / 255  # the image's target is RGB in [0, 1]
    norm = zhang.NORMS[options.norm]
    unsupervised = sum(weight * norm(error) for weight, error in zip(options.weights, errors, strict=False))
    assert isinstance(unsupervised, Tensor)
    if options.part == "decoders":
        return options.balance * unsupervised
    return cross_entropy(model.head(maps[-1]).float(), batch.label) + options.balance * unsupervised


LOSSES: dict[str, Callable[[nn.Module, Batch, Run, Generator], Tensor]] = {
    "denoise": denoise,
    "classify": classify,
    "multilabel": multilabel,
    "segment": segment,
    "augment": augment,
}
