"""What a network is trained for: the model that holds the encoder, and its loss on a batch."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from pipeline.compute import distributed
from pipeline.config.layer_notation import parse
from pipeline.config.runs import Run
from pipeline.corruptions import CORRUPTIONS, MASKS
from pipeline.data.batches import Batch
from pipeline.data.manifest import Manifest
from pipeline.models import dong, masci, probe, swwae, wide, zhang
from pipeline.models.layers import Classifier

VOID = 255  # pixels of a mask that belong to no class


def corrupted(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The batch as a network sees it, spoiled on the 0-255 scale; a part of one as the whole would be."""
    assert spec.corruption is not None
    spoil, (x, mine) = CORRUPTIONS[spec.corruption.name], whole(batch)
    spoiled = spoil(x, **asdict(spec.corruption.options), generator=generator)[mine]
    if spec.corrupted < 1:
        drawn = torch.rand((len(x), 1, 1, 1), device=x.device, generator=generator)[mine]
        spoiled = torch.where(drawn < spec.corrupted, spoiled, batch.centred)
    return spoiled / batch.std


def whole(batch: Batch) -> tuple[Tensor, Any]:
    """As many images as the whole batch has, since draws go by place, and which of them are one's own."""
    if len(batch.centred) >= batch.whole:
        return batch.centred, slice(None)
    x = batch.centred.new_zeros(batch.whole, *batch.centred.shape[1:])
    x[batch.places] = batch.centred
    return x, batch.places


