"""Specifications: objects that know their class and arguments."""

import copy
import json

from vprtrain.losses import AAMLoss
from vprtrain.losses.margin import MarginLoss
from vprtrain.models import TDNN
from vprtrain.spec import Specified, build, canonical, class_path


class Point(Specified):
    def __init__(self, x, *, y=2):
        self.x, self.y = x, y


def test_remembers_all_arguments_the_defaults_too():
    assert Point(1).spec == {"class_path": f"{__name__}.Point", "init_args": {"x": 1, "y": 2}}
    assert copy.deepcopy(Point(3, y=4)).spec["init_args"] == {"x": 3, "y": 4}


def test_is_built_again_from_it():
    loss = build(AAMLoss(margin=0.3, easy_margin=True).spec, MarginLoss, "here")
    assert type(loss) is AAMLoss
    assert (loss.margin, loss.spec) == (0.3, AAMLoss(margin=0.3, easy_margin=True).spec)


def test_a_class_is_named_by_the_package_that_hands_it_on():
    assert class_path(AAMLoss) == "vprtrain.losses.AAMLoss"
    assert class_path(Specified) == "vprtrain.spec.Specified"


def test_arguments_that_a_class_has_now_have_their_default_in_older_specifications():
    now = json.loads(json.dumps({"model": TDNN(channels=8, pooled_channels=12).spec, "n": [1]}))
    old = copy.deepcopy(now)
    old["model"]["class_path"] = "vprtrain.models.tdnn.TDNN"
    del old["model"]["init_args"]["padding"], old["model"]["init_args"]["second_embedding"]
    assert canonical(old) == now
    old["model"]["init_args"]["padding"] = "reflect"
    assert canonical(old)["model"]["init_args"] == now["model"]["init_args"] | {
        "padding": "reflect"
    }
    unknown = {"class_path": "mine.Net", "init_args": {"a": 1}}
    assert canonical(unknown) == unknown
