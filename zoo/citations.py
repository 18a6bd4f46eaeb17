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
    "fpenet": (
        "liu2019fpenet",
        "Feature Pyramid Encoding Network for Real-time Semantic Segmentation",
        "Liu, Mengyu and Yin, Hujun",
        "British Machine Vision Conference (BMVC)", "2019", "1909.08599",
    ),
    "cgnet": (
        "wu2021cgnet",
        "CGNet: A Light-weight Context Guided Network for Semantic Segmentation",
        "Wu, Tianyi and Tang, Sheng and Zhang, Rui and Cao, Juan and Zhang, Yongdong",
        "IEEE Transactions on Image Processing 30", "2021", "1811.08201",
    ),
    "cfpnet": (
        "lou2021cfpnet",
        "CFPNet: Channel-wise Feature Pyramid for Real-Time Semantic Segmentation",
        "Lou, Ange and Loew, Murray",
        "IEEE International Conference on Image Processing (ICIP)", "2021", "2103.12212",
    ),
    "dabnet": (
        "li2019dabnet",
        "DABNet: Depth-wise Asymmetric Bottleneck for Real-time Semantic Segmentation",
        "Li, Gen and Yun, Inyoung and Kim, Jonghyun and Kim, Joongkyu",
        "British Machine Vision Conference (BMVC)", "2019", "1907.11357",
    ),
    "edanet": (
        "lo2019edanet",
        "Efficient Dense Modules of Asymmetric Convolution for Real-Time Semantic Segmentation",
        "Lo, Shao-Yuan and Hang, Hsueh-Ming and Chan, Sheng-Wei and Lin, Jing-Jhih",
        "ACM Multimedia Asia", "2019", "1809.06323",
    ),
    "fddwnet": (
        "liu2020fddwnet",
        "FDDWNet: A Lightweight Convolutional Neural Network for Real-time Semantic Segmentation",
        "Liu, Jia and Zhou, Quan and Qiang, Yong and Kang, Bin and Wu, Xiaofu and Zheng, Baoyu",
        "IEEE International Conference on Acoustics, Speech and Signal Processing (ICASSP)", "2020", "1911.00632",
    ),
    "fast-scnn": (
        "poudel2019fastscnn",
        "Fast-SCNN: Fast Semantic Segmentation Network",
        "Poudel, Rudra P. K. and Liwicki, Stephan and Cipolla, Roberto",
        "British Machine Vision Conference (BMVC)", "2019", "1902.04502",
    ),
    "lednet": (
        "wang2019lednet",
        "LEDNet: A Lightweight Encoder-Decoder Network for Real-Time Semantic Segmentation",
        "Wang, Yu and Zhou, Quan and Liu, Jia and Xiong, Jian and Gao, Guangwei and Wu, Xiaofu and "
        "Latecki, Longin Jan",
        "IEEE International Conference on Image Processing (ICIP)", "2019", "1905.02423",
    ),
    "ddrnet": (
        "hong2021ddrnet",
        "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of Road Scenes",
        "Hong, Yuanduo and Pan, Huihui and Sun, Weichao and Jia, Yisong",
        "arXiv", "2021", "2101.06085",
    ),
    "pidnet": (
        "xu2023pidnet",
        "PIDNet: A Real-time Semantic Segmentation Network Inspired by PID Controllers",
        "Xu, Jiacong and Xiong, Zixiang and Bhattacharyya, Shankar P.",
        "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", "2023", "2206.02066",
    ),
    "alexnet": (
        "krizhevsky2012alexnet",
        "ImageNet Classification with Deep Convolutional Neural Networks",
        "Krizhevsky, Alex and Sutskever, Ilya and Hinton, Geoffrey E.",
        "Advances in Neural Information Processing Systems", "2012", "",
    ),
    "densenet": (
        "huang2017densenet",
        "Densely Connected Convolutional Networks",
        "Huang, Gao and Liu, Zhuang and van der Maaten, Laurens and Weinberger, Kilian Q.",
        "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", "2017", "1608.06993",
    ),
    "googlenet": (
        "szegedy2015googlenet",
        "Going Deeper with Convolutions",
        "Szegedy, Christian and Liu, Wei and Jia, Yangqing and Sermanet, Pierre and Reed, Scott and "
        "Anguelov, Dragomir and Erhan, Dumitru and Vanhoucke, Vincent and Rabinovich, Andrew",
        "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", "2015", "1409.4842",
    ),
    "mixnet": (
        "tan2019mixconv",
        "MixConv: Mixed Depthwise Convolutional Kernels",
        "Tan, Mingxing and Le, Quoc V.",
        "British Machine Vision Conference (BMVC)", "2019", "1907.09595",
    ),
    "mobilenetv2": (
        "sandler2018mobilenetv2",
        "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        "Sandler, Mark and Howard, Andrew and Zhu, Menglong and Zhmoginov, Andrey and Chen, Liang-Chieh",
        "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", "2018", "1801.04381",
    ),
    "mobilenetv3": (
        "howard2019mobilenetv3",
        "Searching for MobileNetV3",
        "Howard, Andrew and Sandler, Mark and Chu, Grace and Chen, Liang-Chieh and Chen, Bo and Tan, "
        "Mingxing and Wang, Weijun and Zhu, Yukun and Pang, Ruoming and Vasudevan, Vijay and Le, Quoc "
        "V. and Adam, Hartwig",
        "IEEE International Conference on Computer Vision (ICCV)", "2019", "1905.02244",
    ),
    "shufflenetv2": (
        "ma2018shufflenetv2",
        "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
        "Ma, Ningning and Zhang, Xiangyu and Zheng, Hai-Tao and Sun, Jian",
        "European Conference on Computer Vision (ECCV)", "2018", "1807.11164",
    ),
    "squeezenet": (
        "iandola2016squeezenet",
        "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
        "Iandola, Forrest N. and Han, Song and Moskewicz, Matthew W. and Ashraf, Khalid and Dally, "
        "William J. and Keutzer, Kurt",
        "arXiv", "2016", "1602.07360",
    ),
    "yolox": (
        "ge2021yolox",
        "YOLOX: Exceeding YOLO Series in 2021",
        "Ge, Zheng and Liu, Songtao and Wang, Feng and Li, Zeming and Sun, Jian",
        "arXiv", "2021", "2107.08430",
    ),
}  # fmt: skip
"""Family -> key, title, authors, venue, year, arXiv number (empty where there is none).

The arXiv numbers of ESPNet and ESPNetv2 were checked against copies of the papers; the other entries were not.
"""


def citation(family: str) -> str | None:
    """The BibTeX entry of a family's paper; None for a family without one.

    >>> print(citation("erfnet").splitlines()[0])
    @article{romera2018erfnet,
    """
    if family not in PAPERS:
        return None
    key, title, authors, venue, year, arxiv = PAPERS[family]
    kind, venue_key = (
        ("article", "journal") if "Transactions" in venue or venue == "arXiv" else ("inproceedings", "booktitle")
    )
    fields = {"title": title, "author": authors, venue_key: venue, "year": year, "eprint": arxiv}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    lines += ["  archiveprefix = {arXiv},"] if arxiv else []
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
