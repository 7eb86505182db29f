"""The white space that ``str.split`` knows, for engines whose own ``\\s`` is another."""

#: Inside of a class of characters, for RE2 and for Rust's regex alike.
SPACE = (
    r"\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
)