def hidden(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The pixels that a corruption will hide, where it is drawn next; the generator stays where it is."""
    assert spec.corruption is not None
    mask_of, (x, mine) = MASKS[spec.corruption.name], whole(batch)
    return mask_of(x, **asdict(spec.corruption.options), generator=generator.clone_state())[mine]


def seen(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """What a supervised training learns from: images as they are, unless the run says otherwise."""
    return corrupted(batch, spec, generator) if spec.corruption else batch.x


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
    made = ENCODERS[spec.network.name](spec, manifest)
    kind = wide.AutoEncoder if isinstance(made, wide.Encoder) else dong.AutoEncoder
    return kind(made, shortcuts=spec.objective.options.shortcuts)


def dong_classifier(spec: Run, manifest: Manifest) -> nn.Module:
    head = asdict(spec.objective.options)
    made = ENCODERS[spec.network.name](spec, manifest)
    return dong.Classifier(made, classes=len(manifest.classes), side=spec.augment.crop, **head)


def probes(spec: Run, manifest: Manifest) -> probe.Probes:
    return probe.Probes(encoder(spec, manifest), classes=len(manifest.classes), side=spec.augment.crop)


def stack(spec: Run, manifest: Manifest) -> masci.Encoder:
    options = asdict(spec.network.options)
    del options["whole"]
    encoder = masci.Encoder(channels=manifest.channels, **options)
    encoder.side(spec.augment.crop)
    return encoder


def stacked_autoencoder(spec: Run, manifest: Manifest) -> masci.AutoEncoder:
    layer = spec.objective.options.layer
    codes = masci.Codes(manifest.count) if layer > 1 and unchanging(spec, manifest) else None
    return masci.AutoEncoder(stack(spec, manifest), layer=layer, codes=codes)


def unchanging(spec: Run, manifest: Manifest) -> bool:
    """Whether a run sees the same pixels each time that it sees an image."""
    augment, shape = spec.augment, manifest.record["shape"]
    varied = spec.corruption or augment.flip or augment.pad or augment.short
    return not varied and shape is not None and max(shape) <= augment.crop


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
    return Classifier(*what_where(spec, manifest, dropout=spec.objective.options.dropout))


def what_where_autoencoder(spec: Run, manifest: Manifest) -> nn.Module:
    options = spec.objective.options
    return swwae.AutoEncoder(
        *what_where(spec, manifest, dropout=options.dropout, conv_dropout=options.conv_dropout)
    )


def macro_classifier(spec: Run, manifest: Manifest) -> zhang.Classifier:
    return zhang.Classifier(*macro_layers(spec, manifest))


def macro_layers(spec: Run, manifest: Manifest) -> tuple[zhang.Encoder, zhang.Head]:
    network = spec.network.options
    encoder = zhang.Encoder(zhang.NETWORKS[spec.network.name](network.n), channels=manifest.channels)
    classes, side = len(manifest.classes), spec.augment.crop
    return encoder, zhang.Head(
        encoder, classes=classes, side=side, hidden=network.hidden, dropout=network.dropout
    )


def augmented(spec: Run, manifest: Manifest) -> zhang.Augmented:
    options, levels = spec.objective.options, spec.network.options.levels
    decoding = {"levels": levels, "top": options.top or levels, "switches": options.switches}
    layers = macro_layers(spec, manifest)
    if options.variant == "ladder":
        if distributed.RANKS > 1:
            raise ValueError("a ladder's noise is drawn for whole batches; train it in one process")
        return zhang.Ladder(*layers, noise=options.noise, **decoding)
    return zhang.Augmented(*layers, stacked=options.variant != "layerwise", **decoding)


CLASSIFIERS: dict[str, Callable[[Run, Manifest], nn.Module]] = {  # by network
    **dict.fromkeys(ENCODERS, dong_classifier),
    "stack": stack_classifier,
    "what-where": what_where_classifier,
    **dict.fromkeys(zhang.NETWORKS, macro_classifier),
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
    "probe": probes,
    "augment": augmented,
}


def denoise(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The squared error between x and f(x~), of all pixels or of the hidden ones."""
    assert spec.corruption is not None
    if not spec.objective.options.masked:
        return mse_loss(model(corrupted(batch, spec, generator)).float(), batch.x)
    where = hidden(batch, spec, generator).float()
    error = (model(corrupted(batch, spec, generator)).float() - batch.x).square().mean(dim=1, keepdim=True)
    each = (error * where).sum(dim=(1, 2, 3)) / where.sum(dim=(1, 2, 3)).clamp(min=1)
    return each.mean()


def cae(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The squared error between a layer's input and what it restores; nothing moves below that layer."""
    assert isinstance(model, masci.AutoEncoder)
    x = seen = model.input(batch.x, batch.index)
    if spec.corruption:
        with torch.no_grad():
            seen = model.encoder.below(corrupted(batch, spec, generator), model.layer)
    return mse_loss(model(seen).float(), x.float())


def classify(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    return cross_entropy(model(seen(batch, spec, generator)).float(), batch.label)


def multilabel(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """A logistic loss for each class, since an image shows several."""
    return binary_cross_entropy_with_logits(model(seen(batch, spec, generator)).float(), batch.label.float())


def segment(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    assert batch.mask is not None
    return cross_entropy(model(seen(batch, spec, generator)).float(), batch.mask, ignore_index=VOID)


def probe_layers(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The sum of all probes' losses: they share no weights that learn, so each is trained as if alone."""
    found = model(batch.x)
    each = [cross_entropy(logits.float(), batch.label) + mse_loss(y.float(), batch.x) for logits, y in found]
    return torch.stack(each).sum()


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


def restoration(
    model: zhang.Augmented, batch: Batch, *generators: Generator
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """What is made of a_0, a_1, ... again, how far it is from them, and what the head classifies."""
    maps, restored, top = model.paths(batch.x, *generators)
    errors = [y.float() - a.float() for y, a in zip(restored, maps, strict=False)]
    errors[0] = errors[0] * batch.std / 255  # the image's target is RGB in [0, 1]
    return restored, errors, top


def augment(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """C(x, y) + lambda U(x); the gradient flows into the targets of U, too."""
    assert isinstance(model, zhang.Augmented)
    options = spec.objective.options
    _, errors, top = restoration(model, batch, generator)
    norm = zhang.NORMS[options.norm]
    terms = [weight * norm(error) for weight, error in zip(options.weights, errors, strict=False)]
    return cross_entropy(model.head(top).float(), batch.label) + options.strength * torch.stack(terms).sum()


LOSSES: dict[str, Callable[[nn.Module, Batch, Run, Generator], Tensor]] = {
    "denoise": denoise,
    "classify": classify,
    "multilabel": multilabel,
    "segment": segment,
    "cae": cae,
    "swwae": swwae_loss,
    "probe": probe_layers,
    "augment": augment,
}
