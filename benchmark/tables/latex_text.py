"""Plain text as LaTeX for pdflatex, which reads UTF-8 since 2018; no package is needed."""

import re
import unicodedata

JOINT = "\0"  # between two hyphens in a row, which would become a dash

ESCAPES = {
    JOINT: "{}",
    **{special: f"\\{special}" for special in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"[": "{[}", "*": "{*}"},  # after the end of a table's line they would belong to that
    **{"–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''"},  # noqa: RUF001
    **{"…": r"\ldots{}", "§": r"\S{}", "†": r"$\dagger$", "‡": r"$\ddagger$", "°": r"$^\circ$", "±": r"$\pm$"},
    **{"×": r"$\times$", "·": r"$\cdot$", "µ": r"$\mu$", "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$"},  # noqa: RUF001
    **{"→": r"$\to$", "÷": r"$\div$", "≈": r"$\approx$", "≠": r"$\neq$", "∞": r"$\infty$", "¶": r"\P{}"},
    **{raised: f"$^{number}$" for number, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{lowered: f"$_{number}$" for number, lowered in enumerate("₀₁₂₃₄₅₆₇₈₉")},
}

GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma varsigma tau upsilon phi "
    "chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
GREEK = dict(zip("αβγδεζηθικλμνξπρσςτυφχψωΓΔΘΛΞΠΣΥΦΨΩ", GREEK_NAMES.split(), strict=True))

LACKING = "ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲų"  # letters that pdflatex's default fonts lack: an error there
PRINTED = re.compile(f"(?![{LACKING}])[ -~¡¿À-ž]")  # characters that pdflatex reads as they are


def escape(text: str) -> str:
    """Return plain text as LaTeX; a character that pdflatex cannot print is given by its code, "[U+4E2D]"."""
    whole = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(map(_escape, re.sub("-(?=-)", f"-{JOINT}", whole)))


def _escape(character: str) -> str:
    if character in ESCAPES:
        return ESCAPES[character]
    if character in GREEK:
        return f"$\\{GREEK[character]}$"
    return character if PRINTED.match(character) else f"{{[}}U+{ord(character):04X}]"
