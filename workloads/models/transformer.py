"""GPT-2 language models and a BERT-style text classifier, built by `transformers` from plain numbers, never downloaded.

Parameter names are those of Hugging Face's checkpoints. Dropout is the published models'. The `text` extra has the
library; it is imported when such a model is built.
"""

from typing import Any

from torch import Tensor, nn

from workloads.errors import BadInput
from workloads.libraries import TEXT, optional
from workloads.models.registry import Text

# Layers, width, heads: Radford et al. 2019, table 2 (the paper's 345 M model is what became known as medium).
GPT2 = {"gpt2": (12, 768, 12), "gpt2-medium": (24, 1024, 16), "gpt2-large": (36, 1280, 20)}
# A small encoder of BERT's kind (Turc et al. 2019: BERT-Small).
ENCODER = (4, 512, 8)


def _library() -> Any:
    return optional("transformers", "this model is built by transformers", TEXT)


class TiedOutput(nn.Module):
    """The output layer, which has no weights of its own: logits [..., vocabulary] of hidden states [..., width]."""

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Logits, with the embedding [vocabulary, width] as the layer's weights."""
        return nn.functional.linear(hidden, embedding)


class LanguageModel(nn.Module):
    """Input int64 [batch, tokens]; output logits [batch, tokens, vocabulary] of the token that comes next.

    The output layer is the embedding itself (tied), which is kept once.
    """

    def __init__(self, vocabulary: int, length: int, layers: int, hidden: int, heads: int) -> None:
        super().__init__()
        library = _library()
        config = library.GPT2Config(
            vocab_size=vocabulary,
            n_positions=length,
            n_layer=layers,
            n_embd=hidden,
            n_head=heads,
            # The published formula in one kernel: a step of a small model on a CPU is a fifth faster than written out.
            activation_function="gelu_pytorch_tanh",
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        self.transformer = library.GPT2Model(config)
        self.output = TiedOutput()

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits at every place."""
        hidden = self.transformer(input_ids=tokens).last_hidden_state
        logits: Tensor = self.output(hidden, self.transformer.wte.weight)
        return logits


class TextClassifier(nn.Module):
    """Input int64 [batch, tokens], filled up with `padding`; output logits [batch, classes]."""

    def __init__(
        self, vocabulary: int, length: int, classes: int, padding: int, layers: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        library = _library()
        config = library.BertConfig(
            vocab_size=vocabulary,
            max_position_embeddings=length,
            num_hidden_layers=layers,
            hidden_size=hidden,
            intermediate_size=4 * hidden,
            num_attention_heads=heads,
            pad_token_id=padding,
            num_labels=classes,
        )
        self._padding = padding
        self.bert = library.BertModel(config, add_pooling_layer=True)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of a batch."""
        found = self.bert(input_ids=tokens, attention_mask=(tokens != self._padding).long())
        logits: Tensor = self.classifier(self.dropout(found.pooler_output))
        return logits


def build(name: str, **arguments: int) -> nn.Module:
    """A new model; BadInput where the width does not divide by the heads."""
    if arguments["hidden"] % arguments["heads"]:
        raise BadInput(f"model.hiddenSize {arguments['hidden']} does not divide by {arguments['heads']} heads")
    return TextClassifier(**arguments) if name == "text-classifier" else LanguageModel(**arguments)


def arguments(
    name: str, text: Text, layers: int | None, hidden: int | None, heads: int | None
) -> dict[str, bool | int | float | str]:
    """Arguments of the constructor: the published sizes, unless the recipe has its own."""
    own = GPT2.get(name, ENCODER)
    sizes = {"layers": layers or own[0], "hidden": hidden or own[1], "heads": heads or own[2]}
    shape = {"vocabulary": text.vocabulary, "length": text.length}
    if name == "text-classifier":
        shape |= {"classes": text.classes, "padding": text.padding}
    return {**shape, **sizes}
