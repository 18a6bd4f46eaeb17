"""The protocols under which networks are trained, cheap ones and the one that counts as the truth.

Always the encoder first, then the decoder on that encoder, both trained together, as the ESPNet paper does
(arXiv:1803.06815, section 4.1); each stage with its own full schedule, from the running mean of the weights after
the encoder's last epoch. No epoch is chosen on val.
"""

from dataclasses import dataclass, replace

from zoo.train.recipe import Recipe, recipe


@dataclass(frozen=True, slots=True)
class Protocol:
    """size: (height, width) of training and scoring. teacher: weights to distil from, or "".

    epochs: of each stage. decoder_epochs: of the decoder's, where it is shorter, for it starts from a trained encoder.
    batch: two images, because at 60 epochs networks are short of steps rather than of images a step.
    """

    name: str
    size: tuple[int, int]
    epochs: int
    teacher: str = ""
    batch: int = 2
    decoder_epochs: int | None = None

    def recipe(self, seed: int, *, decoder: bool) -> Recipe:
        """The recipe of one stage; the decoder's starts from a trained encoder, so with half the learning rate."""
        base = recipe("zoo", epochs=self.epochs, size=self.size, batch=self.batch, lr=2e-3, warmup=1.0, seed=seed)
        return replace(base, lr=1e-3, epochs=self.decoder_epochs or self.epochs) if decoder else base

    def __str__(self) -> str:
        height, width = self.size
        taught = f", distilled from the stored logits of {self.teacher}" if self.teacher else ""
        return (
            f"CamVid train (367 images, SegNet split), 11 classes and void, {width}x{height}; encoder from random "
            f"weights for {self.epochs} epochs, then the decoder on it, begun from that of {DECODER} with its "
            f"seams fitted, all trained, for {self.decoder_epochs or self.epochs} epochs{taught}; "
            f"batch {self.batch}, AdamW 2e-3 (decoder's stage 1e-3) with cosine, class weights, soft Jaccard 0.5, "
            "scale 0.6 to 1.8, flip, colour; bfloat16 where the processor has it; running mean (0.995) after the last "
            f"epoch, no epoch chosen; scored on CamVid val (101 images) at {width}x{height}, logits up-sampled to the "
            "labels' 480x360, one pooled confusion matrix, void ignored; a decoder works in 20 channels"
        )


TEACHER = "espnet-8.camvid"

DECODER = "espnet-8.camvid"
"""The decoder that every decoder starts from (`decoder_start`)."""

PROTOCOLS = {
    made.name: made
    for made in (
        Protocol("truth", (360, 480), 60),
        Protocol("half-size", (184, 240), 60),
        Protocol("half-size-distilled", (184, 240), 60, TEACHER),
        Protocol("half-size-distilled-brief", (184, 240), 30, TEACHER, decoder_epochs=12),
        Protocol("half-size-distilled-batch-8", (184, 240), 60, TEACHER, batch=8),
        Protocol("third-distilled", (360, 480), 20, TEACHER),
    )
}
"""The truth, and the candidates for the labels."""
