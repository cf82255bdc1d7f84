import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unified_seg.heads.confusion_groups.groups import (
    RULES,
    assign_channels,
    join,
    join_members,
    map_targets,
    merge_confusion,
    to_all_classes,
)
from unified_seg.ops.metrics.confusion import confusion_matrix

IGNORE = 255


@dataclass
class Drawn:
    """A group of `num_classes` classes and random logits (2, G + 1, 2, 3) of its classifier.

    The logits are multiples of 1/4, so that some are equal and the others are far apart for float32.
    """

    group: list[int]
    num_classes: int
    logits: Tensor


@st.composite
def drawn_groups(draw: st.DrawFn) -> Drawn:
    num_classes = draw(st.integers(2, 12))
    group = draw(st.permutations(range(num_classes)))[: draw(st.integers(1, num_classes - 1))]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    logits = torch.randint(-40, 41, (2, len(group) + 1, 2, 3), generator=generator) / 4
    return Drawn(list(group), num_classes, logits)


def random_predictions(k: int, count: int, seed: int) -> list[Tensor]:
    """Log-probabilities (2, K, 2, 3) of some classifiers."""
    generator = torch.Generator().manual_seed(seed)
    return [(4 * torch.randn(2, k, 2, 3, generator=generator)).log_softmax(1) for _ in range(count)]


def logs(*probabilities: float) -> Tensor:
    """(1, K, 1, 1) of one cell."""
    return torch.tensor(probabilities).log().reshape(1, -1, 1, 1)


