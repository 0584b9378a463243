"""Each corruption's effect on a batch: statistics, positions, and random draws."""

import pytest
import torch

from pipeline.corruptions import CORRUPTIONS, MASKS, blocks_mask

SIZES = (28, 29, 32, 89, 225)
OPTIONS = {
    "pixel_gaussian": {"sigma": (10.0, 50.0)},
    "fixed_gaussian": {"sigma": 30.0},
    "patch_gaussian": {"sigma": (10.0, 50.0), "patch": 4},
    "big_block": {"low": 0.25, "high": 0.5},
    "small_blocks": {"count": 21, "fraction": 0.125},
    "binomial": {"probability": 0.3, "black": 0.0, "white": 0.0},
}
EVERY = pytest.mark.parametrize("name", OPTIONS)
MASKING = pytest.mark.parametrize("name", MASKS)


def generator(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def images(count: int, size: int, *, channels: int = 3, seed: int = 1) -> torch.Tensor:
    """Pixels in [1, 100), so that 0 means hidden."""
    return 1 + 99 * torch.rand((count, channels, size, size), generator=generator(seed))


def spoil(name: str, x: torch.Tensor, seed: int = 0, **options) -> torch.Tensor:
    return CORRUPTIONS[name](x, **OPTIONS[name] | options, generator=generator(seed, x.device.type))


def hidden(name: str, x: torch.Tensor, seed: int = 0, **options) -> torch.Tensor:
    return MASKS[name](x, **OPTIONS[name] | options, generator=generator(seed, x.device.type))


def test_every_corruption_is_tested_here():
    assert OPTIONS.keys() == CORRUPTIONS.keys()
    assert MASKS.keys() < CORRUPTIONS.keys()


@EVERY
@pytest.mark.parametrize("size", SIZES)
def test_the_input_is_unchanged_and_the_output_has_its_type(name, size):
    x = images(3, size)
    before = x.clone()
    y = spoil(name, x)
    assert torch.equal(x, before)
    assert y.data_ptr() != x.data_ptr()
    assert (y.shape, y.dtype, y.stride(), y.requires_grad) == (x.shape, x.dtype, x.stride(), False)
    assert not torch.equal(y, x)


@EVERY
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last_stays_and_changes_no_value(name, channels):
    x = images(3, 29, channels=channels)
    last = x.contiguous(memory_format=torch.channels_last)
    y = spoil(name, last)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert y.stride() == last.stride()
    assert torch.equal(y, spoil(name, x))


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_another_precision_sees_the_same_corruption(name, dtype):
    x = images(2, 29)
    y = spoil(name, x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), spoil(name, x.to(dtype).float()), rtol=0.01, atol=1e-4)


@EVERY
def test_all_randomness_comes_from_the_generator(name):
    x = images(4, 29)
    torch.manual_seed(1)
    state, first = torch.random.get_rng_state(), spoil(name, x)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(spoil(name, x), first)
    assert not torch.equal(spoil(name, x, seed=1), first)


@EVERY
def test_one_generator_gives_each_batch_another_corruption(name):
    x, source = images(4, 29), generator()
    first, second = (CORRUPTIONS[name](x, **OPTIONS[name], generator=source) for _ in range(2))
    assert not torch.equal(first, second)


@EVERY
def test_images_of_a_batch_are_corrupted_independently(name):
    x = images(1, 89).expand(4, -1, -1, -1)
    y = spoil(name, x)
    assert all(not torch.equal(y[i], y[j]) for i in range(4) for j in range(i))


@EVERY
def test_corruptions_run_under_deterministic_algorithms(name):
    x = images(3, 29)
    expected = spoil(name, x)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(spoil(name, x), expected)
    finally:
        torch.use_deterministic_algorithms(False)


@EVERY
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_repeats_itself(name):
    x = images(8, 29).cuda().contiguous(memory_format=torch.channels_last)
    torch.use_deterministic_algorithms(True)
    try:
        first, second = spoil(name, x), spoil(name, x)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first, second)
    assert first.is_cuda
    assert first.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", SIZES)
