"""Random plain files of every format that sops takes, each from its own seed: one document, or a pack of several, since to start sops costs more than to let it read ten times as much."""
import json
import random

WORDS = ["x", "héllo", "a b", "a: b", "a #b", "123", "1e3", "true", "yes", "~", "null", "2001-01-01", "ENC[x]", "ENC[AES256_GCM,data:x]", "", " lead", "trail ", "-", "- x",
         "[a]", "{a}", "&a", "*a", "!t", "%x", "@x", "`x`", "'q'", '"q"', "back\\slash", "\t", "\u2028", "\U0001f511", "0x1f", "0o17", "017", "1_000", ".5", "-.inf", "=", "<<",
         "a\nb", "a\nb\n", "\na", " a\nb", "a\n\n", "a\r\nb", "---", "x" * 300, "a,b", "k:v", "12:30:45", "1.", "+1", "0b1", "\x7f", "\u00a0"]
PLAIN = ["1", "-7", "0", "1.0", "-0.0", "-0", "3.14", "1e400", "1e3", "6.02e23", "1.5e-9", "123456789012", "9223372036854775807", "0x1F", "0o17", "017", "1_000", "true", "True", "FALSE",
         "yes", "off", "null", "~", "", "plain text", "http://x/y", "12:30", "ENC[x]", ".inf", "[]", "{}", "[1, two, '3']", "{a: 1, b: {c: d}}", "1.", "+12", "1e6", "100000.0", "1234567.0"]

