"""Dialogues without a photo, for the text-only records of the mix: small sums and everyday knowledge, all true.

In come a number and a generator, out come questions with answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from svit_datasets.sample.words import QA

__all__ = ["smalltalk"]

TALKS: tuple[tuple[QA, ...], ...] = (
    (
        ("How many minutes are in three hours?", "An hour has 60 minutes, so three hours have 180."),
        ("And how many seconds is that?", "180 minutes of 60 seconds each are 10,800 seconds."),
    ),
    (("Write one sentence in which a kettle is the hero.", "The kettle sang, and the whole cold house woke up."),),
    (
        ("What is a palindrome?", "A word that reads the same forwards and backwards, for example “level”."),
        ("Give me another one.", "“Radar” is one, too."),
        ("Is “table” one?", "No. Backwards it reads “elbat”."),
    ),
    (("Put these in alphabetical order: plum, fig, pear, apple.", "apple, fig, pear, plum"),),
    (
        (
            "In Python, how do I reverse a list called `steps`?",
            "Call `steps.reverse()`, or take `steps[::-1]` for a copy.",
        ),
        ("Which of the two changes the list itself?", "`steps.reverse()` does; the slice leaves it as it was."),
    ),
    (
        (
            "Why does ice float on water?",
            "Water expands when it freezes, so ice is lighter than the water it displaces.",
        ),
    ),
)


def smalltalk(number: int, rng: Random) -> tuple[QA, ...]:
    """Return the dialogue of that number: one of the written ones, or a sum that nobody had yet."""
    if number % 2 == 0 and number // 2 < len(TALKS):
        return TALKS[number // 2]
    one, other = rng.randint(12, 98), rng.randint(12, 98)
    return (
        (f"What is {one} plus {other}?", f"{one} plus {other} is {one + other}."),
        (f"And {one} times {other}?", f"{one} times {other} is {one * other}."),
    )
