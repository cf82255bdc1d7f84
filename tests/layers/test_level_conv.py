import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from unified_seg.layers.level_conv import LevelClassifier, concatenate


@settings(max_examples=30, deadline=None)
@given(
    channels=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    finest=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 100),
)
def test_result_equals_the_convolution_of_the_concatenation(
    channels: list[int], finest: tuple[int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    levels = [torch.randn(2, width, -(-finest[0] // 2**i), -(-finest[1] // 2**i)) for i, width in enumerate(channels)]
    classifier = LevelClassifier(channels, 5)
    torch.nn.init.normal_(classifier.bias)
    whole = concatenate(levels)
    assert whole.shape == (2, sum(channels), *finest)
    expected = F.conv2d(whole, classifier.weight, classifier.bias)
    torch.testing.assert_close(classifier(levels), expected, rtol=1e-4, atol=1e-5)


def test_state_dict_is_that_of_a_convolution() -> None:
    state = LevelClassifier([3, 4], 2).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {"weight": (2, 7, 1, 1), "bias": (2,)}
