"""Marks and lesions: each lesion once, the most confident mark first."""

from training.readers.matching import Place, Spot, match

NODULE = Place(100, 100, 10)


def test_a_mark_on_the_rim_hits_and_one_beyond_does_not() -> None:
    assert match([Spot(110, 100, 50)], [NODULE], 0).found == (50,)
    beyond = match([Spot(110.1, 100, 50)], [NODULE], 0)
    assert (beyond.found, beyond.false) == ((None,), (50,))


def test_tolerance_widens_a_small_lesion_and_never_narrows_a_large_one() -> None:
    assert match([Spot(118, 100, 50)], [NODULE], 20).found == (50,)
    assert match([Spot(110, 100, 50)], [NODULE], 2).found == (50,)


def test_a_second_mark_on_a_lesion_is_neither_right_nor_wrong_and_the_more_confident_one_counts() -> None:
    found = match([Spot(99, 100, 20), Spot(104, 100, 90)], [NODULE], 0)
    assert (found.found, found.false, found.repeats) == ((90,), (), 1)


def test_two_marks_between_two_lesions_find_both() -> None:
    """The first takes the nearer lesion; the second, nearer to the same one, takes the other, which it also reaches."""
    left, right = Place(100, 100, 20), Place(120, 100, 20)
    found = match([Spot(108, 100, 80), Spot(109, 100, 60)], [left, right], 0)
    assert (found.found, found.false, found.repeats) == ((80, 60), (), 0)


def test_what_a_threshold_leaves_is_matched_as_if_it_were_all() -> None:
    lesions = [Place(100, 100, 20), Place(120, 100, 20), Place(300, 300, 5)]
    marks = [Spot(110, 100, 30), Spot(105, 100, 70), Spot(300, 300, 10), Spot(111, 101, 50), Spot(500, 5, 60)]
    every = match(marks, lesions, 0)
    for threshold in (0, 20, 40, 55, 65, 80):
        only = match([mark for mark in marks if mark.confidence >= threshold], lesions, 0)
        kept = tuple(each if each is not None and each >= threshold else None for each in every.found)
        assert only.found == kept
        assert only.false == tuple(each for each in every.false if each >= threshold)


def test_an_image_without_lesions_has_only_false_marks() -> None:
    assert match([Spot(1, 1, 5), Spot(2, 2, 9)], [], 100).false == (9, 5)