def test_fixed_noise_has_mean_zero_and_its_sigma(size):
    x = images(16, size)
    noise = spoil("fixed_gaussian", x) - x
    values = noise.numel()
    assert abs(float(noise.mean())) < 5 * 30 / values**0.5
    assert abs(float(noise.std()) / 30 - 1) < 5 / (2 * values) ** 0.5
    assert (
        abs(float(noise.abs().mean()) / 30 - (2 / torch.pi) ** 0.5) < 5 / values**0.5
    )  # Gaussian, not uniform


def test_pixel_noise_differs_from_pixel_to_pixel_and_channel_to_channel():
    x = images(64, 29)
    noise = spoil("pixel_gaussian", x, sigma=(30.0, 30.0)) - x
    for other in (noise.roll(1, 1), noise.roll(1, 2), noise.roll(1, 3)):
        assert abs(float((noise * other).mean())) / 900 < 5 / noise.numel() ** 0.5


@pytest.mark.parametrize(("name", "options"), [("pixel_gaussian", {}), ("patch_gaussian", {"patch": 1})])
def test_each_image_draws_its_sigma_uniformly_from_the_range(name, options):
    x = torch.zeros(1000, 3, 29, 29)
    sigma = spoil(name, x, **options).std(dim=(1, 2, 3))
    error = 50 / (2 * 3 * 29 * 29) ** 0.5
    assert 10 - 5 * error < sigma.min() < 12
    assert 48 < sigma.max() < 50 + 5 * error
    uniform = (sigma.sort().values - 10) / 40
    distance = (uniform - torch.linspace(0, 1, 1000)).abs().max()
    assert distance < 1.95 / 1000**0.5 + error / 40  # Kolmogorov and Smirnov's at 0.1 %


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("patch", [3, 4, 8])
def test_patch_noise_is_one_value_over_each_patch_and_another_over_the_next(size, patch):
    y = spoil("patch_gaussian", torch.zeros(2, 3, size, size), patch=patch)
    grid = y[:, :, ::patch, ::patch]
    assert grid.shape[2:] == (-(-size // patch),) * 2
    place = torch.arange(size) // patch
    assert torch.equal(y, grid[:, :, place][:, :, :, place])
    assert len(grid.unique()) > 0.99 * grid.numel()


def test_patches_and_channels_are_independent_and_of_the_given_sigma():
    grid = spoil("patch_gaussian", torch.zeros(500, 3, 32, 32), sigma=(30.0, 30.0))[:, :, ::4, ::4]
    assert abs(float(grid.std()) / 30 - 1) < 5 / (2 * grid.numel()) ** 0.5
    for other in (grid.roll(1, 1), grid.roll(1, 2), grid.roll(1, 3)):
        assert abs(float((grid * other).mean())) / 900 < 5 / grid.numel() ** 0.5


@MASKING
@pytest.mark.parametrize("size", SIZES)
def test_a_mask_says_which_pixels_its_corruption_hides_and_the_rest_is_bit_equal(name, size):
    x = images(3, size)
    y, mask = spoil(name, x), hidden(name, x)
    assert (mask.shape, mask.dtype) == ((3, 1, size, size), torch.bool)
    everywhere = mask.expand_as(x)
    assert (y[everywhere] == 0).all()
    assert torch.equal(y[~everywhere], x[~everywhere])
    assert 0 < mask.float().mean() < 1


def square(mask: torch.Tensor) -> int:
    """The side of the one square of a mask (H, W)."""
    rows, columns = (mask.any(dim=axis).nonzero().flatten() for axis in (1, 0))
    height, width = (int(line[-1] - line[0]) + 1 for line in (rows, columns))
    assert height == width
    assert int(mask.sum()) == height * width
    return height


@pytest.mark.parametrize(("size", "sides"), [(28, (7, 14)), (29, (8, 14)), (32, (8, 16)), (89, (23, 44))])
def test_a_big_block_is_one_square_of_any_side_from_a_quarter_to_a_half(size, sides):
    found = [square(mask) for mask in hidden("big_block", torch.zeros(600, 1, size, size))[:, 0]]
    assert set(found) == set(range(sides[0], sides[1] + 1))
    middle, spread = sum(sides) / 2, (sides[1] - sides[0] + 1) / 12**0.5
    assert abs(sum(found) / 600 - middle) < 5 * spread / 600**0.5


@pytest.mark.parametrize(("size", "side"), [(3, 1), (28, 4), (29, 4), (32, 4), (89, 11), (225, 28)])
def test_a_small_block_has_an_eighth_of_the_side(size, side):
    assert {square(m) for m in hidden("small_blocks", torch.zeros(50, 1, size, size), count=1)[:, 0]} == {
        side
    }


def test_a_block_lies_anywhere_inside_equally_often():
    mask = hidden("small_blocks", torch.zeros(3000, 1, 6, 8), count=1, fraction=0.5)  # 4 x 6 places of 3 x 3
    corners = torch.stack([image.nonzero()[0] for image in mask[:, 0]])
    seen = torch.bincount(corners[:, 0] * 8 + corners[:, 1], minlength=48).view(6, 8)
    assert seen[4:].sum() == seen[:, 6:].sum() == 0
    expected = 3000 / 24
    chi_square = float(((seen[:4, :6] - expected) ** 2 / expected).sum())
    assert chi_square < 49.7  # 0.1 % for 23 degrees of freedom


@pytest.mark.parametrize("count", [1, 21, 35, 300])
@pytest.mark.parametrize("size", SIZES)
def test_the_mask_is_the_union_of_the_squares_drawn_one_by_one(count, size):
    sides = (size // 8, size // 4)
    mask = blocks_mask(torch.zeros(2, 3, size, size), count=count, sides=sides, generator=generator(5))
    draws = generator(5)
    side = torch.randint(sides[0], sides[1] + 1, (2, count), generator=draws)
    top, left = ((torch.rand(2, count, generator=draws) * (size - side + 1)).long() for _ in range(2))
    union = torch.zeros(2, 1, size, size, dtype=torch.bool)
    for image in range(2):
        for row, column, length in torch.stack([top[image], left[image], side[image]], dim=1).tolist():
            assert 0 <= row <= size - length
            assert 0 <= column <= size - length
            union[image, 0, row : row + length, column : column + length] = True
    assert torch.equal(mask, union)


@pytest.mark.parametrize("count", [21, 35])
def test_small_blocks_cover_what_chance_lets_them(count):
    mask = hidden("small_blocks", torch.zeros(400, 1, 29, 29), count=count)
    reach = (
        torch.minimum(torch.arange(29) + 1, 29 - torch.arange(29)).clamp(max=4) / 26
    )  # 26 places of side 4
    expected = float((1 - (1 - reach[:, None] * reach) ** count).mean())
    assert abs(float(mask.float().mean()) - expected) < 0.01


def test_blocks_fit_an_image_that_is_not_square():
    mask = hidden("big_block", torch.zeros(200, 3, 20, 40))[:, 0]
    sides = {square(image) for image in mask}
    assert sides == set(range(5, 11))
    assert mask.any(dim=(0, 1)).all()  # they reach every column
    assert mask.any(dim=(0, 2)).all()


@pytest.mark.parametrize(("size", "part", "side"), [(25, 0.28, 7), (50, 0.58, 29), (41, 1.0, 41)])
def test_the_ends_of_the_range_survive_rounding(size, part, side):
    mask = hidden("big_block", torch.zeros(9, 1, size, size), low=part, high=part)
    assert {square(image) for image in mask[:, 0]} == {side}


def test_no_number_of_blocks_over_one_pixel_uncovers_it():
    assert hidden("small_blocks", torch.zeros(2, 1, 5, 5), count=256, fraction=1.0).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("small_blocks", {"fraction": 8.0}),
        ("big_block", {"low": 0.5, "high": 0.25}),
        ("big_block", {"low": 0.0}),
    ],
)
def test_blocks_that_do_not_fit_are_refused_in_one_line(name, options):
    with pytest.raises(ValueError, match="29 x 29") as refusal:
        spoil(name, images(1, 29), **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_binomial_noise_switches_pixels_on_or_off_in_all_channels_with_even_odds(probability):
    x = images(50, 28)
    y = spoil("binomial", x, probability=probability, black=-33.0, white=133.0)
    switched = {value: y == value for value in (-33, 133)}
    for where in switched.values():
        assert torch.equal(where.all(dim=1), where.any(dim=1))
        half = probability / 2
        deviation = (half * (1 - half) / (50 * 28 * 28)) ** 0.5
        assert abs(float(where.float().mean()) - half) <= 5 * deviation
    left = ~(switched[-33] | switched[133])
    assert torch.equal(y[left], x[left])
