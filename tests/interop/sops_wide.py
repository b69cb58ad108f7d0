"""Files that people type and few programs write: what a format allows beside what sops_maker.py makes of it. A line here and there is one of these, and the file as a whole may have another layout."""
import json

YAML_VALUES = [
    "2001-12-14t21:59:43.10-05:00", "2001-1-1", "2001-12-14 21:59:43.10", "2001-12-14T21:59:43Z", "12:30:45", "0b101", "0o7", "0x_1f", "1__0", "+.inf", ".NaN", "-0", "1e-400", "18446744073709551615", "18446744073709551616",
    "-9223372036854775808", "-9223372036854775809", "!!str 12", '!!int "3"', "!!int 3", "!!float 1", "!!float 1.5", '!!bool "true"', "!!bool true", '!!null ""', "!!null ~", "!!binary aGVsbG8=", "!!binary gIGC", "! x", "! 12",
    "!custom x", "!!timestamp 2001-01-01", "!!seq [1]", "!!map {a: 1}", "&z9 anchored", "!!str", "!!str ~", "-", "?x", ":x", "a:b", "a#b", "a\t# cmt0", "\tx", "x  # cmt0", "'it''s'", "''", '""', '"\\x41\\u00e9\\U0001f511\\/\\e\\N\\_\\L\\P"', "[]", "{}", "[ ]",
    "[a, b,]", "{a, b: }", "[[1], [2, {x: [3]}]]", "[a: 1, b]", '{"a":1, "b": [x]}', "{? a : 1}", "\u00e9\u00a0x", "x\u2003y", "|-\n@@  one\n", "|2\n@@   deep\n@@  one\n", "|+\n@@  one\n\n", ">\n@@  one\n@@  two\n\n@@    three\n@@  four", ">+\n@@  one\n\n\n",
    ">1-\n@@  lead\n@@ one", "|  # cmt0\n@@  one", "one\n@@  two\n@@  three", "one\n\n@@  two # cmt0", '"one\n@@  two\n\n@@  three"', "'one\n@@  two'", '"a\\\n@@  b"', "[\n@@  1, # cmt0\n@@  two\n@@]", "{\n@@  a: 1, # cmt0\n@@  # cmt0\n@@  b: 2 }", "[1,\n@@ 2]",
    "|\n@@  # no comment\n@@  x", "|\n@@\n@@  one\n@@\n@@  two\n", "\n@@  below", "\n@@  # cmt0\n@@  below", "# cmt0", "# cmt0\n@@  below", "x" * 5000, "a b " * 800, '"' + "a b " * 800 + '"', "null", "Null", "~", "", "yes", "y", "<<", "=", "%x", "..", "...x",
    "---x", "'multi\n\n\n@@ line'", "\"tab\\there\"", "!!str |\n@@  tagged\n", "&z8 |\n@@  anchored\n", "&z7 [1, 2]", "&z6 {a: 1}", "&z5\n@@  a: 1", "!!map\n@@  a: 1",
]
YAML_KEYS = ['"a\\nb"', "'it''s'", '"q\\"q"', "a b", "a  ", "1", "1.5", "true", "~", "2001-01-01", '""', "''", "é", "a-b", "-a", "?a", "a:b", "a#b", "!!str k", "&zk k", '"<<"', "'sops'", '"' + "k" * 900 + '"', "k" * 130, "\u2603", '"\\t"', "y", "on", "a.b", "a/b",
             "[a]", "{a: b}", "? k\n@@", "\"ENC[x]\"", "0x1", "=", '"#"', "sops_x", "sops"]
JSON_VALUES = ['"\\u00e9\\ud83d\\udd11\\/\\b\\f"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\x7f"', "1E5", "1e+5", "0.1e-7", "123456789012345678901234567890", "1e999", "-1e-999", "9007199254740993", "9223372036854775808", "1.0", "1.10", "0.30000000000000004", "[ ]", "{ }",
               "[[[[]]]]", '[null, true, {"a": []}]', '"' + "x" * 5000 + '"', '"ENC[AES256_GCM,data:x]"', '"\\u2028\u2029"', '""', "null", "false", "4.9e-324", "1.7976931348623157e308", "100000000000000000000", "1e21", "1e20", "123456.789e3", '"\t"']
JSON_KEYS = ['"\\u0061"', '"a\\/b"', '""', '"\\""', '"a"', '"a"', '"é"', '"\\ud83d\\udd11"', '"_unencrypted"', '"x:y"', '"sops_x"', '"\\n"']
INI_LINES = ["key = 'q q'", 'key = "q;q"', "key = `b`", 'key = """one\ntwo"""', "key=", "key =", "key:v", "key = a = b", '"quo ted" = v', "`b k` = v", "k.k = v", "k[0] = v", "é = ü", "key = %(x)s", "key = $x", "key = a\\nb", "key = \\x", "key = a\\", "key = a \\\n  b", "key = 'open", 'key = "open',
             "key = a ; cmt", "key = a # cmt", "key = a;b", "# cmt", ";cmt", ";; cmt", "#! cmt", "  key = indented", "\tkey\t=\tv", "key = \u00a0v\u2003", "novalue", "= v", "[ spaced ]", "[a.b]", "[a:b]", "[é]", "[a]b]", "[]", "[DEFAULT]", "[default]", "[section 0]", '["q"]', "[a;b]", "[s] ; cmt", "[[s]]",
             "key = " + "x" * 5000, "key = TRUE", "key = 0x10", "key = 1e3", "-", "- = v", "include = x", "key = ''", 'key = ""', "key = a\tb", "[sops_x]", "sops = v"]
