"""Showing an image in several ways and taking the mean of what is found."""

import numpy as np
import pytest

from pacs_node.imaging.views import VIEWS, View, mean_layer, views

IMAGE = np.random.default_rng(0).standard_normal((1, 1, 16, 16)).astype(np.float32)


def test_one_view_is_the_image_itself() -> None:
    (only,) = views(1)
    layer, known = only.undone(only.shown(IMAGE, 4)[0, 0], 4)
    np.testing.assert_array_equal(mean_layer([(layer, known)]), IMAGE[0, 0])


@pytest.mark.parametrize("view", VIEWS)
def test_undoing_a_view_gives_the_image_back_where_it_is_known(view: View) -> None:
    layer, known = view.undone(view.shown(IMAGE, 4)[0, 0], 4)
    np.testing.assert_array_equal(layer[known == 1], IMAGE[0, 0][known == 1])
    assert known.sum() == (144 if view.moved else 256)


def test_the_mean_of_four_views_of_a_network_that_changes_nothing_is_the_image_to_the_last_row() -> None:
    found = [view.undone(view.shown(IMAGE, 4)[0, 0], 4) for view in views(4)]
    # float32 sums of four
    np.testing.assert_allclose(mean_layer(found), IMAGE[0, 0], rtol=1e-6)


def test_a_mistake_in_one_view_of_two_is_halved() -> None:
    plain, mirrored = (view.undone(np.zeros((8, 8), np.float32), 4) for view in views(2))
    mistaken = (plain[0] + 1.0, plain[1])
    np.testing.assert_allclose(mean_layer([mistaken, mirrored]), 0.5)
