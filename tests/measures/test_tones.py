"""tones measures contrast and saturation, and no change of brightness, hue or shape."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from pipeline.measures.tones import WINDOWS, tones

SIDE = 6  # of a window


def images(count=2, *, seed=0):
    """Random pixels, far enough from 0 and 255 that no change is clipped."""
    random = torch.Generator().manual_seed(seed)
    return 128 + 20 * torch.randn(count, 3, WINDOWS * SIDE, WINDOWS * SIDE, generator=random).clamp(-3, 3)


def grey(x):
    return x.mean(dim=1, keepdim=True)


def whole(x):
    return x.mean(dim=(1, 2, 3), keepdim=True)


def enlarged(x):
    return x.repeat_interleave(SIDE, 2).repeat_interleave(SIDE, 3)


def local(x):
    return enlarged(avg_pool2d(grey(x), SIDE))


def by_window(low, high):
    """A factor for each window."""
    random = torch.Generator().manual_seed(1)
    return enlarged(low + (high - low) * torch.rand(2, 1, WINDOWS, WINDOWS, generator=random))


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda x: whole(x) + 0.7 * (x - whole(x)), 0.7),
        (lambda x: local(x) + by_window(0.3, 0.7) * (grey(x) - local(x)) + (x - grey(x)), 0.83),
        (lambda x: grey(x) + by_window(0.2, 0.6) * (x - grey(x)), 0.6),
    ],
    ids=["contrast", "local contrast", "saturation"],
)
def test_a_change_of_contrast_or_saturation_is_all_tones(change, kept):
    share, factor = tones(images(), change(images()))
    assert share.tolist() == pytest.approx([1, 1], abs=1e-6)
    assert factor.tolist() == pytest.approx([kept, kept], abs=0.02)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 5,
        lambda x: x + torch.tensor([6.0, -6.0, 0.0])[:, None, None],
        lambda x: x + images(seed=3) - whole(images(seed=3)),
    ],
    ids=["brightness", "hue", "added shapes"],
)
def test_what_changes_brightness_hue_or_shapes_is_no_change_of_tones(change):
    share, kept = tones(images(), change(images()))
    assert share.tolist() == pytest.approx([0, 0], abs=0.06)
    assert kept.tolist() == pytest.approx([1, 1], abs=0.03)


@pytest.mark.parametrize("contrast", [0.0, 0.2, 1.0, 5.0])
def test_an_image_without_the_shapes_is_no_change_of_tones(contrast):
    """An image that is grey, or unrelated, as of a network that has not learnt."""
    x, other = images(), images(seed=3)
    share, kept = tones(x, 128 + contrast / 2 * (other - whole(other)))
    assert kept.tolist() == pytest.approx([0, 0], abs=0.08)
    assert (share < 0.3).all()
    assert contrast or share.tolist() == pytest.approx([0, 0], abs=1e-3)


def test_a_blurred_image_has_lost_shapes():
    x = images()
    share, kept = tones(x, local(x) + x - grey(x))
    assert share.tolist() == pytest.approx([0, 0], abs=0.05)  # by chance, of detail of 1e-6
    assert kept.tolist() == pytest.approx([2 / 3] * 2, abs=0.02)  # two of three orthogonal colours


def test_an_inverted_contrast_is_no_change_of_tones():
    x = images()
    share, kept = tones(x, 2 * whole(x) - x)
    assert share.tolist() == pytest.approx([0, 0], abs=1e-6)
    assert kept.tolist() == pytest.approx([-1, -1], abs=1e-6)


def test_what_a_display_clips_is_no_error():
    bright = torch.full((1, 3, 16, 16), 250.0)
    bright[..., ::2] = 240
    share, kept = tones(bright, bright)
    assert share.isnan().all()
    assert kept.item() == pytest.approx(1)
    assert tones(bright, 40 * bright)[1].item() == pytest.approx(0)


def test_what_does_not_fill_a_window_is_cut_and_a_small_image_has_fewer_windows():
    x = images()
    wide = torch.zeros(2, 3, WINDOWS * SIDE + 3, WINDOWS * SIDE + 1)
    wide[..., : WINDOWS * SIDE, : WINDOWS * SIDE] = x
    for cut, all_of_it in zip(tones(wide, wide.flip(1)), tones(x, x.flip(1)), strict=True):
        assert torch.equal(cut, all_of_it)
    few = x[..., :2, :3]
    assert tones(few, few + 1)[0].tolist() == pytest.approx([0, 0], abs=1e-6)