class TestAssignChannels:
    def test_channels_follow_the_order_of_the_group(self) -> None:
        channels = assign_channels([3, 1], 5)
        assert channels.dtype == torch.int64
        assert channels.tolist() == [0, 2, 0, 1, 0]

    @pytest.mark.parametrize(
        ("group", "message"),
        [
            ([], "expected at least one class"),
            ([1, 2, 1], r"a class is repeated: \[1, 2, 1\]"),
            ([0, 4, -1], r"must be in 0 .. 3, got \[4, -1\]"),
            ([2, 0, 1, 3], "expected fewer classes than all"),
        ],
    )
    def test_invalid_groups_are_refused(self, group: list[int], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            assign_channels(group, 4)


class TestMapTargets:
    @pytest.mark.parametrize("ignore_value", [255, -1])
    def test_by_hand(self, ignore_value: int) -> None:
        targets = torch.tensor([[[0, 1, 2], [3, ignore_value, 1]]])
        wanted = map_targets(targets, assign_channels([3, 1], 4), ignore_value)
        assert wanted.tolist() == [[[0, 2, 0], [1, ignore_value, 2]]]
        assert targets.tolist() == [[[0, 1, 2], [3, ignore_value, 1]]]

    @pytest.mark.parametrize("label", [4, 254, -1, -4])
    def test_labels_out_of_range_are_refused(self, label: int) -> None:
        with pytest.raises(RuntimeError, match="out of bounds"):
            map_targets(torch.tensor([0, IGNORE, label]), assign_channels([3, 1], 4), IGNORE)


class TestToAllClasses:
    def test_by_hand(self) -> None:
        # Others 1/8, class 2 1/2, class 0 3/8: the classes 1 and 3 get 1/8 each, and all of 9/8 is brought back to 1.
        mapped = to_all_classes(logs(1 / 8, 1 / 2, 3 / 8), assign_channels([2, 0], 4))
        torch.testing.assert_close(mapped, logs(3 / 9, 1 / 9, 4 / 9, 1 / 9))

    @settings(max_examples=50, deadline=None)
    @given(drawn_groups())
    def test_probabilities_are_copied_and_sum_to_1(self, drawn: Drawn) -> None:
        mapped = to_all_classes(drawn.logits, assign_channels(drawn.group, drawn.num_classes)).exp()
        probabilities = drawn.logits.double().softmax(1)
        copies = [
            probabilities[:, 1 + drawn.group.index(label) if label in drawn.group else 0]
            for label in range(drawn.num_classes)
        ]
        torch.testing.assert_close(mapped.double(), torch.stack(copies, 1) / sum(copies)[:, None], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(mapped.sum(1), torch.ones(2, 2, 3))

    @settings(max_examples=50, deadline=None)
    @given(drawn_groups())
    def test_similarity_is_preserved(self, drawn: Drawn) -> None:
        """3.3: pi(v1, v2) = pi(f(v1), f(v2)). Here pi tells which of two is larger, or that they are equal.

        That is so for any two classes, in the group or not: they compare as the channels do that they are copied from.
        """
        mapped = to_all_classes(drawn.logits, assign_channels(drawn.group, drawn.num_classes))
        source = torch.stack(
            [
                drawn.logits[:, 1 + drawn.group.index(label) if label in drawn.group else 0]
                for label in range(drawn.num_classes)
            ],
            dim=1,
        )
        assert torch.equal((mapped[:, :, None] - mapped[:, None]).sign(), (source[:, :, None] - source[:, None]).sign())

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_result_is_float32(self, dtype: torch.dtype) -> None:
        logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
        mapped = to_all_classes(logits, assign_channels([1, 4], 6))
        assert mapped.dtype == torch.float32
        assert torch.equal(mapped, to_all_classes(logits.float(), assign_channels([1, 4], 6)))

    def test_far_apart_logits_stay_finite(self) -> None:
        logits = torch.tensor([1e4, 0.0, -1e4]).reshape(1, 3, 1, 1)
        # The two others share a 1; the group's classes are 1e4 and 2e4 below them.
        expected = torch.tensor([-1e4, 0, 0, -2e4]) - math.log(2)
        torch.testing.assert_close(to_all_classes(logits, assign_channels([0, 3], 4)).flatten(), expected)


class TestMergeConfusion:
    @settings(max_examples=30, deadline=None)
    @given(drawn_groups())
    def test_equals_the_confusion_of_group_labels(self, drawn: Drawn) -> None:
        channels = assign_channels(drawn.group, drawn.num_classes)
        ground_truth, labels = torch.randint(0, drawn.num_classes, (2, 200), generator=torch.Generator().manual_seed(0))
        confusion = confusion_matrix(ground_truth.numpy(), labels.numpy(), drawn.num_classes, IGNORE)
        of_group = [map_targets(one, channels, IGNORE).numpy() for one in (ground_truth, labels)]
        expected = confusion_matrix(*of_group, len(drawn.group) + 1, IGNORE)
        assert merge_confusion(torch.from_numpy(confusion).double(), channels).tolist() == expected.tolist()

    def test_absent_classes_count_as_no_pixel(self) -> None:
        nan = math.nan
        confusion = torch.tensor([[4.0, 1.0, 2.0, 3.0], [nan] * 4, [1.0, 0.0, 5.0, 2.0], [nan] * 4])
        # Group {3, 2}: the classes 0 and 1 are others.
        expected = [[5, 3, 2], [0, 0, 0], [1, 2, 5]]
        assert merge_confusion(confusion, assign_channels([3, 2], 4)).tolist() == expected


class TestJoin:
    @settings(max_examples=50, deadline=None)
    @given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 9999))
    def test_equals_the_formulas_of_probabilities(self, k: int, count: int, seed: int) -> None:
        predictions = random_predictions(k, count, seed)
        probabilities = np.stack([prediction.double().exp().numpy() for prediction in predictions])
        product = probabilities.prod(0)
        expected = {"sum": probabilities.mean(0), "product": product / product.sum(1, keepdims=True)}
        for rule in RULES:
            joined = join(predictions, rule).exp()
            np.testing.assert_allclose(joined.numpy(), expected[rule], rtol=1e-4, atol=1e-7)
            torch.testing.assert_close(joined.sum(1), torch.ones(2, 2, 3))

    @pytest.mark.parametrize("rule", RULES)
    def test_one_prediction_is_kept(self, rule: str) -> None:
        (prediction,) = random_predictions(7, 1, seed=0)
        torch.testing.assert_close(join([prediction], rule), prediction)

    @pytest.mark.parametrize("rule", RULES)
    def test_certain_predictions_give_finite_logits(self, rule: str) -> None:
        # Certain of different classes: each has a half; by the product too, since each is as unlikely to the other.
        one, other = (torch.tensor(logits).reshape(1, 3, 1, 1) for logits in ([1e3, 0.0, 0.0], [0.0, 1e3, 0.0]))
        joined = join([one.log_softmax(1), other.log_softmax(1)], rule).flatten()
        torch.testing.assert_close(joined[:2], torch.full((2,), -math.log(2)))
        assert joined[2] < -900 and joined.isfinite().all()

    def test_class_in_two_groups_counts_in_both(self) -> None:
        base = logs(1 / 4, 1 / 2, 1 / 4)
        # Group {0}: 2/3, others 1/3; over the classes 2/3, 1/3, 1/3, of a sum of 4/3.
        one = to_all_classes(logs(1 / 3, 2 / 3), assign_channels([0], 3))
        torch.testing.assert_close(one, logs(1 / 2, 1 / 4, 1 / 4))
        # Group {1, 0}: 1/4 and 1/2, others 1/4, which is class 2 alone.
        two = to_all_classes(logs(1 / 4, 1 / 4, 1 / 2), assign_channels([1, 0], 3))
        torch.testing.assert_close(two, logs(1 / 2, 1 / 4, 1 / 4))
        # (1/4 + 1/2 + 1/2) / 3, (1/2 + 1/4 + 1/4) / 3, (1/4 + 1/4 + 1/4) / 3
        torch.testing.assert_close(join([base, one, two], "sum"), logs(5 / 12, 4 / 12, 3 / 12))
        # 1/16, 1/32, 1/64
        torch.testing.assert_close(join([base, one, two], "product"), logs(4 / 7, 2 / 7, 1 / 7))

    def test_unknown_rule_is_refused(self) -> None:
        with pytest.raises(ValueError, match="rule must be one of sum, product, got 'max'"):
            join(random_predictions(3, 2, seed=0), "max")


