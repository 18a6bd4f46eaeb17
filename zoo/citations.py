"""The papers of the families, as BibTeX: whom to cite who uses a network."""

from collections.abc import Mapping

_ESPNETV2 = (
    "mehta2019espnetv2", "ESPNetv2: A Light-weight, Power Efficient, and General Purpose Convolutional Neural Network",
    "Mehta, Sachin and Rastegari, Mohammad and Shapiro, Linda and Hajishirzi, Hannaneh",
    "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", "2019", "1811.11431",
)  # fmt: skip

PAPERS: Mapping[str, tuple[str, str, str, str, str, str]] = {
    "espnet": (
        "mehta2018espnet",
        "ESPNet: Efficient Spatial Pyramid of Dilated Convolutions for Semantic Segmentation",
        "Mehta, Sachin and Rastegari, Mohammad and Caspi, Anat and Shapiro, Linda and Hajishirzi, Hannaneh",
        "European Conference on Computer Vision (ECCV)", "2018", "1803.06815",
    ),
    "espnetv2": _ESPNETV2,
    "espnetv2-classifier": _ESPNETV2,
    "espnetv2-ssd": _ESPNETV2,
    "enet": (
        "paszke2016enet", "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation",
        "Paszke, Adam and Chaurasia, Abhishek and Kim, Sangpil and Culurciello, Eugenio", "arXiv", "2016", "1606.02147",
    ),
    "erfnet": (
        "romera2018erfnet", "ERFNet: Efficient Residual Factorized ConvNet for Real-Time Semantic Segmentation",
        "Romera, Eduardo and Alvarez, Jose M. and Bergasa, Luis M. and Arroyo, Roberto",
        "IEEE Transactions on Intelligent Transportation Systems 19(1)", "2018", "",
    ),
    "segnet": (
        "badrinarayanan2017segnet",
        "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
        "Badrinarayanan, Vijay and Kendall, Alex and Cipolla, Roberto",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence 39(12)", "2017", "1511.00561",
    ),
    "sqnet": (
        "treml2016speeding", "Speeding up Semantic Segmentation for Autonomous Driving",
        "Treml, Michael and others", "NIPS Workshop MLITS", "2016", "",
    ),
    "fcn": (
        "shelhamer2017fully", "Fully Convolutional Networks for Semantic Segmentation",
        "Shelhamer, Evan and Long, Jonathan and Darrell, Trevor",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence 39(4)", "2017", "1605.06211",
    ),
    "deeplab": (
        "chen2018deeplab",
        "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully "
        "Connected CRFs",
        "Chen, Liang-Chieh and Papandreou, George and Kokkinos, Iasonas and Murphy, Kevin and Yuille, Alan L.",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence 40(4)", "2018", "1606.00915",
    ),
    "pspnet": (
        "zhao2017pspnet", "Pyramid Scene Parsing Network",
        "Zhao, Hengshuang and Shi, Jianping and Qi, Xiaojuan and Wang, Xiaogang and Jia, Jiaya",
        "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", "2017", "1612.01105",
    ),
    "vgg": (
        "simonyan2015vgg", "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        "Simonyan, Karen and Zisserman, Andrew",
        "International Conference on Learning Representations (ICLR)", "2015", "1409.1556",
    ),
    "resnet": (
        "he2016resnet", "Deep Residual Learning for Image Recognition",
        "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
        "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", "2016", "1512.03385",
    ),
}  # fmt: skip
"""Family -> key, title, authors, venue, year, arXiv number (empty where there is none).

The arXiv numbers of ESPNet and ESPNetv2 were checked against copies of the papers; the other entries were not checked.
"""


def citation(family: str) -> str | None:
    """The BibTeX entry of a family's paper; None for a family without one.

    >>> print(citation("erfnet").splitlines()[0])
    @article{romera2018erfnet,
    """
    if family not in PAPERS:
        return None
    key, title, authors, venue, year, arxiv = PAPERS[family]
    kind, where = (
        ("article", "journal") if "Transactions" in venue or venue == "arXiv" else ("inproceedings", "booktitle")
    )
    fields = {"title": title, "author": authors, where: venue, "year": year, "eprint": arxiv}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    lines += ["  archiveprefix = {arXiv},"] if arxiv else []
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
