"""Names of operators by kind, as far as rows are concerned: ONNX's own, ai.onnx.ml's and ONNX Runtime's."""

# ruff: noqa: SIM905 (two hundred names, one under the other, are no easier to read)

# The result depends on all values of an operand, whatever the axes.
WHOLE = {
    "DynamicQuantizeLinear": "takes its range over the whole batch",
    "DynamicQuantizeMatMul": "takes the range of its activations over the whole batch",
    "DynamicQuantizeLSTM": "takes the range of its activations over the whole batch",
    "DynamicTimeWarping": "aligns everything with everything",
    "NonZero": "lists the places of all rows together",
    "Unique": "compares all values of the batch",
    "NonMaxSuppression": "lists the boxes of all rows together",
}

UNARY = frozenset(
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh DequantizeLinear "
    "Dropout Elu Erf Exp FastGelu Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg "
    "Not QuickGelu Reciprocal QuantizeLinear Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt "
    "Swish Tan Tanh ThresholdedRelu Bernoulli RandomNormalLike RandomUniformLike Binarizer Scaler Imputer "
    "LabelEncoder RegexFullMatch".split()
)
BROADCAST = frozenset(
    "Add And BiasGelu BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual "
    "Max Mean Min Mod Mul Or Pow PRelu QLinearAdd QLinearMul StringConcat Sub Sum Where Xor".split()
)
PICTURES = frozenset(
    "AveragePool BatchNormalization Conv ConvInteger ConvTranspose DepthToSpace FusedConv GlobalAveragePool "
    "GlobalLpPool GlobalMaxPool GridSample GroupNormalization GroupNorm InstanceNormalization LRN LpPool MaxPool "
    "MaxUnpool QLinearAveragePool QLinearConv QLinearGlobalAveragePool Resize SpaceToDepth Upsample".split()
)
CONTRACTING = frozenset({"Conv", "ConvInteger", "ConvTranspose", "FusedConv", "QLinearConv"})
# Place of the second factor; the first is operand 0.
PRODUCTS = {
    "MatMul": 1,
    "MatMulInteger": 1,
    "MatMulIntegerToFloat": 1,
    "FusedMatMul": 1,
    "QLinearMatMul": 3,
    "MatMulNBits": 1,
    "MatMulBnb4": 1,
    "MatMulFpQ4": 1,
}
GEMMS = {"Gemm": 1, "QGemm": 3}
# One row of operand 0 in, one row of each result out.
TABULAR = frozenset(
    "ArrayFeatureExtractor CategoryMapper FeatureVectorizer LinearClassifier LinearRegressor Normalizer "
    "OneHotEncoder SVMClassifier SVMRegressor TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor "
    "TfIdfVectorizer Tokenizer StringSplit Multinomial".split()
)
# The first result has the rows where operand 0 has them; the others hold states whose axes differ.
ATTENTION = frozenset(
    "Attention MultiHeadAttention QAttention GroupQueryAttention PackedAttention DecoderMaskedMultiHeadAttention "
    "EmbedLayerNormalization QEmbedLayerNormalization RotaryEmbedding".split()
)
RECURRENT = frozenset({"RNN", "LSTM", "GRU"})
SOFTMAX = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
ARGUMENT = frozenset({"ArgMax", "ArgMin"})
NORMS = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})
SKIP_NORMS = frozenset({"SkipLayerNormalization", "SkipSimplifiedLayerNormalization"})
