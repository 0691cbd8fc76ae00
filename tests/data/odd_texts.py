"""Texts that occur in captions collected from the web."""

from __future__ import annotations

# Description -> the text.
ODD_TEXTS = {
    "the end token of the program's own tokeniser": "a <|end|> cat",
    "the end token of CLIP's": "a <|endoftext|> cat",
    "special tokens in capitals": "<|ENDOFTEXT|> <|END|> <|Begin|>",
    "every special token, nothing else": "<|begin|><|pad|><|unused|><|startoftext|>",
    "several end tokens": "<|end|><|end|>cat<|endoftext|><|endoftext|>",
    "the first half of a pair": "a \ud83d dog",
    "the second half of a pair": "\udc4d a dog",
    "a pair the wrong way round": "\udc4d\ud83d",
    "NUL in a word": "bla\0ck",
    "NUL alone": "\0",
    "control characters of a terminal": "\x1b[31mred\x07\x7f",
    "marks for the direction of writing": "left \u202eright\u202c \u200f\u061c",
    "joiners without width": "zero\u200dwidth\u200b \u2060",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽",
    "spaces": " \t\n\u3000",
    "no character": "",
    "marks over a letter": "e" + "\u0301\u0323\u0488" * 12,
    "a byte order mark": "\ufeffa cat",
    "noncharacters": "\uffff\ufffe \U0010ffff",
    "mathematics": r"$x^2$ and $\frac{$ \begin{",
    "HTML": "<b>a &amp; b</b><script>alert('1')</script>",
    "a template": "{{ captions }} {% for x in %} {# #}",
    "a formula of a spreadsheet": "=1+1;@x|'y'\"z\"",
    "several scripts": "İstanbul ẞ Ǆ ÅÅ שלום مرحبا 笑 ไทย",
    "placeholders of a format": "%s {0} {name} ${HOME} ${oc.env:HOME}",
    "many words": "word " * 50_000,
    "many letters": "x" * 50_000,
    "many characters without a space": "笑" * 50_000,
}
