"""The losses of the three reward models, as pure functions of logits and targets.

Every reward model here reads one logit per position: the logit z of "right" against "wrong". For a head with
one row per class, z is the difference of the two rows' logits, since softmax([a, b])[0] = sigmoid(a - b).
All functions return one value per element, unreduced: the loop sums them and divides by the number of
elements of the whole optimizer step, so that accumulated micro-batches weigh exactly like one large batch.

Shapes: `K` read positions of a batch, `B` pairs of a batch.
"""

import torch.nn.functional as F
from torch import Tensor


def outcome_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of right against wrong, hard (0, 1) or soft (a probability).

    With p = sigmoid(z): -t log p - (1 - t) log(1 - p). It serves the PRM (one position per step; Lightman et
    al. 2023, appendix F) and the ORM (every solution token; Cobbe et al. 2021, who use a squared error
    instead). z = log 3 means p = 3/4: -log(3/4) = 0.2877 if right, -log(1/4) = 1.3863 if wrong, their mean if
    t = 1/2.

    >>> import torch
    >>> z = torch.log(torch.tensor([3.0, 3.0, 3.0]))
    >>> [round(x, 4) for x in outcome_loss(z, torch.tensor([1.0, 0.0, 0.5])).tolist()]
    [0.2877, 1.3863, 0.837]

    Args:
        logits: [K] logit of right against wrong.
        targets: [K] in [0, 1].

    Returns:
        [K] losses.
    """
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, margins: Tensor, *, centre: float = 0.0) -> Tensor:
    """Negative log-likelihood that `chosen` wins by more than its margin, with a pull of the rewards to zero.

    -log sigmoid(r_c - r_r - m) + centre (r_c + r_r)^2: margins after Llama 2 (Touvron et al. 2023, eq. 2),
    the centring term after Eisenstein et al. 2023. Rewards 2 and 1 without margin: -log sigmoid(1) = log(1 +
    1/e) = 0.3133; with margin 1: log 2 = 0.6931; with centre 0.01 the first grows by 0.01 * 3^2 = 0.09.

    >>> import torch
    >>> two, one, zero = torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([0.0])
    >>> [round(bradley_terry_loss(two, one, m).item(), 4) for m in (zero, one)]
    [0.3133, 0.6931]
    >>> round(bradley_terry_loss(two, one, zero, centre=0.01).item(), 4)
    0.4033

    Args:
        chosen: [B] rewards of the preferred solutions.
        rejected: [B] rewards of the others.
        margins: [B], 0.0 where there is none.
        centre: weight of the squared sum; 0.0 leaves it out.

    Returns:
        [B] losses.
    """
    losses = -F.logsigmoid(chosen - rejected - margins)
    return losses if centre == 0.0 else losses + centre * (chosen + rejected) ** 2


def preference_loss(chosen: Tensor, rejected: Tensor, *, beta: float) -> Tensor:
    """Direct preference optimisation of log ratios to a reference (Rafailov et al. 2023, eq. 7).

    -log sigmoid(beta (l_c - l_r)), where l = log pi(text) / pi_ref(text). Before the first step all ratios are 0 and
    the loss is log 2. With beta = 0.1, l_c = 10 and l_r = 0: -log sigmoid(1) = 0.3133.

    >>> import torch
    >>> round(preference_loss(torch.tensor([10.0]), torch.tensor([0.0]), beta=0.1).item(), 4)
    0.3133

    Args:
        chosen: [B] log ratios of the preferred texts.
        rejected: [B] log ratios of the others.
        beta: how far the model may move from the reference for a preference; smaller is further.

    Returns:
        [B] losses.
    """
    return -F.logsigmoid(beta * (chosen - rejected))
