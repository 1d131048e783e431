"""Channels measured at different times, joined."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pyro_langevin as pl


def two_groups() -> tuple[pl.Observations, pl.Observations]:
    rng = np.random.default_rng(0)
    first = pl.Observations(
        [rng.normal(size=(4, 2)), rng.normal(size=(3, 2))],
        [[0.0, 0.1, 0.2, 0.3], [1.0, 2.0, 3.0]],
        series_names=["left", "right"],
        channels=["a", "b"],
        time_unit="s",
    )
    second = pl.Observations(
        [rng.normal(size=(2, 1)), rng.normal(size=(3, 1))],
        [[0.5, 3.0], [0.05, 3 * 0.1, 0.4]],  # 3 * 0.1 differs from 0.3 by rounding
        series_names=["right", "left"],
        channels=["c"],
    )
    return first, second


def test_the_union_of_times_holds_every_value_where_it_was() -> None:
    first, second = two_groups()
    joined = pl.join_channels([first, second])
    assert joined.channels == ["a", "b", "c"] and joined.series_names == ["left", "right"] and joined.time_unit == "s"
    assert joined.lengths.tolist() == [6, 4]
    np.testing.assert_allclose(joined.times[0], [0.0, 0.05, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(joined.times[1, :4], [0.5, 1.0, 2.0, 3.0])
    torch.testing.assert_close(joined.values[0, [0, 2, 3, 4], :2], first.values[0])
    torch.testing.assert_close(joined.values[0, [1, 4, 5], 2:], second.values[1])
    torch.testing.assert_close(joined.values[1, [1, 2, 3], :2], first.values[1, :3])
    torch.testing.assert_close(joined.values[1, [0, 3], 2:], second.values[0, :2])
    assert joined.mask.sum() == first.mask.sum() + second.mask.sum()
    assert joined.mask[0, 4].tolist() == [True, True, True] and joined.mask[1, 0].tolist() == [False, False, True]


def test_missing_values_stay_missing() -> None:
    first, second = two_groups()
    values = torch.where(torch.arange(4)[:, None] == 2, torch.nan, first.values[0])
    gappy = pl.Observations([values, first.values[1, :3]], [first.times[0], first.times[1, :3]],
                            series_names=["left", "right"], channels=["a", "b"])
    joined = pl.join_channels([gappy, second])
    assert joined.mask[0, 3].tolist() == [False, False, False]
    assert joined.mask.sum() == gappy.mask.sum() + second.mask.sum()


def test_equal_names_are_told_apart_and_one_group_is_itself() -> None:
    values = np.random.default_rng(1).normal(size=(2, 5, 2))
    one = pl.Observations(values)
    assert pl.join_channels([one, one]).channels == ["0.y0", "0.y1", "1.y0", "1.y1"]
    alone = pl.join_channels([one])
    assert alone.channels == one.channels
    torch.testing.assert_close(alone.values, one.values)
    torch.testing.assert_close(alone.times, one.times)


def test_likelihood_of_joined_channels_is_that_of_the_groups() -> None:
    first, second = two_groups()
    joined = pl.join_channels([first, second])
    parts = [pl.GaussianEmission(1, 2), pl.GaussianEmission(1, 1)]
    z = torch.randn(2, joined.n_times, 1)
    emission = pl.JointEmission(parts)
    total = emission.log_likelihood(z, joined.values, joined.mask).sum(-1)
    rows = [([0, 2, 3, 4], [1, 4, 5]), ([1, 2, 3], [0, 3])]
    for series, (own_first, own_second) in enumerate(rows):
        other = 1 - series  # the second group lists the series the other way round
        n, m = len(own_first), len(own_second)
        apart = parts[0].log_likelihood(z[series, own_first], first.values[series, :n], first.mask[series, :n]).sum()
        apart = apart + parts[1].log_likelihood(
            z[series, own_second], second.values[other, :m], second.mask[other, :m]
        ).sum()
        torch.testing.assert_close(total[series], apart)


def test_channels_are_selected_by_place() -> None:
    first, _ = two_groups()
    chosen = first.select_channels([1])
    assert chosen.channels == ["b"] and chosen.obs_dim == 1 and chosen.series_names == first.series_names
    torch.testing.assert_close(chosen.values[..., 0], first.values[..., 1])


def test_what_does_not_belong_together_is_refused() -> None:
    first, second = two_groups()
    with pytest.raises(pl.ObservationError, match="at least one group of channels, got none"):
        pl.join_channels([])
    with pytest.raises(pl.ObservationError, match=r"series of group 0 \('left', 'right'\).*got 'left' in group 1"):
        pl.join_channels([first, second.select([1])])
    with pytest.raises(pl.ObservationError, match="times in one unit, got ms and s"):
        pl.join_channels([first, pl.Observations(
            second.values, second.times[0], series_names=["left", "right"], time_unit="ms")])
    twice = first.select([0, 0])
    with pytest.raises(pl.ObservationError, match="series of different names"):
        pl.join_channels([twice, twice])