ENDINGS = {"yaml": ".yaml", "json": ".json", "dotenv": ".env", "ini": ".ini", "binary": ".bin"}


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.comments = 0
        self.a = random.Random(f"{seed}/aliases")  # files without any are the same for a seed as they were
        self.w = random.Random(f"{seed}/wide")
        self.aliases = self.a.random() < 0.4
        self.anchors = []  # of what was written already, so that nothing stands for itself
        self.open = 0
        self.first = 0  # number of the first section or variable

    def word(self):
        return self.r.choice(WORDS) if self.r.random() < 0.7 else "".join(self.r.choice("abcXYZ 019_-.:#é\\\"'") for _ in range(self.r.randrange(1, 30)))

    def key(self, index):
        name = self.r.choice(["k", "Key", "a b", "a:b", "a.b", "a/b", "é", "x_unencrypted", "port", "on1", "list"])
        return f"{name}{index}" if not name.endswith("_unencrypted") else f"k{index}_unencrypted"

    def comment(self, indent=""):
        self.comments += 1
        return f"{indent}# cmt{self.comments}"

    def scalar(self, indent):
        kind = self.r.randrange(10)
        if kind < 4:
            return self.r.choice(PLAIN)
        if kind < 8:
            return json.dumps(self.word(), ensure_ascii=self.r.random() < 0.5).replace("\x7f", "\\u007f").replace("\u2028", "\\u2028")
        if kind == 8:
            return "'" + self.word().replace("'", "''").replace("\n", " ").replace("\r", "").replace("\t", " ").replace("\x7f", "").replace("\u2028", "") + "'"
        return self.r.choice("|>") + self.r.choice(["", "-"]) + "".join(f"\n{indent}    {line}" for line in self.r.choice([["one", "two"], ["one", "  deep", "", "end"], ["# no comment"]]))

    def anchor(self):
        """Nothing, or an anchor for the value that comes next; known() when that has been written."""
        if not self.aliases or self.a.random() < 0.6:
            return ""
        self.open += 1
        return f" &a{self.open}"

    def known(self, anchor, what):
        if anchor:
            self.anchors.append((anchor[2:], what))

    def alias(self):
        """An alias, also of what stands between brackets; None: there is nothing yet that it could stand for."""
        if not self.anchors or self.a.random() < 0.6:
            return None
        name = self.a.choice(self.anchors)[0]
        return self.a.choice([f"*{name}", f"*{name}", f"*{name}", f"[*{name} , 1]", f"{{a: *{name} , b: [ *{name} ]}}"])

    def merge(self, indent):
        """A key << with a map, or a list of maps."""
        maps = [name for name, what in self.anchors if what == "map"]
        if not maps or self.a.random() < 0.6:
            return []
        return [f"{indent}<<: {self.a.choice([f'*{maps[0]}', f'*{maps[-1]}   # no copy', f'[*{maps[-1]}, {{z: 1}}]'])}"]

    def yaml_map(self, depth, indent):
        lines = self.merge(indent)
        for index in range(self.r.randrange(1, 5)):
            if self.r.random() < 0.15:
                lines.append(self.comment(indent))
            key = json.dumps(self.key(index), ensure_ascii=False) if self.r.random() < 0.5 else f"k{index}"
            kind = self.r.random()
            anchor = self.anchor()
            if depth and kind < 0.2:
                lines += [f"{indent}{key}:{anchor}", *self.yaml_map(depth - 1, indent + "  ")]
                self.known(anchor, "map")
            elif depth and kind < 0.35:
                lines += [f"{indent}{key}:{anchor}", *self.yaml_list(depth - 1, indent + "  ")]
                self.known(anchor, "list")
            else:
                value = self.alias() or self.scalar(indent)
                inline = self.comment("  ") if self.r.random() < 0.1 and value and value[0] not in "|>" else ""
                anchor = anchor if "*" not in value else ""
                lines.append(f"{indent}{key}:{anchor} {value}{inline}")
                self.known(anchor, "scalar")
        return lines

    def yaml_list(self, depth, indent):
        lines = []
        for _ in range(self.r.randrange(1, 4)):
            if depth and self.r.random() < 0.3:
                inner = self.yaml_map(depth - 1, indent + "  ")
                while inner and inner[0].lstrip().startswith("#"):
                    inner = inner[1:]
                lines += [f"{indent}- {inner[0].lstrip()}", *inner[1:]] if inner else []
            else:
                lines.append(f"{indent}- {self.alias() or self.scalar(indent)}")
            if self.r.random() < 0.1:
                lines.append(self.comment(indent))
        return lines

    def pack(self, kind, count):
        """A file with as much in it as so many others."""
        if kind == "yaml":
            lines = []
            for index in range(count):
                lines += [f"d{index}:", *self.yaml_map(2, "  ")]
            return ("\n".join(lines) + "\n").encode()
        if kind == "json":
            document = {f"d{index}": {self.key(i): self.value(2) for i in range(self.r.randrange(1, 6))} for index in range(count)}
            return json.dumps(document, ensure_ascii=self.r.random() < 0.5, indent=self.r.choice([None, 1, 4])).encode()
        if kind in ("dotenv", "ini"):
            self.first = 0
            parts = []
            for _ in range(count):
                parts.append(getattr(self, kind)())
                self.first += 10
            return b"\n".join(parts)
        return self.binary()

    def yaml(self):
        documents = ["\n".join(self.yaml_map(3, "")) for _ in range(2 if self.r.random() < 0.15 else 1)]
        return ("\n---\n".join(documents) + "\n").encode()

    def value(self, depth):
        kind = self.r.random()
        if depth and kind < 0.2:
            return {self.key(i): self.value(depth - 1) for i in range(self.r.randrange(0, 5))}
        if depth and kind < 0.3:
            return [self.value(depth - 1) for _ in range(self.r.randrange(0, 5))]
        if kind < 0.7:
            return self.word()
        return self.r.choice([0, 1, -7, 1.5, 1e300, 1e-9, 2**53, 9007199254740993, True, False, None, 1e21, 100000.5])

    def json(self):
        document = {self.key(i): self.value(3) for i in range(self.r.randrange(1, 6))}
        return json.dumps(document, ensure_ascii=self.r.random() < 0.5, indent=self.r.choice([None, 1, 4])).encode()

    def dotenv(self):
        lines = []
        for index in range(self.first, self.first + self.r.randrange(1, 7)):
            lines.append(self.r.choice([f"K{index}=" + self.word().replace("\n", "\\n"), f"export K{index}='v # {index}'", f"K{index} = a=b", f"# cmt{index}", "", f"K{index}_unencrypted=x"]))
        return (self.r.choice(["\n", "\r\n"]).join(lines) + self.r.choice(["", "\n"])).encode()

    def ini(self):
        lines = []
        for section in range(self.first, self.first + self.r.randrange(1, 4)):
            lines += [f"; cmt{section}", f"[section {section}]"]
            for index in range(self.r.randrange(0, 4)):
                lines.append(f"key{index} {self.r.choice('=:')} {self.r.choice(['v', '1', 'a b', '`a;b`', '`a#b`', 'é', chr(34) + 'q q' + chr(34), 'true', '', 'x=y', 'http://x'])}")
        return ("\n".join(lines) + "\n").encode()

    def binary(self):
        return self.r.randbytes(self.r.choice([1, 100, 5000])) if self.r.random() < 0.6 else self.word().encode() + b"\n"
