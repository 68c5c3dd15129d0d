"""How far labellers agree: the figures by which labels are trusted. Pure; who labelled what is read elsewhere.

`coefficient` holds what every figure is (a value with its interval, or the reason why there is none), `tables` turns
labels into tables of counts, `kappa` and `alpha` hold the coefficients, `first_errors` compares where labellers see
the first wrong step, `labels` says which step labels count, and `report` puts all of it together for them.
"""

from .alpha import Level, krippendorff_alpha
from .coefficient import Coefficient
from .first_errors import NO_ERROR, FirstErrorAgreement, first_error_agreement
from .kappa import cohen_kappa, fleiss_kappa, gwet_ac, raw_agreement
from .tables import count_labels, nominal_weights, ordinal_weights, pair_tables, pairs_in_units

__all__ = [
    "NO_ERROR",
    "Coefficient",
    "FirstErrorAgreement",
    "Level",
    "cohen_kappa",
    "count_labels",
    "first_error_agreement",
    "fleiss_kappa",
    "gwet_ac",
    "krippendorff_alpha",
    "nominal_weights",
    "ordinal_weights",
    "pair_tables",
    "pairs_in_units",
    "raw_agreement",
]
