"""The spec that is trained for a candidate: with the decoder's width that it was priced with."""

from dataclasses import replace
from typing import Any

from zoo.specs import Spec

DECODER = "as wide as that of the candidate"
"""Of the network that is trained in a candidate's place."""


def trained_spec(spec: Spec) -> Spec:
    """The spec that is trained in a candidate's place: its decoder keeps the width that was priced.

    ESPNet's decoder works in as many channels as there are classes, unless told otherwise. With the few classes of
    a small data set its branches would be of one or two channels, and the network another than the candidate.
    """
    if getattr(spec, "variant", "") != "ESPNet" or getattr(spec, "decoder_width", None) != 0:
        return spec
    priced: Any = spec
    trainable: Spec = replace(priced, decoder_width=priced.classes)
    return trainable
