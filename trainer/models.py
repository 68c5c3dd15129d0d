"""The networks: a causal body and one logit of right against wrong at chosen positions.

PRM: a causal LM. The logit at a step token is logit('+') - logit('-'), from two rows of the LM head applied
to the hidden states of the label positions only; the full [B, T, V] logits never exist. It is saved as the
causal LM it is (`AutoModelForCausalLM`), or as a token classifier whose `score.weight` is the two rows ('+'
first), which vLLM serves with pooling type STEP.

ORM and Bradley-Terry (with a critique or without): `AutoModelForSequenceClassification` with one label, because
that is what Transformers and vLLM load and serve with nothing of ours installed. The head starts as the difference
of the '+' and '-' rows, so an untrained ORM gives exactly the two-row probability. vLLM puts a sigmoid behind one
label unless `problem_type` is "regression": right for the ORM, whose score is P(correct), wrong for Bradley-Terry,
whose score is any real number. So the ORM has no problem type and Bradley-Terry has "regression".

Texts to write (`sft`, `judge`, `implicit-prm`): a causal LM, whose log-probabilities are computed for the tokens
that count only, a thousand at a time. CLoud: the same with a second head, Linear-tanh-Linear, that gives the reward
after the critique; that head stands beside the LM in `reward_head.safetensors`.

Bodies run on batches without padding, see `attention.py`; one whose attention cannot be replaced runs on rows
padded on the right, without a mask, since under causal attention no real token sees what follows it. Which it is,
is found out by comparing with the model's own hidden states. Shapes: `T` tokens, `D` hidden size, `K` read
positions, `V` vocabulary.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from stepmark.errors import SettingsError

from .batches import Batch, Ints, ReadSequence, TokenSet, TokenSetBuilder, collate
from .objectives import WRITTEN, last_reads
from .rows import Kind

Layout = Literal["causal-lm", "token-classification", "sequence-classification"]
"""How the weights of a checkpoint are laid out."""

Form = Literal["ragged", "blocks", "padded"]
"""How batches are laid out: without padding, for a kernel that takes ragged sequences; without padding but for blocks
in attention; padded rows that share nothing."""


class RewardNet(nn.Module):
    """A body with the head of one kind of reward model; its logits are read where the caller says."""

    def __init__(self, model: Any, kind: Kind, *, label_ids: tuple[int, int] | None = None) -> None:
        """Wraps a Transformers model: a causal LM (with `label_ids`) or a sequence classifier with one
        label.
        """
        super().__init__()
        self.kind = kind
        self.model = model
        self.form: Form = "padded"
        """How batches must be laid out; see `find_form`."""
        self.is_sharded = False
        """Whether this process holds a share of the parameters; then all call `forward` together, nothing else."""
        self._usual_attention: str = model.config._attn_implementation
        self.label_ids = label_ids
        self.rows: nn.Parameter | None = None
        if label_ids is None:
            return
        head = model.get_output_embeddings()
        if getattr(head, "bias", None) is not None:
            raise SettingsError(f"{type(model).__name__} has an LM head with a bias, which is not supported here.")
        if head.weight is not model.get_input_embeddings().weight:
            # Untied: training two rows of their own spares gradients and optimizer states of V rows.
            head.weight.requires_grad_(False)
            self.rows = nn.Parameter(head.weight[list(label_ids)].detach().clone())

    def forward(self, batch: Batch) -> Tensor:
        """Returns the logits [K] of right against wrong at the batch's read positions, in float32."""
        hidden = self.hidden(batch).index_select(0, batch.reads)
        with torch.autocast(hidden.device.type, enabled=False):
            logits: Tensor = hidden.float() @ self.direction().float()
        return logits

    def hidden(self, batch: Batch) -> Tensor:
        """Returns the body's last hidden states of a batch: [T, D]."""
        body = self.model.base_model
        if self.form != "padded":
            out: Tensor = body(
                input_ids=batch.input_ids[None],
                position_ids=batch.depths[None],
                use_cache=False,
                segments=batch.segments,
            ).last_hidden_state[0]
            return out
        rows = [
            body(input_ids=batch.input_ids[block.queries], use_cache=False).last_hidden_state.flatten(0, 1)
            for block in batch.segments.blocks
        ]
        return torch.cat(rows).index_select(0, batch.segments.back)

    def collate(self, data: TokenSet, items: Ints, *, share: bool = True) -> Batch:
        """Gathers items into a batch of the form that this network takes."""
        return collate(data, items, share=share and self.shares, ragged=self.form == "ragged")

    def n_positions(self, batch: Batch) -> int:
        """Returns how many positions go through the body for a batch, padding among them."""
        if self.form != "padded":
            return len(batch.input_ids)
        return sum(block.queries.numel() for block in batch.segments.blocks)

    def compile_layers(self) -> None:
        """Compiles each layer of the body; attention stays as it is."""
        for layer in self.model.base_model.layers:
            layer.compile(dynamic=True)

    @property
    def shares(self) -> bool:
        """Whether sequences of a batch can share what they begin with."""
        return self.form != "padded"

    def direction(self) -> Tensor:
        """Returns the [D] vector whose product with a hidden state is the logit of right against wrong."""
        if self.label_ids is None:
            weight: Tensor = self.model.score.weight
            return weight[0]
        rows = self.label_rows()
        return rows[0] - rows[1]

    def label_rows(self) -> Tensor:
        """Returns the [2, D] rows of the LM head, positive first."""
        if self.rows is not None:
            return self.rows
        assert self.label_ids is not None
        index = torch.tensor(self.label_ids, device=self.model.device)
        chosen: Tensor = self.model.get_output_embeddings().weight.index_select(0, index)
        return chosen

    def write_rows_back(self) -> None:
        """Copies trained rows of an untied head into the model, before it is saved or used on its own."""
        if self.rows is not None and self.label_ids is not None:
            with torch.no_grad():
                self.model.get_output_embeddings().weight[list(self.label_ids)] = self.rows

    @torch.no_grad()
    def check_exact(self) -> None:
        """Compares with the model's own logits on a short input.

        Raises:
            SettingsError: they differ, because the architecture scales or caps its logits (Gemma 2, Granite).
        """
        self.write_rows_back()
        self.model.set_attn_implementation(self._usual_attention)
        was_training = self.training
        self.eval()
        input_ids = self._some_tokens(8)[None]
        hidden = self.model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state[0, -1]
        ours = hidden.float() @ self.direction().float()
        full = self.model(input_ids=input_ids).logits[0]
        theirs = full[-1, self.label_ids[0]] - full[-1, self.label_ids[1]] if self.label_ids else full[0]
        self.train(was_training)
        if not torch.allclose(ours, theirs.float(), atol=1e-4, rtol=1e-3):
            raise SettingsError(
                f"{type(self.model).__name__} does not compute its logits as a plain product with the head "
                f"({theirs.item():.6g} against {ours.item():.6g}); this architecture is not supported."
            )

    @torch.no_grad()
    def find_form(self) -> Form:
        """Finds the fastest form of batch with which the body gives what it gives sequences one by one.

        The answer depends on the device, so it is asked again when the network has moved.

        Raises:
            SettingsError: there is none: the body is not causal.
        """
        from . import attention

        was_training = self.training
        self.eval()
        ids = self._some_tokens(24)
        builder = TokenSetBuilder()
        for tokens in (ids, torch.cat([ids[:14], ids[:3]]), ids[4:13]):
            builder.add(0, ReadSequence(tokens.tolist(), [len(tokens) - 1], [0.0]))
        data, body = builder.build(), self.model.base_model
        self.model.set_attn_implementation(self._usual_attention)
        alone = [
            body(input_ids=torch.tensor(data.sequence(i)[None], device=ids.device).long(), use_cache=False)
            for i in range(len(data))
        ]
        expected = torch.stack([out.last_hidden_state[0, -1] for out in alone]).float()
        forms: tuple[Form, ...] = ("ragged", "blocks") if ids.device.type == "cuda" else ("blocks",)
        for form in forms if attention.use(self.model) else ():
            self.form = form
            if self._gives(expected, data):
                break
        else:
            self.model.set_attn_implementation(self._usual_attention)
            self.form = "padded"
            if not self._gives(expected, data):
                raise SettingsError(
                    f"{type(self.model).__name__} lets tokens see what follows them; a reward model has to be causal."
                )
        self.train(was_training)
        return self.form

    def _gives(self, expected: Tensor, data: TokenSet) -> bool:
        """Tells whether the form that is set gives the last hidden states of three sequences, two begin alike."""
        batch = self.collate(data, np.arange(len(data))).to(expected.device)
        tolerance = 1e-4
        try:
            if self.form == "ragged":
                tolerance = 0.1  # the kernel knows no float32; a token that sees a stranger is off by much more
                with torch.autocast(expected.device.type, dtype=torch.bfloat16):
                    found = self.hidden(batch)[batch.reads].float()
            else:
                found = self.hidden(batch)[batch.reads].float()
        except (RuntimeError, TypeError, ValueError, AssertionError, ImportError, SettingsError):
            return False  # a kernel that is not there or refuses, an attention that takes more than packing knows
        return bool(((found - expected).norm(dim=1) <= tolerance * expected.norm(dim=1)).all())

    def _some_tokens(self, n: int) -> Tensor:
        """Returns n token ids, none of them padding."""
        vocabulary = self.model.get_input_embeddings().weight.shape[0]
        pad = self.model.config.pad_token_id
        ids = [i for i in range(min(vocabulary, 64)) if i != pad]
        return torch.tensor([ids[(7 * i + i // 5) % len(ids)] for i in range(n)], device=self.model.device)


class LanguageNet(RewardNet):
    """A causal LM of which the log-probabilities of given tokens are read."""

    def forward(self, batch: Batch) -> Tensor:
        """Returns log p(target) at each read position: [K], in float32."""
        return self.log_probabilities_at(self.hidden(batch).index_select(0, batch.reads), batch.targets)

    def log_probabilities_at(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Returns log p(target) of hidden states [K, D]; [K, V] logits never exist at once, nor are they kept."""
        from torch.utils.checkpoint import checkpoint

        parts = zip(torch.split(hidden, _AT_ONCE), torch.split(targets.long(), _AT_ONCE), strict=True)
        found = [checkpoint(self._log_probabilities, *part, use_reentrant=False) for part in parts]
        return torch.cat(found)

    def _log_probabilities(self, hidden: Tensor, targets: Tensor) -> Tensor:
        logits = self.model.get_output_embeddings()(hidden)
        return -nn.functional.cross_entropy(logits.float(), targets, reduction="none")

    def direction(self) -> Tensor:
        """Has none: a language model gives no reward by itself."""
        raise TypeError(f"{self.kind} reads no reward from a single position")

    @torch.no_grad()
    def check_exact(self) -> None:
        """Compares with the model's own logits, which must be the head's product with the hidden states."""
        self.model.set_attn_implementation(self._usual_attention)
        was_training = self.training
        self.eval()
        input_ids = self._some_tokens(8)[None]
        hidden = self.model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
        ours = self.model.get_output_embeddings()(hidden)
        theirs = self.model(input_ids=input_ids).logits
        self.train(was_training)
        if not torch.allclose(ours, theirs, atol=1e-4, rtol=1e-3):
            raise SettingsError(
                f"{type(self.model).__name__} does not compute its logits as a plain product with the head; "
                "this architecture is not supported."
            )


class CloudNet(LanguageNet):
    """A causal LM that writes a critique, and a head that gives the reward behind it (CLoud, Ankner et al. 2024)."""

    def __init__(self, model: Any, kind: Kind) -> None:
        """Puts a new head on the LM: Linear, tanh, Linear."""
        super().__init__(model, kind)
        size = model.get_input_embeddings().weight.shape[1]
        self.head = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1))

    def forward(self, batch: Batch) -> Tensor:
        """Returns [K]: the reward at the last read position of each sequence, log-probabilities at the others."""
        hidden = self.hidden(batch).index_select(0, batch.reads)
        is_reward = last_reads(batch)
        values = torch.zeros(len(hidden), device=hidden.device)
        values[is_reward] = self.rewards(hidden[is_reward])
        values[~is_reward] = self.log_probabilities_at(hidden[~is_reward], batch.targets[~is_reward])
        return values

    def rewards(self, hidden: Tensor) -> Tensor:
        """Returns the rewards of hidden states: [K, D] to [K], in float32."""
        with torch.autocast(hidden.device.type, enabled=False):
            out: Tensor = self.head(hidden.float())[:, 0]
        return out


def load_tokenizer(path: str) -> Any:
    """Loads a tokenizer that pads on the right with a token of its own.

    Transformers reads a classifier at the last token that is not padding, vLLM at the last token: with pad =
    eos the first would skip the end token. Where pad is missing or equals eos, `<|pad|>` is added.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as err:
        raise SettingsError(f"no tokenizer could be loaded from {path!r}: {err}") from err
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        add_special_token(tokenizer, "<|pad|>")
        tokenizer.pad_token = "<|pad|>"
    return tokenizer


def add_special_token(tokenizer: Any, token: str) -> None:
    """Adds a special token where the tokenizer does not have it yet."""
    from transformers import AddedToken

    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False)], special_tokens=True)


HEAD = "reward_head.safetensors"
"""CLoud's second head, beside the LM."""

_AT_ONCE = 1024
"""Positions whose logits over the vocabulary exist at a time."""


CLASSIFIERS: frozenset[Kind] = frozenset({"orm", "bt", "critique-rm"})
"""Kinds that are sequence classifiers with one label."""


def _net(model: Any, kind: Kind, *, label_ids: tuple[int, int] | None, own_head: bool) -> RewardNet:
    if kind == "cloud":
        return CloudNet(model, kind)
    if kind in WRITTEN:
        return LanguageNet(model, kind)
    if kind == "prm" and own_head:
        return _TokenClassifierNet(model, kind)
    return RewardNet(model, kind, label_ids=label_ids if kind == "prm" else None)


def build_net(
    base: str, kind: Kind, tokenizer: Any, *, label_ids: tuple[int, int] | None, own_head: bool = False
) -> RewardNet:
    """Loads a base model in float32 and gives it the head of `kind`.

    A base that is a causal LM gets the head described above (zeros where `label_ids` is None); one that is
    already a sequence classifier with one label keeps its head. With `own_head` a PRM is a token classifier from the
    beginning, with two rows of its own. New tokens of the tokenizer get the mean embedding.

    Raises:
        SettingsError: the base cannot be loaded or has no use for this kind.
    """
    from transformers import AutoConfig

    with _quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(base)
        except (OSError, ValueError) as err:
            raise SettingsError(f"no model could be loaded from {base!r}: {err}") from err
        is_classifier = any("ForSequenceClassification" in name for name in config.architectures or [])
        if is_classifier and kind not in CLASSIFIERS:
            raise SettingsError(f"{base!r} is a sequence classifier; {kind} needs a causal LM.")
        if is_classifier:
            model = _pretrained("AutoModelForSequenceClassification", base)
            _fit_vocabulary(model, tokenizer)
            if model.config.num_labels != 1:
                raise SettingsError(f"{base!r} has {model.config.num_labels} labels; a reward model here has one.")
        else:
            model = _pretrained("AutoModelForCausalLM", base)
            _fit_vocabulary(model, tokenizer)
            if kind in CLASSIFIERS:
                model = _classifier_from_lm(model, label_ids)
            elif kind == "prm" and own_head:
                model = _token_classifier(model, _two_rows(model, label_ids))
        model.config.pad_token_id = tokenizer.pad_token_id
        if kind in CLASSIFIERS:
            model.config.problem_type = None if kind == "orm" else "regression"
    net = _net(model, kind, label_ids=label_ids, own_head=own_head)
    net.check_exact()
    net.find_form()
    return net


def load_net(path: Path, kind: Kind, layout: Layout, *, label_ids: tuple[int, int] | None) -> RewardNet:
    """Loads a checkpoint that `save_net` wrote; its batches are padded until `find_form` is asked."""
    with _quiet_transformers():
        if layout == "causal-lm":
            model = _pretrained("AutoModelForCausalLM", str(path))
            net = _net(model, kind, label_ids=label_ids, own_head=False)
            if isinstance(net, CloudNet):
                from safetensors.torch import load_file

                net.head.load_state_dict(load_file(path / HEAD))
        elif layout == "sequence-classification":
            net = RewardNet(_pretrained("AutoModelForSequenceClassification", str(path)), kind)
        else:
            net = _TokenClassifierNet(_pretrained("AutoModelForTokenClassification", str(path)), kind)
    return net


class _TokenClassifierNet(RewardNet):
    """A PRM saved as a token classifier: the two rows are its `score.weight`."""

    def direction(self) -> Tensor:
        weight: Tensor = self.model.score.weight
        return weight[0] - weight[1]

    @torch.no_grad()
    def check_exact(self) -> None:
        """Has nothing to compare with: its logits are the product with the head by construction."""


def save_net(net: RewardNet, path: Path, *, layout: Layout) -> None:
    """Writes the weights and the configuration in float32, loadable by plain Transformers."""
    net.write_rows_back()
    model = net.model
    with _quiet_transformers():
        if layout == "token-classification" and not isinstance(net, _TokenClassifierNet):
            model = _token_classifier(model, net.label_rows().detach())
        model.save_pretrained(path)
    if isinstance(net, CloudNet):
        from safetensors.torch import save_file

        save_file({name: weight.contiguous() for name, weight in net.head.state_dict().items()}, path / HEAD)


def default_layout(kind: Kind) -> Layout:
    """Returns how a reward model of this kind is saved unless asked otherwise."""
    return "sequence-classification" if kind in CLASSIFIERS else "causal-lm"


def n_parameters(net: RewardNet) -> int:
    """Counts the parameters of the model once each (tied ones are one)."""
    return sum(parameter.numel() for name, parameter in net.named_parameters() if name != "rows")


def _classifier_from_lm(lm: Any, label_ids: tuple[int, int] | None) -> Any:
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(lm.config)
    config.num_labels = 1
    config.architectures = None
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    if not isinstance(getattr(model, "score", None), nn.Linear) or model.score.bias is not None:
        raise SettingsError(f"{type(model).__name__} has no plain `score` head, which is not supported here.")
    setattr(model, model.base_model_prefix, lm.base_model)
    model.score = nn.Linear(lm.get_input_embeddings().weight.shape[1], 1, bias=False)
    with torch.no_grad():
        model.score.weight.zero_()
        if label_ids is not None:
            rows = lm.get_output_embeddings().weight[list(label_ids)]
            model.score.weight[0] = rows[0] - rows[1]
    return model


def _two_rows(lm: Any, label_ids: tuple[int, int] | None) -> Tensor:
    """[2, D] the rows that a token classifier starts with: those of the two labels, zeros without labels."""
    weight: Tensor = lm.get_output_embeddings().weight.detach()
    return torch.zeros_like(weight[:2]) if label_ids is None else weight[list(label_ids)]


def _token_classifier(lm: Any, rows: Tensor) -> Any:
    from transformers import AutoModelForTokenClassification

    config = copy.deepcopy(lm.config)
    config.num_labels = 2
    config.id2label, config.label2id = {0: "+", 1: "-"}, {"+": 0, "-": 1}
    config.token_classification_bias = False
    config.architectures = None
    with torch.device("meta"):
        model = AutoModelForTokenClassification.from_config(config)  # type: ignore[no-untyped-call]
    setattr(model, model.base_model_prefix, lm.base_model)
    model.dropout = nn.Identity()  # there is none in the reward models of other kinds either
    model.score = nn.Linear(rows.shape[1], 2, bias=False)
    with torch.no_grad():
        model.score.weight.copy_(rows)
    return model


def _pretrained(auto_class: str, path: str) -> Any:
    import transformers

    try:
        return getattr(transformers, auto_class).from_pretrained(path, dtype=torch.float32)
    except (OSError, ValueError) as err:
        raise SettingsError(f"no model could be loaded from {path!r}: {err}") from err


def _fit_vocabulary(model: Any, tokenizer: Any) -> None:
    """Gives tokens that the embedding does not have yet the mean of all rows."""
    n_before = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) <= n_before:
        return
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            if layer is not None:
                layer.weight[n_before:] = layer.weight[:n_before].mean(dim=0)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silences the loading report: what it would say (a new head) is said by us."""
    from transformers.utils import logging as untyped

    logging: Any = untyped

    before = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
