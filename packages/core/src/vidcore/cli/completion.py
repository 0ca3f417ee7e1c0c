"""``vid completion SHELL``: a script that lets the shell complete commands, names of plugins, and options.

The script asks ``vid completion words …`` each time, so it stays right when plugins come and go.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence

from vidcore import UserError, cli, plugins
from vidcore.cli import names, options
from vidcore.cli.parsing import Parser
from vidcore.cli.signatures import UnclearError, fields

BASH = """\
# vid completion bash > ~/.local/share/bash-completion/completions/vid
_vid() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" completion words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [[ ${COMPREPLY[0]-} == *. ]] && compopt -o nospace
}
complete -o default -F _vid vid
"""

ZSH = """\
#compdef vid
# vid completion zsh > a folder of $fpath, as _vid; or: source <(vid completion zsh) after compinit
_vid() {
    local -a found
    found=(${(f)"$("${words[1]}" completion words "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    (( ${#found} )) || { _files; return }
    compadd -S '' -- ${(M)found:#*.}
    compadd -- ${found:#*.}
}
if [[ ${funcstack[1]} == _vid ]]; then _vid "$@"; else compdef _vid vid; fi
"""

FISH = """\
# vid completion fish > ~/.config/fish/completions/vid.fish
function __vid
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] completion words $words[2..-1] "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c vid -f -a '(__vid)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
_FIRST_ARGUMENTS = {
    "completion": list(SCRIPTS),
    "data": ["check", "prepare", "stats"],
    "plugin": ["new"],
    "weights": ["list", "convert"],
}


def main(command: str, argv: list[str]) -> None:
    """Prints the script, or what may stand for the last word."""
    if argv[:1] == ["words"]:  # not through the parser, which would take the words for its own options
        for candidate in candidates(argv[1:]):
            print(candidate)
        return
    parser = Parser(command, "Print the completion script of a shell; its first lines say where to put it.")
    parser.add_argument("shell", choices=SCRIPTS)
    print(SCRIPTS[parser.parse_args(argv).shell], end="")


def candidates(words: Sequence[str]) -> list[str]:
    """What the last word may become; nothing where a file or a free value is wanted.

    Args:
        words: What stands after ``vid``; the last, perhaps empty, is the one being typed. Bash makes ``=`` a word.
    """
    kept = [word for word in words if word != "="]
    *before, current = kept if words and words[-1] != "=" else [*kept, ""]
    key, equals, _ = current.partition("=")
    if not before:
        found = [*cli.COMMANDS, *plugins.names("vidcore.commands")]
    elif equals:
        found = [f"{key}={name}" for name in _values(key)]
    elif _values(before[-1]):
        found = _values(before[-1])
    elif current.startswith("-"):
        found = _options(before, current)
    else:
        found = _FIRST_ARGUMENTS.get(before[0], []) if len(before) == 1 else []
    return [each for each in found if each.startswith(current)]


def _values(key: str) -> list[str]:
    option = key.removeprefix("--").removesuffix(".help")
    return plugins.names(names.GROUPS[option]) if key.startswith("--") and option in names.GROUPS else []


def _options(before: Sequence[str], current: str) -> list[str]:
    """Those of a command; below ``--model.``, ``--data.`` and ``--trainer.`` those of the class that was chosen."""
    command = before[0]
    if command not in {*cli.COMMANDS, *plugins.names("vidcore.commands")}:
        return []
    trains = cli.COMMANDS.get(command, ("",))[0] == "vidcore.cli.train"
    known = options.top_level(command) if trains else _in_help(before)
    group, *inner = current.removeprefix("--").split(".")[:-1] or [""]
    if f"--{group}" not in known:
        return [*known, *(f"--{name}." for name in ("trainer", *names.GROUPS) if f"--{name}" in known)]
    with contextlib.suppress(UserError, UnclearError, KeyError):
        scope = options.options_of(group, names.chosen(command, before[1:]))
        for name in inner:
            scope = fields(scope[name])
        return [f"{current.rpartition('.')[0]}.{name}" for name in scope]
    return []


def _in_help(before: Sequence[str]) -> list[str]:
    """The options that the help of a command tells, or of its subcommand."""
    words = before[:2] if before[1:2] and before[1] in _FIRST_ARGUMENTS.get(before[0], []) else before[:1]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        cli.main([*words, "--help"])
    return sorted(set(re.findall(r"(?<!\S)\[?(--[a-z]\w*)", text.getvalue())))
