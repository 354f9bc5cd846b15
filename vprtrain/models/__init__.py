"""Speaker encoders: from feature frames to one embedding per utterance."""

from vprtrain.models.campplus import CAMPPlus
from vprtrain.models.df_resnet import DFResNet
from vprtrain.models.ecapa_tdnn import EcapaTdnn, WeSpeakerEcapaTdnn
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.eres2net import ERes2Net, ERes2NetV2
from vprtrain.models.redimnet import ReDimNet
from vprtrain.models.repvgg import RepVGG
from vprtrain.models.res2net import PPVectorRes2Net, Res2Net
from vprtrain.models.resnet import ResNet, ResNet34
from vprtrain.models.resnet_se import ResNetSE
from vprtrain.models.resnet_tdnn import ResNetTDNN
from vprtrain.models.tdnn import TDNN

__all__ = [
    "TDNN",
    "CAMPPlus",
    "DFResNet",
    "ERes2Net",
    "ERes2NetV2",
    "EcapaTdnn",
    "PPVectorRes2Net",
    "ReDimNet",
    "RepVGG",
    "Res2Net",
    "ResNet",
    "ResNet34",
    "ResNetSE",
    "ResNetTDNN",
    "SpeakerEncoder",
    "WeSpeakerEcapaTdnn",
]