DOTENV_LINES = ['K="quoted"', "K='quoted'", 'K="one\ntwo"', "K=a # cmt", "K= lead", "K=trail ", " K=v", "K =v", "K = v", "export K=v", "=v", "K=", "K==", "K", "#", "# cmt", " # cmt", "#cmt=x", "K=a\\nb", "K=a\\\\nb", "K=\\", "K=é\u2003", "K.k=v", "k-k=v", "K[0]=v", "K=$X", "K=${X}", "K=`x`", "", " ", "\t",
                "K=" + "x" * 5000, "K=ENC[x]", "K=true", "K=12", "K='open", "K=\tv", "SOPS_X=v", "sops=v"]


def layout(chance, text):
    """Line ends, marks of bytes and the like."""
    if chance.random() < 0.1:
        text = text.replace("\n", "\r\n")
    if chance.random() < 0.2:
        text = text.rstrip("\r\n")
    if chance.random() < 0.1:
        text += "\n" * chance.randrange(1, 4)
    if chance.random() < 0.1:
        text = "\n" * chance.randrange(1, 3) + text
    if chance.random() < 0.04:
        text = "\ufeff" + text
    return text.encode(errors="surrogatepass")


def yaml(maker):
    """Each third line or so has a value, or a key, of these; comments and empty lines anywhere."""
    chance, lines = maker.w, []
    for line in maker.yaml().decode().split("\n"):
        indent = line[:len(line) - len(line.lstrip(" "))]
        simple = line.lstrip().startswith("k") and line.count(": ") == 1 and line.rstrip()[-1] not in "|>[{:-"
        what = chance.random()
        if simple and what < 0.15:
            line = f"{indent}{line.strip().split(':')[0]}: {chance.choice(YAML_VALUES)}".replace("@@", indent)
        elif simple and what < 0.19:
            key = f"{chance.choice(YAML_KEYS)}".replace("@@", indent)
            line = f"{indent}{key}:{line.split(':', 1)[1]}"
        elif what < 0.23:
            lines.append(" " * chance.choice([0, 0, 1, 2, 3, 4, 6, 9]) + f"# cmt{chance.randrange(99)}")
        elif what < 0.25:
            lines.append(chance.choice(["", "", "   ", "\t"]))
        elif simple and what < 0.26:
            line = line.replace(": ", ":\t", 1)
        lines.append(line)
    text = "\n".join(lines)
    what = chance.random()
    if what < 0.05:
        text = chance.choice(["%YAML 1.2\n---\n", "%YAML 1.1\n---\n", "%TAG ! tag:x,2000:\n---\n", "--- # cmt0\n", "# cmt0\n---\n", "---\n---\n"]) + text
    elif what < 0.15:
        text = "---\n" + text
    what = chance.random()
    if what < 0.15:
        text = text.rstrip("\n") + chance.choice(["\n...\n", "\n---\n", "\n---\n---\n", "\n---\n# cmt0\n", "\n...\n---\nz: 1\n", "\n--- {z: 1}\n", "\n---\n[1]\n", "\n# cmt0", "\n...\n# cmt0\n", "\n--- # cmt0\nz: 1\n", "\n---\n~\n", "\n--- {}\n"])
    return layout(chance, text)


def json_value(maker, depth):
    chance, space = maker.w, maker.w.choice(["", "", " ", "\n", "\t"])
    what = chance.random()
    if depth and what < 0.25:
        members = [f"{space}{chance.choice(JSON_KEYS) if chance.random() < 0.3 else json.dumps(maker.key(index))}{space}:{space}{json_value(maker, depth - 1)}" for index in range(chance.randrange(4))]
        return "{" + ",".join(members) + space + "}"
    if depth and what < 0.35:
        return "[" + ",".join(json_value(maker, depth - 1) for _ in range(chance.randrange(4))) + "]"
    return chance.choice(JSON_VALUES) if what < 0.65 else json.dumps(maker.word())


def document(maker):
    chance = maker.w
    what = chance.random()
    if what < 0.03:
        return layout(chance, chance.choice(["[]", "[1]", "1", '"x"', "null", "", " ", "{}", "{", '{"a":1}{"b":2}', '{"a":1} x', '{"a":1,}', "{'a':1}", '{"a":01}', '{"a":.5}', '{"a":NaN}', '{"a": 1 // c\n}', '{"a":"\n"}']))
    members = [f'{json.dumps(maker.key(index))}: {json_value(maker, 3)}' for index in range(chance.randrange(1, 5))]
    return layout(chance, "{" + ", ".join(members) + "}\n")


def lines_of(chance, text, others, few):
    lines = text.split("\n")
    for _ in range(chance.randrange(1, few)):
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(others))
    return "\n".join(lines)


def wide(maker, kind):
    """A file of this kind; binary ones have nothing that could be wider."""
    if kind == "yaml":
        return yaml(maker)
    if kind == "json":
        return document(maker)
    if kind == "binary":
        return maker.binary()
    text = getattr(maker, kind)().decode(errors="surrogatepass")
    return layout(maker.w, lines_of(maker.w, text, INI_LINES if kind == "ini" else DOTENV_LINES, 5))
