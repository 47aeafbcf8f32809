"""What everybody knows of common things: which are alive, which one can sit on, which need power. Word lists, no more.

In comes a name, out come the sorts that it belongs to. A name whose last word is not listed belongs to none, so nothing
is claimed of it.
"""

from __future__ import annotations

from functools import cache

__all__ = ["RARE", "SORTS", "sorts_of"]

SORTS: dict[str, frozenset[str]] = {
    sort: frozenset(words.split())
    for sort, words in {
        "vehicle": "car cars truck trucks bus buses van vans taxi motorcycle motorcycles scooter train tractor "
        "minivan suv",
        "cycle": "bike bikes bicycle bicycles",
        "boat": "boat boats sailboat ship canoe kayak ferry",
        "flyer": "airplane plane airplanes planes jet helicopter",
        "person": "man men woman women boy boys girl girls person people child children kid kids guy lady player "
        "players skier surfer skateboarder pedestrian pedestrians batter catcher cyclist rider baby "
        "toddler gentleman",
        "animal": "dog dogs cat cats horse horses cow cows sheep bird birds elephant elephants giraffe giraffes "
        "zebra zebras bear bears duck ducks goat goats lamb kitten puppy pigeon pigeons seagull",
        "seat": "chair chairs bench benches couch sofa stool stools armchair futon loveseat recliner",
        "table": "table desk counter tables countertop",
        "food": "apple apples pizza sandwich banana bananas cake bread orange oranges carrot carrots broccoli "
        "donut donuts pear pears burger fries salad cookie cookies strawberry strawberries hotdog bagel "
        "muffin",
        "plant": "tree trees bush bushes grass flower flowers plant plants hedge shrub shrubs pine tulips sunflower",
        "lamp": "lamp lamps lantern chandelier lamppost streetlight streetlights lampshade",
        "powered": "monitor computer laptop television tv telephone phone microwave refrigerator fridge printer fax "
        "cpu toaster stereo dishwasher dryer heater speaker speakers monitors computers",
        "open_air": "sky street road sidewalk mountain mountains beach ocean sea cloud clouds sun field river lake "
        "hill crosswalk pavement sand snow highway pasture crosswalks",
        "indoor": "couch sofa monitor keyboard refrigerator fridge sink toilet stove carpet bed futon printer "
        "cubicles ceiling microwave bathtub dresser bookshelf nightstand",
        "fragile": "glass vase cup mug plate plates bowl bowls bottle bottles cups mirror teapot jar",
        "holder": "bag basket backpack box suitcase bucket drawer drawers jar crate purse handbag",
        "wind": "flag flags kite kites leaves curtain curtains umbrella umbrellas balloon balloons sail sails",
        "round": "ball balls wheel wheels tire tires",
        "clock": "clock clocks watch",
        "reading": "book books newspaper magazine magazines sign signs poster calendar",
        "worn": "shirt pants jacket shoes hat cap coat jeans dress sneakers shorts helmet gloves boots tie "
        "sweater skirt",
        "way_in": "door doors gate doorway",
        "glazed": "window windows windshield",
        "made": "car truck bus van bench chair table desk building house fence sign lamp door window shelf bottle "
        "cup bowl plate kite boat train clock couch sofa bike bicycle monitor keyboard bag phone wall "
        "pole tower tractor",
    }.items()
}

# Things that every annotator would have noted: where nothing speaks of them, they are not there.
RARE = ("elephant", "helicopter", "penguin", "snowman", "camel", "submarine", "giraffe", "piano", "windmill", "tent",
        "lighthouse", "cannon")  # fmt: skip


# Before another word these say that it is not meant: a hot dog, a teddy bear.
_NOT_REALLY = frozenset({"teddy", "toy", "stuffed", "hot", "rocking", "fake", "plastic", "painted", "paper", "model"})


@cache
def sorts_of(name: str) -> frozenset[str]:
    """Return the sorts that a name belongs to, by its last word."""
    first, *others = name.lower().split()
    if others and first in _NOT_REALLY:
        return frozenset()
    word = others[-1] if others else first
    return frozenset(sort for sort, words in SORTS.items() if word in words)