@st.composite
def bases_and_groups(draw: st.DrawFn) -> tuple[Tensor, list[list[int]]]:
    """Log-probabilities (1, K, 4, 5), no two equal in a cell, and one to three groups, which may share classes."""
    num_classes = draw(st.integers(2, 10))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    order = torch.rand(1, num_classes, 4, 5, generator=generator).argsort(1)
    scores = (order * draw(st.floats(0.05, 2))).log_softmax(1)
    groups = draw(
        st.lists(
            st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=num_classes - 1, unique=True),
            min_size=1,
            max_size=3,
        )
    )
    return scores, groups


def repeat_base(base: Tensor, group: list[int]) -> Tensor:
    """Return the base's prediction as that of a group: "others" has the probability of all classes outside."""
    outside = [label for label in range(base.shape[1]) if label not in group]
    return torch.cat([base[:, outside].logsumexp(1, keepdim=True), base[:, group]], 1)


class TestJoinMembers:
    def test_by_hand(self) -> None:
        base = logs(0.4, 0.3, 0.2, 0.1)
        # Of the classes 2 and 0: others 0.2, class 2 0.6, class 0 0.2. Of class 0: others 0.9, class 0 0.1.
        predictions = [(logs(0.2, 0.6, 0.2), (2, 0)), (logs(0.9, 0.1), [0])]
        # (0.4 + 0.2 + 0.1) / 3, 0.3, (0.2 + 0.6) / 2, 0.1 by their sum, which is 0.7 / 3 + 0.8.
        total = 0.7 / 3 + 0.8
        expected = logs(0.7 / 3 / total, 0.3 / total, 0.4 / total, 0.1 / total)
        torch.testing.assert_close(join_members(base, predictions, "sum"), expected)
        # The cubic root of 0.4 * 0.2 * 0.1 = 0.008 is 0.2; 0.3; the root of 0.2 * 0.6 is 0.3464; 0.1.
        roots = [0.2, 0.3, math.sqrt(0.12), 0.1]
        expected = logs(*(root / sum(roots) for root in roots))
        torch.testing.assert_close(join_members(base, predictions, "product"), expected)

    @pytest.mark.parametrize("rule", RULES)
    @settings(max_examples=50, deadline=None)
    @given(case=bases_and_groups())
    def test_agreeing_groups_change_nothing(self, rule: str, case: tuple[Tensor, list[list[int]]]) -> None:
        base, groups = case
        joint = join_members(base, [(repeat_base(base, group), group) for group in groups], rule)
        torch.testing.assert_close(joint, base, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("rule", RULES)
    def test_groups_that_agree_do_not_outvote_another(self, rule: str) -> None:
        # The base predicts car (class 0) instead of truck (class 1), which their group corrects. The other groups
        # agree with the base.
        base = logs(0.5, 0.3, 0.1, 0.05, 0.05)
        predictions = [(logs(0.2, 0.1, 0.7), [0, 1])]
        alone = join_members(base, predictions, rule)
        assert alone.flatten().argmax() == 1
        crowd = join_members(base, predictions + [(repeat_base(base, [label]), [label]) for label in (2, 3, 4)], rule)
        torch.testing.assert_close(crowd, alone)

    @pytest.mark.parametrize("rule", RULES)
    def test_inputs_are_not_changed(self, rule: str) -> None:
        (base,) = random_predictions(4, 1, seed=0)
        logits = torch.randn(2, 3, 2, 3, dtype=torch.float16)
        before = base.clone(), logits.clone()
        joint = join_members(base, [(logits, [3, 1])], rule)
        assert torch.equal(base, before[0]) and torch.equal(logits, before[1])
        assert joint.dtype == torch.float32
        torch.testing.assert_close(joint.exp().sum(1), torch.ones(2, 2, 3))

    @pytest.mark.parametrize("rule", RULES)
    def test_certain_predictions_give_finite_logits(self, rule: str) -> None:
        base, logits = (torch.tensor(row).reshape(1, 3, 1, 1) for row in ([1e4, 0.0, 0.0], [-1e4, -1e4, 1e4]))
        joint = join_members(base.log_softmax(1), [(logits, [0, 1])], rule)
        assert joint.isfinite().all()

    def test_unknown_rule_is_refused(self) -> None:
        with pytest.raises(ValueError, match="rule must be one of sum, product, got 'max'"):
            join_members(*random_predictions(3, 1, seed=0), [], "max")


class TestCopiesOfTheBase:
    @pytest.mark.parametrize("rule", RULES)
    @settings(max_examples=50, deadline=None)
    @given(case=bases_and_groups())
    def test_largest_probability_as_others_changes_no_label(
        self, rule: str, case: tuple[Tensor, list[list[int]]]
    ) -> None:
        """ "Others" must have the probability of the most likely class outside, not of all of them."""
        base, groups = case
        num_classes = base.shape[1]
        predictions = [base]
        for group in groups:
            outside = [label for label in range(num_classes) if label not in group]
            others = base[:, outside].amax(1, keepdim=True)
            predictions.append(
                to_all_classes(torch.cat([others, base[:, group]], 1), assign_channels(group, num_classes))
            )
        assert torch.equal(join(predictions, rule).argmax(1), base.argmax(1))

    @pytest.mark.parametrize("rule", RULES)
    def test_summed_others_can_change_a_label(self, rule: str) -> None:
        # A limit of the copying, see `to_all_classes`: the base predicts 0.4, 0.3, 0.3, so a classifier of the group
        # {0} that agrees predicts 0.4 and, for others, 0.6. Copied: 0.4, 0.6, 0.6, which is 0.25, 0.375, 0.375.
        # Sum: 0.4 + 0.25 < 0.3 + 0.375. Product: 0.4 * 0.25 < 0.3 * 0.375.
        base = logs(0.4, 0.3, 0.3)
        mapped = to_all_classes(logs(0.6, 0.4), assign_channels([0], 3))
        torch.testing.assert_close(mapped, logs(0.25, 0.375, 0.375))
        joined = join([base, mapped], rule).exp().flatten()
        expected = {"sum": [0.325, 0.3375, 0.3375], "product": [0.1 / 0.325, 0.1125 / 0.325, 0.1125 / 0.325]}
        torch.testing.assert_close(joined, torch.tensor(expected[rule]))
        assert base.flatten().argmax() == 0 and joined[0] < joined[1]
