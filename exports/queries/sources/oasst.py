"""Open-Assistant: trees of messages; volunteers ranked the replies to one message, 0 the best.

Each message of a person with two ranked replies or more is a problem (the conversation that leads to it), its ranked
replies are solutions, and each pair of them is a choice. The rest of the tree makes no row.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from stepmark.records import ImportedRow, PreferenceRecord, ProblemRecord

from .options import ImportOptions
from .pairs import conversation, response
from .rows import RowError, SourceRow, optional, required

ANNOTATOR = "oasst-rankers"

_ROLES = {"prompter": "user", "assistant": "assistant"}


def parse(row: SourceRow, options: ImportOptions) -> list[ImportedRow]:
    """Reads one tree.

    Raises:
        RowError: It is broken, or no message in it has two ranked replies.
    """
    tree = {"message_tree_id": row.value.get("message_tree_id"), "tree_state": row.value.get("tree_state")}
    found = list(_groups(required(row.value, "prompt", dict), [], options, tree))
    if not any(one.preferences for one in found):
        raise RowError("no_ranked_replies", "no message of the tree has two ranked replies")
    unranked = sum(len(one.left_out) for one in found if not one.solutions)
    found = [one for one in found if one.solutions]
    first = found[0]
    found[0] = ImportedRow(first.problem, first.solutions, first.preferences, ("fewer_than_two_ranked",) * unranked)
    return found


def _groups(
    node: Mapping[str, Any], above: Sequence[Mapping[str, str]], options: ImportOptions, tree: Mapping[str, Any]
) -> Iterator[ImportedRow]:
    role = required(node, "role", str, where=" of a message")
    if role not in _ROLES:
        raise RowError("unknown_role", f"'role' should be prompter or assistant, not {role!r}")
    messages = [*above, {"role": _ROLES[role], "content": required(node, "text", str, where=" of a message")}]
    replies = optional(node, "replies", list, where=" of a message") or []
    key = required(node, "message_id", str, where=" of a message")
    if role == "prompter" and replies:
        ranked = sorted((reply for reply in replies if reply.get("rank") is not None), key=lambda one: one["rank"])
        problem = ProblemRecord(
            statement=conversation(messages),
            source=options.source,
            source_key=key,
            licence=options.licence,
            extra={**tree, **({"messages": messages} if len(messages) > 1 else {}), "node": _bare(node)},
        )
        if len(ranked) < 2:
            yield ImportedRow(problem, left_out=("fewer_than_two_ranked",))
        else:
            solutions = tuple(
                response(
                    required(reply, "text", str, where=" of a reply"),
                    required(reply, "message_id", str, where=" of a reply"),
                    options,
                    generator=reply.get("model_name"),
                    extra=_bare(reply),
                )
                for reply in ranked
            )
            pairs = [
                (a, b)
                for a, b in combinations(range(len(ranked)), 2)
                if ranked[a]["rank"] != ranked[b]["rank"] and solutions[a].text != solutions[b].text
            ]
            n_all = len(ranked) * (len(ranked) - 1) // 2
            choices = tuple(PreferenceRecord(ANNOTATOR, "person", a, b, "a") for a, b in pairs)
            yield ImportedRow(problem, solutions, choices, ("equal_replies",) * (n_all - len(pairs)))
    for reply in replies:
        yield from _groups(reply, messages, options, tree)


def _bare(node: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in node.items() if name not in ("text", "replies", "message_id")}
