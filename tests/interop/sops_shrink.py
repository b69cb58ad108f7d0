"""A file with which something goes wrong, made smaller as long as it does: of lines, or of JSON's members, halves are left out, then quarters, down to one by one."""
import json
import re
import time

SECONDS = 40  # a test that fails has a time limit as well


def pieces(kind, data):
    """What may be left out, and how the rest is put together again."""
    if kind == "json":
        try:
            return members(json.loads(data)), lambda rest: json.dumps(joined(rest)).encode()
        except ValueError:
            return [], None
    if kind == "binary":
        return [data[index:index + 1] for index in range(len(data))], b"".join
    return data.split(b"\n"), b"\n".join


def members(tree, before=()):
    """Each leaf with its path, in order."""
    if isinstance(tree, (dict, list)) and tree:
        steps = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [leaf for step, inner in steps for leaf in members(inner, (*before, (step, isinstance(tree, list))))]
    return [(before, tree)]


def joined(leaves):
    if leaves and not leaves[0][0]:
        return leaves[0][1]
    groups = {}
    for path, leaf in leaves:
        groups.setdefault(path[0], []).append((path[1:], leaf))
    is_list = any(step[1] for step in groups)
    return [joined(group) for group in groups.values()] if is_list else {step[0]: joined(group) for step, group in groups.items()}


def gist(said):
    """What is wrong without what it is about: a smaller file is to fail for the same reason."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|/\S+|\d+", "", (said or "").split("\n")[0])[:60]


def shrink(kind, data, says):
    """The smallest that was found of which says(data) says the same; it is to say nothing, or None, of what is right."""
    parts, whole = pieces(kind, data)
    reason = gist(says(data))

    def fails(smaller):
        said = says(smaller)
        return said and gist(said) == reason

    end = time.monotonic() + SECONDS
    size = len(parts) // 2
    while size and time.monotonic() < end:
        index = 0
        while index < len(parts) and time.monotonic() < end:
            fewer = parts[:index] + parts[index + size:]
            if fewer and fails(whole(fewer)):
                parts = fewer
            else:
                index += size
        size //= 2
    small = whole(parts) if whole else data
    return small if len(small) < len(data) and fails(small) else data
