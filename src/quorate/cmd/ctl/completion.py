"""`completion`: scripts that complete commands and flags in a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.cmd.ctl.failures import ERROR, Fail
from quorate.cmd.ctl.globals import GLOBAL_FLAGS
from quorate.cmd.ctl.index import INDEX, Command, children, load

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run

BASH = """# bash completion for etcdctl
_etcdctl() {
    local word path="" rest
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$word" in -*) ;; *) path="${path:+$path }$word" ;; esac
    done
    case "$path" in
%(cases)s
        *) rest="" ;;
    esac
    COMPREPLY=($(compgen -W "$rest %(flags)s" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _etcdctl etcdctl
"""
ZSH = """#compdef etcdctl
autoload -U +X bashcompinit && bashcompinit
"""
FISH = "# fish completion for etcdctl\n"
POWERSHELL = """# powershell completion for etcdctl
Register-ArgumentCompleter -Native -CommandName etcdctl -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $path = ($commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_ -notlike '-*' -and "$_" -ne $wordToComplete }) -join ' '
    $words = @{
%(cases)s
    }
    @($words[$path]) + @(%(flags)s) | Where-Object { $_ -like "$wordToComplete*" } |
        ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
}
"""


def _completion(run: Run) -> None:
    if len(run.args) != 1:
        raise Fail(ERROR, f"accepts 1 arg(s), received {len(run.args)}")
    shells = {"bash": _bash, "zsh": _zsh, "fish": _fish, "powershell": _powershell}
    if run.args[0] not in shells:
        raise Fail(ERROR, f'invalid argument "{run.args[0]}" for "etcdctl completion"')
    run.write(shells[run.args[0]]().encode())


def _words() -> dict[str, list[str]]:
    """What may follow each path: more words, or flags of the command."""
    paths = sorted({"", *INDEX, *(name.rpartition(" ")[0] for name in INDEX)})
    return {path: children(path) or [f"--{flag.name}" for flag in load(path).flags] for path in paths}


def _globals() -> list[str]:
    return [f"--{flag.name}" for flag in GLOBAL_FLAGS] + ["--help"]


def _bash() -> str:
    cases = "\n".join(f'        "{path}"*) rest="{" ".join(words)}" ;;' for path, words in _in_order())
    return BASH % {"cases": cases, "flags": " ".join(_globals())}


def _in_order() -> list[tuple[str, list[str]]]:
    """Longer paths first: what is typed after a command is not another one."""
    return sorted(_words().items(), key=lambda item: (-len(item[0]), item[0]))


def _zsh() -> str:
    return ZSH + _bash()


def _fish() -> str:
    lines = [FISH]
    for path, words in _words().items():
        names = path.split()
        seen = "".join(f"; and __fish_seen_subcommand_from {name}" for name in names)
        if words and not words[0].startswith("--"):
            tail = f"; and not __fish_seen_subcommand_from {' '.join(words)}"
            lines.append(f'complete -c etcdctl -f -n "true{seen}{tail}" -a "{" ".join(words)}"\n')
        else:
            lines += [f'complete -c etcdctl -n "true{seen}" -l {word[2:]}\n' for word in words]
    lines += [f"complete -c etcdctl -l {word[2:]}\n" for word in _globals()]
    return "".join(lines)


def _powershell() -> str:
    cases = "\n".join(f"        '{path}' = {_quoted(words)}" for path, words in _words().items())
    return POWERSHELL % {"cases": cases, "flags": _quoted(_globals())}


def _quoted(words: list[str]) -> str:
    return ", ".join(f"'{word}'" for word in words) or "@()"


COMMANDS = {"completion": Command("completion [bash|zsh|fish|powershell]", _completion)}
